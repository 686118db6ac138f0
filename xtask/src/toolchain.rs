//! Finds the toolchain that compiles for Wasm: with the installed target, or else with the target from
//! rustup, or else from Debian's packages.

use std::env;
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use serde::Serialize;

use crate::compiler::{Compiler, TARGET, has_std, libraries_of};
use crate::progress::Activity;
use crate::workspace::{self, Workspace};
use crate::{debian, process, wasm_std};

/// The time limit of `rustup target add`, which hangs on networks that drop packets silently.
const RUSTUP_TIMEOUT: Duration = Duration::from_secs(120);
/// The packages of a current Rust for Debian releases, from Debian's security archives. Without these
/// archives Rust may be older than the workspace's `rust-version`, which cargo then reports.
const DEBIAN_PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];
/// The oldest LLVM whose linker reads the objects of a current rustc.
const OLDEST_LLD: u32 = 16;
/// A version that is newer than any LLVM that Debian has.
const NEWEST_LLD: u32 = 99;

/// A source of a Rust standard library for Wasm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ToolchainSource {
    /// The target that this rustc already has.
    Installed,
    /// The target that rustup adds to this rustc.
    Rustup,
    /// Debian's rustc-web, with a standard library built from its rust-web-src.
    Debian,
}

/// A cargo and a rustc that can compile for Wasm.
#[derive(Debug)]
pub(crate) struct Toolchain {
    pub(crate) source: ToolchainSource,
    pub(crate) compiler: Compiler,
    cargo: PathBuf,
    /// The standard library, unless it is in the compiler's own sysroot.
    built_std: Option<BuiltStd>,
}

#[derive(Debug)]
struct BuiltStd {
    sysroot: PathBuf,
    linker: PathBuf,
}

impl Toolchain {
    /// Finds or installs a toolchain from `source`. If `source` is `None`, uses the first source that
    /// works.
    pub(crate) fn find(source: Option<ToolchainSource>) -> Result<Self> {
        let sources =
            source.map_or_else(|| ToolchainSource::value_variants().to_vec(), |source| vec![source]);
        let mut failures = String::new();
        for source in sources {
            let (found, remedy) = match source {
                ToolchainSource::Installed => {
                    (installed(), "run cargo with a rustc that has the target: set PATH or RUSTC")
                }
                ToolchainSource::Rustup => {
                    (rustup(), "run `rustup target add wasm32-unknown-unknown` with access to the network")
                }
                ToolchainSource::Debian => {
                    (debian(), "run `apt-get install rustc-web cargo-web rust-web-src lld` as root")
                }
            };
            match found {
                Ok(toolchain) => return Ok(toolchain),
                Err(error) => failures.push_str(&format!("\n  {source}: {error:#}\n    to fix it, {remedy}")),
            }
        }
        bail!("no standard library for {TARGET}:{failures}")
    }

    /// Returns a cargo command that can compile for `wasm32-unknown-unknown`. The caller adds the
    /// subcommand and the target.
    ///
    /// This cargo ignores the user's `RUSTFLAGS`, which are for native code.
    pub(crate) fn cargo(&self, workspace: &Workspace) -> Command {
        let mut command = Command::new(&self.cargo);
        command.current_dir(workspace.root());
        command.env("RUSTC", &self.compiler.path).env("CARGO_TARGET_DIR", self.target_dir(workspace));
        command.env("CARGO_ENCODED_RUSTFLAGS", self.flags().join("\x1f"));
        if let Some(built) = &self.built_std {
            command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", &built.linker);
        }
        if self.source == ToolchainSource::Debian {
            // These variables are removed, because they would make a program of the distribution use
            // rustup's libraries and toolchain.
            command.env_remove("LD_LIBRARY_PATH").env_remove("RUSTUP_TOOLCHAIN");
        }
        command
    }

    /// Returns the target folder. Each pair of compiler and standard library has its own target folder,
    /// because objects of different pairs are not compatible.
    pub(crate) fn target_dir(&self, workspace: &Workspace) -> PathBuf {
        let origin = if self.source == ToolchainSource::Debian { "debian" } else { "prebuilt" };
        workspace.target().join("wasm-build").join(format!("{}-{origin}", self.compiler.version.id))
    }

