//! Headless Chromium: the binary that CHROMIUM_BIN names, a binary on PATH, or else Debian's package.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use super::{announce, debian, from_environment, install, on_path, output};

/// The variable with the path of a Chromium binary to use.
pub const BINARY_VARIABLE: &str = "CHROMIUM_BIN";
/// The names of the program on PATH.
const NAMES: [&str; 3] = ["chromium-headless-shell", "chromium", "google-chrome"];
/// The package, and the packages of libraries that it needs and a minimal system lacks.
const PACKAGES: &str = "chromium-headless-shell chromium-common libasyncns0 libdouble-conversion3 libflac12 \
     libharfbuzz-subset0 libminizip1 libmp3lame0 libmpg123-0 libogg0 libopenh264-7 libopenjp2-7 \
     libopus0 libpulse0 libsndfile1 libvorbis0a libvorbisenc2 libxnvctrl0";
/// The Debian release whose packages are unpacked.
const SUITE: &str = "bookworm";
/// The directories of libraries in the packages, for Debian on x86-64.
const LIBRARIES: [&str; 2] = ["usr/lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu/pulseaudio"];

/// Runs headless Chromium with these arguments, the last of which is a URL, and returns its output.
///
/// # Errors
/// Chromium cannot be found or fetched (which requires Debian's apt), or it fails: then the error shows its
/// output.
pub async fn run(arguments: &[&str]) -> Result<String> {
    let (binary, libraries) = binary().await?;
    let profile = tempfile::tempdir()?;
    let mut command = Command::new(binary);
    if let Some(libraries) = libraries {
        command.env("LD_LIBRARY_PATH", libraries);
    }
    // The sandbox needs privileges that a container lacks. It is not needed for a page of this repository.
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]);
    command.arg(format!("--user-data-dir={}", profile.path().display())).args(arguments);
    output(command).await
}

/// Returns the binary and, if it was unpacked, the path of its libraries.
async fn binary() -> Result<(PathBuf, Option<String>)> {
    let installed = from_environment(BINARY_VARIABLE)?.or_else(|| NAMES.into_iter().find_map(on_path));
    if let Some(binary) = installed {
        return Ok((binary, None));
    }
    let directory = install(&format!("chromium-{SUITE}"), async |directory| {
        announce("Fetching Chromium (100 MB)");
        let fetched = async {
            debian::unpack(&PACKAGES.split(' ').collect::<Vec<_>>(), SUITE, directory).await?;
            // This fails if the machine lacks other libraries that Chromium needs.
            let mut version = Command::new(unpacked(directory));
            output({
                version.env("LD_LIBRARY_PATH", libraries(directory)).arg("--version");
                version
            })
            .await
        };
        fetched.await.with_context(|| {
            format!("cannot use Chromium from Debian {SUITE}; install it by hand, or set {BINARY_VARIABLE} to its binary")
        })?;
        Ok(())
    })
    .await?;
    let binary = unpacked(&directory);
    ensure!(binary.is_file(), "the package in {} contains no Chromium", directory.display());
    Ok((binary, Some(libraries(&directory))))
}

fn unpacked(directory: &Path) -> PathBuf {
    directory.join("usr/lib/chromium/chromium-headless-shell")
}

fn libraries(directory: &Path) -> String {
    LIBRARIES.map(|folder| directory.join(folder).display().to_string()).join(":")
}
