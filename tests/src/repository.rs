//! The repository that this crate was built from.

use std::path::{Path, PathBuf};

/// Returns the root of the repository. It is also the working directory of Envoy, so file names in
/// configurations are relative to it.
pub fn root() -> PathBuf {
    let crate_directory = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_directory.parent().unwrap_or(crate_directory).to_path_buf()
}
