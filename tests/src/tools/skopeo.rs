//! skopeo, which reads and copies container images: the binary that SKOPEO_BIN names, a binary on PATH, or
//! else Debian's package.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use super::{announce, debian, from_environment, install, on_path, output};

/// The variable with the path of a skopeo binary to use.
pub const BINARY_VARIABLE: &str = "SKOPEO_BIN";
/// The package, and the packages of libraries that it needs and a minimal system lacks.
const PACKAGES: [&str; 4] = ["skopeo", "libgpgme11", "libassuan0", "libdevmapper1.02.1"];
/// The Debian release of the unpacked packages.
const SUITE: &str = "bookworm";
/// The directories of libraries in the packages, for Debian on x86-64.
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu:lib/x86_64-linux-gnu";

/// Runs skopeo with these arguments, without the system's image policy, and returns its output.
///
/// # Errors
/// skopeo cannot be found or fetched (which requires Debian's apt), or it fails: then the error shows its
/// output.
pub async fn run(arguments: &[&str]) -> Result<String> {
    let (binary, libraries) = binary().await?;
    let mut command = Command::new(binary);
    if let Some(libraries) = libraries {
        command.env("LD_LIBRARY_PATH", libraries);
    }
    output({
        command.arg("--insecure-policy").args(arguments);
        command
    })
    .await
}

/// Returns the binary and, if it was unpacked, the path of its libraries.
async fn binary() -> Result<(PathBuf, Option<String>)> {
    if let Some(binary) = from_environment(BINARY_VARIABLE)?.or_else(|| on_path("skopeo")) {
        return Ok((binary, None));
    }
    let directory = install(&format!("skopeo-{SUITE}"), async |directory| {
        announce("Fetching skopeo (6 MB)");
        debian::unpack(&PACKAGES, SUITE, directory).await.with_context(|| {
            format!("cannot fetch skopeo from Debian {SUITE}; install it by hand, or set {BINARY_VARIABLE} to its binary")
        })
    })
    .await?;
    let binary = directory.join("usr/bin/skopeo");
    ensure!(binary.is_file(), "the package in {} contains no skopeo", directory.display());
    let libraries: Vec<_> =
        LIBRARIES.split(':').map(|folder| directory.join(folder).display().to_string()).collect();
    Ok((binary, Some(libraries.join(":"))))
}
