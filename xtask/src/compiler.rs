//! A rustc: which release it is, and what its sysroot holds.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::process;

/// The target of the Wasm modules. Not wasip1: that would need a C library, and gains nothing the modules use.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

const TIMEOUT: Duration = Duration::from_secs(30);
/// As many digits as rustc shows of its own commit.
const COMMIT_DIGITS: usize = 9;

/// A rustc and what it says about itself.
#[derive(Debug)]
pub(crate) struct Compiler {
    pub(crate) path: PathBuf,
    pub(crate) version: Version,
}

/// What `rustc -vV` prints, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    /// As in `1.95.0` or `1.97.0-nightly`.
    pub(crate) release: String,
    /// The start of the commit's hash; distributions that build from a tarball have none.
    pub(crate) commit: Option<String>,
    /// The major version of LLVM, which decides which linkers will do.
    pub(crate) llvm_major: Option<u32>,
}

impl Compiler {
    pub(crate) fn ask(path: PathBuf) -> Result<Self> {
        let said = process::quietly(Command::new(&path).arg("-vV"), TIMEOUT)?;
        let version = Version::parse(&said).with_context(|| format!("`{} -vV`", path.display()))?;
        Ok(Self { path, version })
    }

    pub(crate) fn sysroot(&self) -> Result<PathBuf> {
        let said = process::quietly(Command::new(&self.path).args(["--print", "sysroot"]), TIMEOUT)?;
        Ok(PathBuf::from(said.trim()))
    }

    /// Whether the compiled standard library of [`TARGET`] is in the sysroot.
    pub(crate) fn has_wasm_std(&self) -> Result<bool> {
        let mut command = Command::new(&self.path);
        command.args(["--print", "target-libdir", "--target", TARGET]);
        let said = process::quietly(&mut command, TIMEOUT)?;
        Ok(holds_std(Path::new(said.trim())))
    }

    /// Fails if this compiler is older than the workspace allows.
    pub(crate) fn check_age(&self) -> Result<()> {
        let oldest = env!("CARGO_PKG_RUST_VERSION");
        if !self.version.is_at_least(oldest)? {
            bail!("rustc {} is too old: Tributary needs {oldest} or later", self.version.release);
        }
        Ok(())
    }
}

impl Version {
    /// Reads the output of `rustc -vV`.
    pub(crate) fn parse(said: &str) -> Result<Self> {
        let field = |name: &str| {
            said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).map(str::trim)
        };
        let release = field("release").with_context(|| format!("no line `release: ...` in {said:?}"))?;
        let commit = field("commit-hash")
            .filter(|hash| hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .map(|hash| hash.chars().take(COMMIT_DIGITS).collect());
        let llvm_major = field("LLVM version").and_then(|version| version.split('.').next()?.parse().ok());
        Ok(Self { release: release.to_owned(), commit, llvm_major })
    }

    /// A name for folders of things that only this version can use.
    pub(crate) fn id(&self) -> String {
        match &self.commit {
            Some(commit) => format!("{}-{commit}", self.release),
            None => self.release.clone(),
        }
    }

    fn is_at_least(&self, oldest: &str) -> Result<bool> {
        Ok(numbers(&self.release)? >= numbers(oldest)?)
    }
}

/// The numbers of a version, without a suffix such as `-nightly`.
fn numbers(version: &str) -> Result<Vec<u32>> {
    let plain = version.split('-').next().unwrap_or(version);
    let parts = plain.split('.').map(str::parse);
    parts.collect::<Result<_, _>>().with_context(|| format!("{version:?} is no version"))
}

/// Whether a folder of libraries holds the standard library.
pub(crate) fn holds_std(folder: &Path) -> bool {
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
    fn a_release_is_known_by_version_and_commit() {
        let version = Version::parse(STABLE).unwrap();
        assert_eq!(version.id(), "1.95.0-59807616e");
        assert_eq!(version.llvm_major, Some(22));
    }

    #[test]
    fn a_compiler_without_commit_is_known_by_its_release() {
        let version = Version::parse(DISTRIBUTION).unwrap();
        assert_eq!(version.commit, None);
        assert_eq!(version.id(), "1.85.0");
        assert_eq!(version.llvm_major, Some(19));
    }

    #[test]
    fn output_without_release_is_refused_and_quoted() {
        let error = Version::parse("cc 12").unwrap_err().to_string();
        assert!(error.contains("cc 12"), "{error}");
    }

    #[test]
    fn ages_compare_by_number_not_by_letter() {
        let version = |release: &str| Version { release: release.into(), commit: None, llvm_major: None };
        assert!(version("1.100.0").is_at_least("1.88").unwrap());
        assert!(version("1.88.0").is_at_least("1.88").unwrap());
        assert!(version("1.97.0-nightly").is_at_least("1.88").unwrap());
        assert!(!version("1.85.0").is_at_least("1.88").unwrap());
        assert!(version("new").is_at_least("1.88").is_err());
    }

    #[test]
    fn a_folder_holds_std_only_if_the_library_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!holds_std(&folder.path().join("absent")));
        std::fs::write(folder.path().join("libcore-1.rlib"), "").unwrap();
        assert!(!holds_std(folder.path()));
        std::fs::write(folder.path().join("libstd-1.rlib"), "").unwrap();
        assert!(holds_std(folder.path()));
    }
}
