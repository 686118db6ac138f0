//! skopeo, which reads and copies container images: the one that SKOPEO_BIN names, one on PATH, else Debian's package.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use super::{announce, debian, from_environment, install, on_path, output};

/// Names a skopeo binary to use instead of an installed or a fetched one.
pub const BINARY_VARIABLE: &str = "SKOPEO_BIN";
/// The package, and the libraries of its that a small system lacks.
const PACKAGES: [&str; 4] = ["skopeo", "libgpgme11", "libassuan0", "libdevmapper1.02.1"];
/// The Debian release whose packages are unpacked.
const SUITE: &str = "bookworm";
/// Below the unpacked packages, for Debian on x86-64.
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu:lib/x86_64-linux-gnu";

/// What skopeo prints when it is run with these arguments; no policy of the system about images is asked for.
///
/// # Errors
/// There is no skopeo and none can be fetched (only machines with Debian's apt can), or it fails: the error repeats what it said.
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

/// The binary, and where its libraries are if not in the system.
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
    ensure!(binary.is_file(), "the package in {} holds no skopeo", directory.display());
    let libraries: Vec<_> =
        LIBRARIES.split(':').map(|folder| directory.join(folder).display().to_string()).collect();
    Ok((binary, Some(libraries.join(":"))))
}
