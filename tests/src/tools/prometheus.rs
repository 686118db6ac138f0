//! The Prometheus binary: the binary that PROMETHEUS_BIN names, a binary on PATH, or else Debian's package.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use super::{announce, debian, from_environment, install, on_path, output};

/// The variable with the path of a Prometheus binary to use.
pub const BINARY_VARIABLE: &str = "PROMETHEUS_BIN";
/// The first release with native histograms, as major and minor version; an older program on PATH is not
/// used.
const OLDEST: (u32, u32) = (2, 40);
/// The Debian release of the unpacked package; its programs run on later releases too.
const SUITE: &str = "bookworm";

/// Returns the Prometheus binary, and fetches it if necessary.
pub async fn binary() -> Result<PathBuf> {
    if let Some(binary) = from_environment(BINARY_VARIABLE)? {
        return Ok(binary);
    }
    if let Some(installed) = on_path("prometheus") {
        if version(&installed).await.is_ok_and(|version| version >= OLDEST) {
            return Ok(installed);
        }
        announce(&format!("{} has no native histograms and is not used", installed.display()));
    }
    let directory = install(&format!("prometheus-{SUITE}"), async |directory| {
        announce("Fetching Prometheus (19 MB)");
        let fetched = async {
            debian::unpack(&["prometheus"], SUITE, directory).await?;
            // This fails if the machine lacks libraries that the package depends on.
            version(&unpacked(directory)).await
        };
        fetched.await.with_context(|| {
            format!(
                "cannot use Prometheus from Debian {SUITE}; install release {}.{} or later by hand and set \
                 {BINARY_VARIABLE} to its binary",
                OLDEST.0, OLDEST.1
            )
        })?;
        Ok(())
    })
    .await?;
    let binary = unpacked(&directory);
    ensure!(binary.is_file(), "the package in {} contains no prometheus", directory.display());
    Ok(binary)
}

/// Returns promtool, which comes with the binary.
pub async fn promtool() -> Result<PathBuf> {
    let promtool = binary().await?.with_file_name("promtool");
    ensure!(promtool.is_file(), "{} is missing; it comes with Prometheus", promtool.display());
    Ok(promtool)
}

fn unpacked(directory: &Path) -> PathBuf {
    directory.join("usr/bin/prometheus")
}

async fn version(binary: &Path) -> Result<(u32, u32)> {
    let mut command = Command::new(binary);
    command.arg("--version");
    parse_version(&output(command).await?)
}

/// Parses the major and minor version from the output of `--version`.
fn parse_version(text: &str) -> Result<(u32, u32)> {
    let parsed = || {
        let mut numbers = text.split_once("version ")?.1.split('.');
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    };
    parsed().with_context(|| format!("no version in {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_the_first_line() {
        let text = "prometheus, version 2.42.0+ds (branch: debian/sid)\n  go version: go1.19.8\n";
        assert_eq!(parse_version(text).unwrap(), (2, 42));
        assert!(parse_version("prometheus, version unknown").is_err());
    }
}
