//! The folders of the repository, and the cargo that runs in it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use tributary_tests::cargo::{program, remove_package_variables};

/// The repository.
pub(crate) struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// Finds the repository by `CARGO_MANIFEST_DIR`, as set when this program runs or was built.
    pub(crate) fn locate() -> Result<Self> {
        let package = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = package.parent().context("the folder of xtask has no parent")?.to_path_buf();
        Ok(Self { root })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the target folder of cargo and of this program.
    ///
    /// `CARGO_TARGET_DIR` is ignored, because the tests and the Envoy configurations expect `target/wasm`
    /// in the repository.
    pub(crate) fn target(&self) -> PathBuf {
        self.root.join("target")
    }

    /// Returns the folder of the finished Wasm modules.
    pub(crate) fn modules(&self) -> PathBuf {
        self.target().join("wasm")
    }

    /// Returns the cargo that runs this program, for native code.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = Command::new(cargo());
        command.current_dir(&self.root);
        remove_package_variables(&mut command);
        command
    }
}

/// Returns the cargo that runs this program.
pub(crate) fn cargo() -> PathBuf {
    program().into()
}

/// Returns the rustc that belongs to [`cargo`].
pub(crate) fn rustc() -> PathBuf {
    env::var_os("RUSTC").map_or_else(|| PathBuf::from("rustc"), PathBuf::from)
}
