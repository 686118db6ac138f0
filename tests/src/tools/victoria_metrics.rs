//! The VictoriaMetrics binary: the binary that VICTORIA_METRICS_BIN names, a binary on PATH, or else
//! Debian's package.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use super::{announce, debian, from_environment, install, on_path, output};

/// The variable with the path of a VictoriaMetrics binary to use.
pub const BINARY_VARIABLE: &str = "VICTORIA_METRICS_BIN";
/// A flag that every release has that accepts OTLP on the current path. A program on PATH without this flag
/// is not used.
const OTLP_FLAG: &str = "-opentelemetry.usePrometheusNaming";
/// The Debian release of the unpacked package; its programs run on the previous release too.
const SUITE: &str = "trixie";

/// Returns the VictoriaMetrics binary, and fetches it if necessary.
pub async fn binary() -> Result<PathBuf> {
    if let Some(binary) = from_environment(BINARY_VARIABLE)? {
        return Ok(binary);
    }
    if let Some(installed) = on_path("victoria-metrics") {
        if accepts_otlp(&installed).await {
            return Ok(installed);
        }
        announce(&format!("{} is too old for OTLP and is not used", installed.display()));
    }
    let directory = install(&format!("victoria-metrics-{SUITE}"), async |directory| {
        announce("Fetching VictoriaMetrics (41 MB)");
        debian::unpack(&["victoria-metrics"], SUITE, directory).await.with_context(|| {
            format!(
                "cannot fetch VictoriaMetrics from Debian {SUITE}; install release 1.112 or later by hand and \
                 set {BINARY_VARIABLE} to its binary"
            )
        })
    })
    .await?;
    let binary = directory.join("usr/bin/victoria-metrics");
    ensure!(binary.is_file(), "the package in {} contains no victoria-metrics", directory.display());
    Ok(binary)
}

async fn accepts_otlp(binary: &Path) -> bool {
    let mut command = Command::new(binary);
    command.arg("-help");
    output(command).await.is_ok_and(|help| help.contains(OTLP_FLAG))
}
