//! The VictoriaMetrics binary: the one that VICTORIA_METRICS_BIN names, one on PATH, else Debian's package.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use super::{announce, from_environment, install, on_path, output};

/// Names a VictoriaMetrics binary to use instead of an installed or a fetched one.
pub const BINARY_VARIABLE: &str = "VICTORIA_METRICS_BIN";
/// A flag of every release that takes OTLP where newer ones do; an older program on PATH is passed over.
const OTLP_FLAG: &str = "-opentelemetry.usePrometheusNaming";
/// The Debian release whose package is unpacked; its programs run on the release before it too.
const SUITE: &str = "trixie";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The VictoriaMetrics binary, fetched first if need be.
///
/// # Errors
/// [`BINARY_VARIABLE`] names no file, or the package cannot be fetched: only machines with Debian's apt can.
pub async fn binary() -> Result<PathBuf> {
    if let Some(binary) = from_environment(BINARY_VARIABLE)? {
        return Ok(binary);
    }
    if let Some(installed) = on_path("victoria-metrics") {
        if takes_otlp(&installed).await {
            return Ok(installed);
        }
        announce(&format!("{} is too old to take OTLP and is not used", installed.display()));
    }
    let directory = install(&format!("victoria-metrics-{SUITE}"), async |directory| {
        announce("Fetching VictoriaMetrics (41 MB)");
        unpack_debian_package("victoria-metrics", directory).await.with_context(|| {
            format!(
                "cannot fetch VictoriaMetrics from Debian {SUITE}; install release 1.112 or later by hand and \
                 set {BINARY_VARIABLE} to its binary"
            )
        })
    })
    .await?;
    let binary = directory.join("usr/bin/victoria-metrics");
    ensure!(binary.is_file(), "the package in {} holds no victoria-metrics", directory.display());
    Ok(binary)
}

async fn takes_otlp(binary: &Path) -> bool {
    let mut command = Command::new(binary);
    command.arg("-help");
    output(command).await.is_ok_and(|help| help.contains(OTLP_FLAG))
}

/// Unpacks a package of [`SUITE`] into `destination` and leaves the system's apt as it is.
async fn unpack_debian_package(package: &str, destination: &Path) -> Result<()> {
    for (program, debian_package) in [("apt-get", "apt"), ("dpkg-deb", "dpkg")] {
        on_path(program)
            .with_context(|| format!("there is no {program} (Debian's package {debian_package})"))?;
    }
    let apt = Apt::new().await?;
    apt.run(&["update"]).await?;
    apt.run(&["download", package]).await?;
    let mut archives =
        std::fs::read_dir(apt.directory.path())?.filter_map(Result::ok).map(|entry| entry.path());
    let archive = archives
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .with_context(|| format!("apt-get downloaded no {package}"))?;
    let mut unpack = Command::new("dpkg-deb");
    unpack.arg("-x").arg(archive).arg(destination);
    output(unpack).await?;
    Ok(())
}

/// An apt of its own: its lists, cache and sources lie in a temporary folder.
struct Apt {
    directory: tempfile::TempDir,
}

impl Apt {
    async fn new() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        std::fs::create_dir_all(directory.path().join("state/lists/partial"))?;
        std::fs::create_dir_all(directory.path().join("cache/archives/partial"))?;
        let archive = archive_location().await?;
        let source = format!("deb [signed-by={KEYRING}] {archive} {SUITE} main\n");
        std::fs::write(directory.path().join("sources.list"), source)?;
        Ok(Self { directory })
    }

    async fn run(&self, arguments: &[&str]) -> Result<()> {
        let root = self.directory.path().display();
        let mut command = Command::new("apt-get");
        command.current_dir(self.directory.path()).arg("-qq");
        for option in [
            &format!("Dir::Etc::sourcelist={root}/sources.list"),
            "Dir::Etc::sourceparts=-",
            "Dir::Etc::preferencesparts=-",
            &format!("Dir::State={root}/state"),
            "Dir::State::status=/var/lib/dpkg/status",
            &format!("Dir::Cache={root}/cache"),
            // The folder belongs to this user, whom apt's own download user could not read.
            &format!("APT::Sandbox::User={}", user_name().await?),
            "Acquire::Languages=none",
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
        ] {
            command.args(["-o", option]);
        }
        command.args(arguments);
        output(command).await?;
        Ok(())
    }
}

async fn user_name() -> Result<String> {
    let mut command = Command::new("id");
    command.arg("-un");
    Ok(output(command).await?.trim().to_owned())
}

/// Where this machine's apt gets Debian from: the suite is asked for in the same place.
async fn archive_location() -> Result<String> {
    let codename = debian_codename(&std::fs::read_to_string("/etc/os-release").unwrap_or_default())?;
    let filter = format!("Codename: {codename}");
    let mut command = Command::new("apt-get");
    command.args(["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", &filter]);
    let locations = output(command).await?;
    let first = locations.lines().next().map(str::to_owned);
    first.with_context(|| format!("apt has no package source for Debian {codename}"))
}

fn debian_codename(os_release: &str) -> Result<String> {
    let value = |key: &str| {
        let line = os_release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.map(|value| value.trim_matches('"').to_owned())
    };
    ensure!(value("ID").as_deref() == Some("debian"), "this machine does not run Debian");
    value("VERSION_CODENAME").context("/etc/os-release has no VERSION_CODENAME")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_debian_has_debian_packages() {
        let debian = "NAME=\"Debian GNU/Linux\"\nVERSION_CODENAME=bookworm\nID=debian\n";
        assert_eq!(debian_codename(debian).unwrap(), "bookworm");
        assert!(debian_codename("ID=fedora\nVERSION_CODENAME=\"\"\n").is_err());
    }
}
