//! Where the repository lies that this crate was built from.

use std::path::{Path, PathBuf};

/// The root of the repository: Envoy's working directory, to which the file names in its configurations are
/// relative.
pub fn root() -> PathBuf {
    let crate_directory = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_directory.parent().unwrap_or(crate_directory).to_path_buf()
}
