//! Finds and installs packages of Debian and its derivatives, as root or with a `sudo` that needs no
//! password.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::process;
use crate::progress::Activity;

const QUERY_TIMEOUT: Duration = Duration::from_secs(60);
const INSTALL_TIMEOUT: Duration = Duration::from_secs(600);

/// Returns whether all of these packages are installed.
fn are_installed(packages: &[&str]) -> bool {
    let mut command = Command::new("dpkg-query");
    command.args(["--show", "--showformat", "${db:Status-Status}\n"]).args(packages);
    process::capture(&mut command, QUERY_TIMEOUT)
        .is_ok_and(|output| output.lines().all(|status| status == "installed"))
}

/// Makes sure that all of these packages are installed.
pub(crate) fn ensure(packages: &[&str]) -> Result<()> {
    if are_installed(packages) {
        return Ok(());
    }
    which::which("apt-get").context("apt-get is not installed")?;
    let _activity = Activity::start(format!("installing {}", packages.join(" ")));
    let install = || apt_get(&[&["install", "--yes", "--no-install-recommends"], packages].concat());
    // A new container has no package lists, but most machines need no update.
    install().or_else(|_| apt_get(&["update"]).and_then(|()| install()))
}

/// Makes sure that these programs are in PATH. If necessary, installs `package`, which contains all of
/// them.
pub(crate) fn ensure_programs(programs: &[&str], package: &str) -> Result<()> {
    if programs.iter().all(|program| which::which(program).is_ok()) {
        return Ok(());
    }
    ensure(&[package])
}

/// Installs the first of these packages that this release has.
pub(crate) fn ensure_first(candidates: &[String]) -> Result<()> {
    let installed = candidates.iter().any(|candidate| ensure(&[candidate]).is_ok());
    ensure!(installed, "cannot install any of the packages {}", candidates.join(", "));
    Ok(())
}

/// Runs apt-get so that it asks no questions, and waits if another process holds its lock.
fn apt_get(words: &[&str]) -> Result<()> {
    let mut command = env_as_root()?;
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet"]);
    command.args(["--option", "DPkg::Lock::Timeout=120"]).args(words);
    process::capture(&mut command, INSTALL_TIMEOUT).map(drop)
}

/// Returns a command that runs `env` as root, with `sudo` if necessary. Fails if `sudo` would ask for a
/// password.
fn env_as_root() -> Result<Command> {
    let user = process::capture(Command::new("id").arg("-u"), QUERY_TIMEOUT)?;
    if user.trim() == "0" {
        return Ok(Command::new("env"));
    }
    let may_sudo = process::capture(Command::new("sudo").args(["-n", "true"]), QUERY_TIMEOUT).is_ok();
    ensure!(may_sudo, "installing packages needs root, and `sudo` asks for a password");
    let mut command = Command::new("sudo");
    command.args(["-n", "env"]);
    Ok(command)
}
