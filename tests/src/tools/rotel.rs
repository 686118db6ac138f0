//! The OpenTelemetry collector rotel: the binary that ROTEL_BIN names, or else the `rotel` wheel.

use std::path::PathBuf;

use anyhow::{Result, ensure};

use super::{announce, from_environment, install, pip_install};

/// The variable with the path of a rotel agent to use.
pub const BINARY_VARIABLE: &str = "ROTEL_BIN";
const VERSION: &str = "0.0.1a15";

/// Returns the rotel agent, and fetches it if necessary.
pub async fn binary() -> Result<PathBuf> {
    if let Some(binary) = from_environment(BINARY_VARIABLE)? {
        return Ok(binary);
    }
    let directory = install(&format!("rotel-{VERSION}"), async |directory| {
        announce(&format!("Fetching rotel {VERSION}; set {BINARY_VARIABLE} to use another"));
        pip_install(&format!("rotel=={VERSION}"), directory).await
    })
    .await?;
    let binary = directory.join("rotel/rotel-agent");
    ensure!(binary.is_file(), "the wheel in {} contains no rotel/rotel-agent", directory.display());
    Ok(binary)
}
