//! Where things are in the repository, and the cargo that runs in it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use tributary_tests::cargo::{program, remove_package_variables};

/// The repository's root folder, from which every other path follows.
pub(crate) struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// Finds the root: cargo names this package's folder when it runs it, and named it when it built it.
    pub(crate) fn locate() -> Result<Self> {
        let package = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = package.parent().context("the folder of xtask has no parent")?.to_path_buf();
        Ok(Self { root })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where cargo and this tool put what they make.
    ///
    /// `CARGO_TARGET_DIR` is not followed: the tests and the Envoy configurations expect `target/wasm` here.
    pub(crate) fn target(&self) -> PathBuf {
        self.root.join("target")
    }

    /// Where the finished Wasm modules lie.
    pub(crate) fn modules(&self) -> PathBuf {
        self.target().join("wasm")
    }

    /// A cargo for native work, the same that runs this tool.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = Command::new(cargo());
        command.current_dir(&self.root);
        remove_package_variables(&mut command);
        command
    }
}

/// The cargo that runs this tool.
pub(crate) fn cargo() -> PathBuf {
    program().into()
}

/// The rustc that belongs to [`cargo`].
pub(crate) fn rustc() -> PathBuf {
    env::var_os("RUSTC").map_or_else(|| PathBuf::from("rustc"), PathBuf::from)
}
