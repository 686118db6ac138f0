//! Packages of Debian and its descendants: asks for them and installs them, if this user may.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::process;
use crate::progress::Progress;

const QUERY_TIMEOUT: Duration = Duration::from_secs(60);
const INSTALL_TIMEOUT: Duration = Duration::from_secs(600);

/// Whether all of these packages are installed.
pub(crate) fn are_installed(packages: &[&str]) -> bool {
    let mut command = Command::new("dpkg-query");
    command.args(["--show", "--showformat", "${db:Status-Status}\n"]).args(packages);
    process::quietly(&mut command, QUERY_TIMEOUT)
        .is_ok_and(|said| said.lines().all(|status| status == "installed"))
}

/// Makes sure that all of these packages are installed.
pub(crate) fn ensure(packages: &[&str]) -> Result<()> {
    if are_installed(packages) {
        return Ok(());
    }
    which::which("apt-get").context("there is no apt-get here")?;
    let _progress = Progress::start(format!("installing {}", packages.join(" ")));
    // A machine whose package lists are fresh needs no update; a new container has no lists at all.
    if install(packages).is_ok() {
        return Ok(());
    }
    update()?;
    install(packages)
}

/// Installs the first of these packages that this release of the distribution has.
pub(crate) fn ensure_first(candidates: &[String]) -> Result<()> {
    let known = || candidates.iter().find(|candidate| is_known(candidate));
    let chosen = match known() {
        Some(chosen) => chosen,
        None => {
            update()?;
            known().with_context(|| format!("none of the packages {} exists here", candidates.join(", ")))?
        }
    };
    ensure(&[chosen])
}

fn is_known(package: &str) -> bool {
    let mut command = Command::new("apt-cache");
    process::quietly(command.args(["show", "--no-all-versions", package]), QUERY_TIMEOUT).is_ok()
}

fn update() -> Result<()> {
    process::quietly(&mut apt_get(&["update"])?, INSTALL_TIMEOUT).map(drop)
}

fn install(packages: &[&str]) -> Result<()> {
    let mut command = apt_get(&["install", "--yes", "--no-install-recommends"])?;
    process::quietly(command.args(packages), INSTALL_TIMEOUT).map(drop)
}

/// An apt-get that asks nothing and waits for another one to end.
fn apt_get(words: &[&str]) -> Result<Command> {
    let mut command = env_as_root()?;
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet"]);
    command.args(["--option", "DPkg::Lock::Timeout=120"]).args(words);
    Ok(command)
}

/// An `env` that runs as root: as it is for root, else by a sudo that must not ask for a password.
fn env_as_root() -> Result<Command> {
    let user = process::quietly(Command::new("id").arg("-u"), QUERY_TIMEOUT)?;
    if user.trim() == "0" {
        return Ok(Command::new("env"));
    }
    if process::quietly(Command::new("sudo").args(["-n", "true"]), QUERY_TIMEOUT).is_err() {
        bail!("packages need root, and `sudo -n` does not work without a password");
    }
    let mut command = Command::new("sudo");
    command.args(["-n", "env"]);
    Ok(command)
}