    /// Returns the flags of rustc, which keep paths of this machine out of the panic messages of a module.
    fn flags(&self) -> Vec<String> {
        let mut flags = Vec::new();
        if let Some(built) = &self.built_std {
            flags.push(format!("--sysroot={}", built.sysroot.display()));
        }
        for folder in registry_folders() {
            flags.push(format!("--remap-path-prefix={}=", folder.display()));
        }
        flags
    }
}

impl fmt::Display for Toolchain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "rustc {} ({})", self.compiler.version.id, self.source)
    }
}

impl fmt::Display for ToolchainSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(formatter)
    }
}

fn installed() -> Result<Toolchain> {
    let compiler = Compiler::inspect(workspace::rustc())?;
    let has_std = has_std(&libraries_of(&compiler.sysroot()?));
    ensure!(has_std, "rustc {} has no library for the target", compiler.version.release);
    let source = ToolchainSource::Installed;
    Ok(Toolchain { source, compiler, cargo: workspace::cargo(), built_std: None })
}

fn rustup() -> Result<Toolchain> {
    let rustup = which::which("rustup").context("rustup is not installed")?;
    let activity = Activity::start(format!("rustup target add {TARGET}"));
    process::capture(Command::new(rustup).args(["target", "add", TARGET]), RUSTUP_TIMEOUT)?;
    drop(activity);
    let toolchain = installed().context("rustup added the target to another rustc than cargo's")?;
    Ok(Toolchain { source: ToolchainSource::Rustup, ..toolchain })
}

fn debian() -> Result<Toolchain> {
    debian::ensure(&DEBIAN_PACKAGES)?;
    let cargo = PathBuf::from("/usr/bin/cargo");
    let compiler = Compiler::inspect(PathBuf::from("/usr/bin/rustc"))?;
    let library = compiler.sysroot()?.join("lib/rustlib/src/rust/library");
    let has_source = library.join("std/Cargo.toml").is_file();
    ensure!(has_source, "rust-web-src has no standard library at {}", library.display());
    let install = || debian::ensure_first(&lld_packages(compiler.version.llvm_major));
    let linker = wasm_ld().or_else(|_| install().and_then(|()| wasm_ld()))?;
    let sysroot = wasm_std::sysroot(&cargo, &compiler, &library)?;
    let built_std = Some(BuiltStd { sysroot, linker });
    Ok(Toolchain { source: ToolchainSource::Debian, compiler, cargo, built_std })
}

/// Returns the folders of cargo's registries, which contain a folder for each package. Their names differ
/// between a registry and its mirror.
fn registry_folders() -> Vec<PathBuf> {
    let registries = cargo_home().and_then(|home| fs::read_dir(home.join("registry/src")).ok());
    registries.into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect()
}

/// Returns the folder in which cargo keeps its downloads.
fn cargo_home() -> Option<PathBuf> {
    let default = || Some(env::home_dir()?.join(".cargo"));
    env::var_os("CARGO_HOME").map(PathBuf::from).or_else(default)
}

/// Finds LLVM's linker: `wasm-ld`, or else the newest `wasm-ld-VERSION` in PATH that is new enough.
fn wasm_ld() -> Result<PathBuf> {
    let versioned = (OLDEST_LLD..=NEWEST_LLD).rev().map(|version| format!("wasm-ld-{version}"));
    let mut names = ["wasm-ld".to_owned()].into_iter().chain(versioned);
    names.find_map(|name| which::which(name).ok()).context("there is no wasm-ld in PATH")
}

/// Returns the packages that may contain the linker: first the version of the compiler's own LLVM, then
/// older versions.
fn lld_packages(llvm_major: Option<u32>) -> Vec<String> {
    let newest = llvm_major.unwrap_or(OLDEST_LLD);
    let versioned = (OLDEST_LLD..=newest).rev().map(|version| format!("lld-{version}"));
    versioned.chain(["lld".to_owned()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_tried_in_this_order_and_named_as_on_the_command_line() {
        let names = ToolchainSource::value_variants().iter().map(|source| {
            assert_eq!(source.to_possible_value().unwrap().get_name(), source.to_string());
            source.to_string()
        });
        assert_eq!(names.collect::<Vec<_>>(), ["installed", "rustup", "debian"]);
    }

    #[test]
    fn the_linker_of_the_compilers_llvm_is_preferred() {
        assert_eq!(lld_packages(Some(18)), ["lld-18", "lld-17", "lld-16", "lld"]);
        assert_eq!(lld_packages(None), ["lld-16", "lld"]);
    }
}
