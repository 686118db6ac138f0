//! A rustc: its release, and the standard libraries in its sysroot.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::process;

/// The target of the Wasm modules. `wasm32-wasip1` would need a C library and offers nothing that the modules
/// use.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

const TIMEOUT: Duration = Duration::from_secs(30);
/// The number of digits of its commit's hash that rustc shows.
const COMMIT_DIGITS: usize = 9;

/// A rustc and its version.
#[derive(Debug)]
pub(crate) struct Compiler {
    pub(crate) path: PathBuf,
    pub(crate) version: RustVersion,
}

/// The fields of `rustc -vV` that are used here.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RustVersion {
    /// The release, such as `1.95.0` or `1.97.0-nightly`.
    pub(crate) release: String,
    /// The name of folders for files that only this version can use: the release, and the start of the
    /// commit's hash. A rustc that a distribution has built from a tarball has no hash.
    pub(crate) id: String,
    /// The major version of LLVM, which the linker must match.
    pub(crate) llvm_major: Option<u32>,
}

impl Compiler {
    pub(crate) fn inspect(path: PathBuf) -> Result<Self> {
        let output = process::capture(Command::new(&path).arg("-vV"), TIMEOUT)?;
        let version = RustVersion::parse(&output).with_context(|| format!("`{} -vV`", path.display()))?;
        Ok(Self { path, version })
    }

    pub(crate) fn sysroot(&self) -> Result<PathBuf> {
        let output = process::capture(Command::new(&self.path).args(["--print", "sysroot"]), TIMEOUT)?;
        Ok(PathBuf::from(output.trim()))
    }
}

impl RustVersion {
    /// Parses the output of `rustc -vV`.
    fn parse(output: &str) -> Result<Self> {
        let field = |name: &str| {
            output.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).map(str::trim)
        };
        let release = field("release").with_context(|| format!("no line `release: ...` in {output:?}"))?;
        let hash = field("commit-hash").filter(|hash| hash.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let commit = hash.and_then(|hash| hash.get(..COMMIT_DIGITS));
        let id = [release].into_iter().chain(commit).collect::<Vec<_>>().join("-");
        let llvm_major = field("LLVM version").and_then(|version| version.split('.').next()?.parse().ok());
        Ok(Self { release: release.to_owned(), id, llvm_major })
    }
}

/// Returns the folder of the libraries for [`TARGET`] in a sysroot.
pub(crate) fn libraries_of(sysroot: &Path) -> PathBuf {
    sysroot.join("lib/rustlib").join(TARGET).join("lib")
}

/// Returns whether a folder of libraries contains the standard library.
pub(crate) fn has_std(folder: &Path) -> bool {
    let Ok(entries) = folder.read_dir() else { return false };
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with("libstd-") && name.ends_with(".rlib")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STABLE: &str = "rustc 1.95.0 (59807616e 2026-04-14)\nbinary: rustc\n\
        commit-hash: 59807616e1fa2540724bfbac14d7976d7e4a3860\ncommit-date: 2026-04-14\n\
        host: x86_64-unknown-linux-gnu\nrelease: 1.95.0\nLLVM version: 22.1.2\n";
    const DISTRIBUTION: &str = "rustc 1.85.0 (built from a source tarball)\nbinary: rustc\n\
        commit-hash: unknown\ncommit-date: unknown\nhost: x86_64-unknown-linux-gnu\nrelease: 1.85.0\n\
        LLVM version: 19.1\n";

    #[test]
    fn an_id_has_release_and_commit() {
        let version = RustVersion::parse(STABLE).unwrap();
        assert_eq!(version.id, "1.95.0-59807616e");
        assert_eq!(version.llvm_major, Some(22));
    }

    #[test]
    fn an_id_without_commit_is_the_release() {
        let version = RustVersion::parse(DISTRIBUTION).unwrap();
        assert_eq!(version.id, "1.85.0");
        assert_eq!(version.llvm_major, Some(19));
    }

    #[test]
    fn output_without_a_release_is_an_error_that_quotes_it() {
        let error = RustVersion::parse("cc 12").unwrap_err().to_string();
        assert!(error.contains("cc 12"), "{error}");
    }

    #[test]
    fn a_folder_has_std_only_with_its_library() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!has_std(&folder.path().join("absent")));
        std::fs::write(folder.path().join("libcore-1.rlib"), "").unwrap();
        assert!(!has_std(folder.path()));
        std::fs::write(folder.path().join("libstd-1.rlib"), "").unwrap();
        assert!(has_std(folder.path()));
    }
}
