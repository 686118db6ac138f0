//! Debian packages, unpacked without being installed.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use super::{on_path, output};

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Unpacks packages of the Debian release `suite` into `destination` without changes to the system's apt.
pub(super) async fn unpack(packages: &[&str], suite: &str, destination: &Path) -> Result<()> {
    for (program, debian_package) in [("apt-get", "apt"), ("dpkg-deb", "dpkg")] {
        on_path(program)
            .with_context(|| format!("there is no {program} (Debian's package {debian_package})"))?;
    }
    let apt = Apt::new(suite).await?;
    apt.run(&["update"]).await?;
    apt.run(&[&["download"], packages].concat()).await?;
    let files = std::fs::read_dir(apt.directory.path())?.filter_map(Result::ok).map(|entry| entry.path());
    let archives: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|extension| extension == "deb")).collect();
    ensure!(archives.len() == packages.len(), "apt-get downloaded {archives:?} for {packages:?}");
    for archive in archives {
        let mut unpack = Command::new("dpkg-deb");
        unpack.arg("-x").arg(archive).arg(destination);
        output(unpack).await?;
    }
    Ok(())
}

/// A separate apt with its lists, cache and sources in a temporary directory.
struct Apt {
    directory: tempfile::TempDir,
}

impl Apt {
    async fn new(suite: &str) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        std::fs::create_dir_all(directory.path().join("state/lists/partial"))?;
        std::fs::create_dir_all(directory.path().join("cache/archives/partial"))?;
        let archive = archive_location().await?;
        let source = format!("deb [signed-by={KEYRING}] {archive} {suite} main\n");
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
            // apt downloads as this user: its own user could not access the directory, which belongs to
            // this user.
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

/// Returns the URI from which this machine's apt gets Debian; the suite is fetched from the same archive.
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
