//! The toolchain that compiles for Wasm: four ways to a standard library, tried from the cheapest on.

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::compiler::{Compiler, TARGET};
use crate::workspace::{self, Workspace};
use crate::{debian, process, wasm_std};

/// `rustup target add` has hung on networks that swallow packets; it must not take the build with it.
const RUSTUP_TIMEOUT: Duration = Duration::from_secs(120);
/// What Debian and its descendants call a current Rust.
const DEBIAN_PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];
/// The oldest LLVM whose linker is tried on objects of a current rustc.
const OLDEST_LLD: u32 = 16;

/// What `--toolchain` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Choice {
    /// The first way that works.
    Auto,
    /// The standard library for Wasm that this rustc already has.
    Installed,
    /// The one that rustup adds to this rustc.
    Rustup,
    /// One built from the rust-src of this rustc.
    Source,
    /// Debian's rustc-web, and one built from its rust-web-src.
    Debian,
}

/// A way to a standard library for Wasm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Installed,
    Rustup,
    Source,
    Debian,
}

/// A cargo and a rustc that can compile for Wasm.
#[derive(Debug)]
pub(crate) struct Toolchain {
    pub(crate) way: Way,
    pub(crate) compiler: Compiler,
    cargo: PathBuf,
    /// Where the standard library for Wasm is, if not with the compiler.
    built_std: Option<BuiltStd>,
}

#[derive(Debug)]
struct BuiltStd {
    sysroot: PathBuf,
    linker: PathBuf,
}

impl Toolchain {
    /// Finds or makes a toolchain; when no way works, the error says for each why, and what to do.
    pub(crate) fn find(choice: Choice) -> Result<Self> {
        let mut failures = String::new();
        for way in choice.ways() {
            match way.open() {
                Ok(toolchain) => return Ok(toolchain),
                Err(error) => {
                    failures.push_str(&format!("\n  {way}: {error:#}\n    to do: {}", way.remedy()))
                }
            }
        }
        bail!("no standard library for {TARGET}; one of these ways must work:{failures}")
    }

    /// A cargo whose `--target wasm32-unknown-unknown` works; the caller adds subcommand and target.
    ///
    /// The flags of rustc are given outright: what the user sets for native code (`RUSTFLAGS`) does not fit Wasm.
    pub(crate) fn cargo(&self, workspace: &Workspace) -> Command {
        let mut command = Command::new(&self.cargo);
        command.current_dir(workspace.root());
        command.env("RUSTC", &self.compiler.path).env("CARGO_TARGET_DIR", self.target_dir(workspace));
        command.env("CARGO_ENCODED_RUSTFLAGS", self.flags().join("\x1f"));
        if let Some(built) = &self.built_std {
            command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", &built.linker);
        }
        if self.way == Way::Debian {
            // Both lead a program of the distribution to the libraries and the toolchain of rustup.
            command.env_remove("LD_LIBRARY_PATH").env_remove("RUSTUP_TOOLCHAIN");
        }
        command
    }

    /// One folder for each compiler and each standard library: objects of two of them must never meet.
    pub(crate) fn target_dir(&self, workspace: &Workspace) -> PathBuf {
        let origin = match self.way {
            Way::Installed | Way::Rustup => "prebuilt",
            Way::Source => "source",
            Way::Debian => "debian",
        };
        workspace.target().join("wasm-build").join(format!("{}-{origin}", self.compiler.version.id()))
    }

    /// The flags of rustc: its standard library, and no path of this machine in the panic messages of a module.
    fn flags(&self) -> Vec<String> {
        let mut flags = Vec::new();
        if let Some(built) = &self.built_std {
            flags.push(format!("--sysroot={}", built.sysroot.display()));
        }
        if let Some(home) = wasm_std::cargo_home() {
            flags.push(format!("--remap-path-prefix={}=/cargo", home.join("registry/src").display()));
        }
        flags
    }
}

impl fmt::Display for Toolchain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "rustc {} ({})", self.compiler.version.id(), self.way)
    }
}

impl Choice {
    fn ways(self) -> &'static [Way] {
        match self {
            Self::Auto => &[Way::Installed, Way::Rustup, Way::Source, Way::Debian],
            Self::Installed => &[Way::Installed],
            Self::Rustup => &[Way::Rustup],
            Self::Source => &[Way::Source],
            Self::Debian => &[Way::Debian],
        }
    }
}

impl Way {
    fn open(self) -> Result<Toolchain> {
        match self {
            Self::Installed => installed(),
            Self::Rustup => rustup(),
            Self::Source => source(),
            Self::Debian => debian(),
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::Installed => "run cargo with a rustc that has it, by PATH or by RUSTC",
            Self::Rustup => "run `rustup target add wasm32-unknown-unknown` where the network allows it",
            Self::Source => "run `rustup component add rust-src`, or install the sources of this very rustc",
            Self::Debian => {
                "run `apt-get install rustc-web cargo-web rust-web-src lld` as root, then this again"
            }
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Installed => "installed",
            Self::Rustup => "rustup",
            Self::Source => "source",
            Self::Debian => "debian",
        })
    }
}

fn installed() -> Result<Toolchain> {
    let compiler = Compiler::ask(workspace::rustc())?;
    if !compiler.has_wasm_std()? {
        bail!("rustc {} has no library for the target", compiler.version.release);
    }
    Ok(Toolchain { way: Way::Installed, compiler, cargo: workspace::cargo(), built_std: None })
}

fn rustup() -> Result<Toolchain> {
    let rustup = which::which("rustup").context("there is no rustup here")?;
    {
        let _progress = crate::progress::Progress::start(format!("rustup target add {TARGET}"));
        process::quietly(Command::new(rustup).args(["target", "add", TARGET]), RUSTUP_TIMEOUT)?;
    }
    let mut toolchain = installed().context("rustup added the target, but to another rustc than cargo's")?;
    toolchain.way = Way::Rustup;
    Ok(toolchain)
}

fn source() -> Result<Toolchain> {
    let compiler = Compiler::ask(workspace::rustc())?;
    let library = library_of(&compiler)?;
    let linker = rust_lld(&compiler).or_else(|_| wasm_ld())?;
    let cargo = workspace::cargo();
    let sysroot = wasm_std::sysroot(&cargo, &compiler, &library)?;
    Ok(Toolchain { way: Way::Source, compiler, cargo, built_std: Some(BuiltStd { sysroot, linker }) })
}

fn debian() -> Result<Toolchain> {
    debian::ensure(&DEBIAN_PACKAGES)?;
    let cargo = PathBuf::from("/usr/bin/cargo");
    let compiler = Compiler::ask(PathBuf::from("/usr/bin/rustc"))?;
    compiler.check_age().context("rustc-web of this release (is its security archive enabled?)")?;
    let library = library_of(&compiler)?;
    let linker = match wasm_ld() {
        Ok(linker) => linker,
        Err(_) => {
            debian::ensure_first(&lld_packages(compiler.version.llvm_major))?;
            wasm_ld()?
        }
    };
    let sysroot = wasm_std::sysroot(&cargo, &compiler, &library)?;
    Ok(Toolchain { way: Way::Debian, compiler, cargo, built_std: Some(BuiltStd { sysroot, linker }) })
}

/// The source of the standard library, as rustup and distributions lay it beside the compiler.
fn library_of(compiler: &Compiler) -> Result<PathBuf> {
    let library = compiler.sysroot()?.join("lib/rustlib/src/rust/library");
    if !library.join("std/Cargo.toml").is_file() {
        bail!("rustc {} has no rust-src at {}", compiler.version.release, library.display());
    }
    Ok(library)
}

/// The linker that rustup's toolchains bring along.
fn rust_lld(compiler: &Compiler) -> Result<PathBuf> {
    let rustlib = compiler.sysroot()?.join("lib/rustlib");
    let hosts = rustlib.read_dir().with_context(|| format!("cannot list {}", rustlib.display()))?;
    let mut linkers = hosts.flatten().map(|host| host.path().join("bin/rust-lld"));
    linkers.find(|linker| linker.is_file()).context("this rustc brings no rust-lld along")
}

/// LLVM's own linker: under its plain name, else the newest of those with a version in the name.
fn wasm_ld() -> Result<PathBuf> {
    if let Ok(linker) = which::which("wasm-ld") {
        return Ok(linker);
    }
    let folders = env::var_os("PATH").map(|path| env::split_paths(&path).collect::<Vec<_>>());
    let entries = folders.into_iter().flatten().filter_map(|folder| folder.read_dir().ok()).flatten();
    let paths = entries.flatten().map(|entry| entry.path());
    let versioned = paths.filter_map(|path| Some((linker_version(&path)?, path)));
    let (_, newest) = versioned.max().context("there is no wasm-ld in PATH")?;
    Ok(newest)
}

/// The version in a name such as `wasm-ld-19`, if it is new enough.
fn linker_version(path: &Path) -> Option<u32> {
    let version = path.file_name()?.to_str()?.strip_prefix("wasm-ld-")?.parse().ok()?;
    (version >= OLDEST_LLD).then_some(version)
}

/// The packages that may hold the linker, the best first: of the compiler's own LLVM, else an older one.
fn lld_packages(llvm_major: Option<u32>) -> Vec<String> {
    let newest = llvm_major.unwrap_or(OLDEST_LLD);
    let versioned = (OLDEST_LLD..=newest).rev().map(|version| format!("lld-{version}"));
    versioned.chain(["lld".to_owned()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_tries_every_way_from_the_cheapest_on() {
        let names: Vec<_> = Choice::Auto.ways().iter().map(Way::to_string).collect();
        assert_eq!(names, ["installed", "rustup", "source", "debian"]);
    }

    #[test]
    fn a_forced_way_is_the_only_one() {
        for choice in Choice::value_variants().iter().filter(|choice| **choice != Choice::Auto) {
            let name = choice.to_possible_value().unwrap().get_name().to_owned();
            let ways: Vec<_> = choice.ways().iter().map(Way::to_string).collect();
            assert_eq!(ways, [name]);
        }
    }

    #[test]
    fn linkers_are_told_by_their_name_and_old_ones_passed_over() {
        assert_eq!(linker_version(Path::new("bin/wasm-ld-19")), Some(19));
        assert_eq!(linker_version(Path::new("bin/wasm-ld-14")), None);
        assert_eq!(linker_version(Path::new("bin/ld.lld-19")), None);
    }

    #[test]
    fn the_linker_of_the_compilers_llvm_is_wanted_first() {
        assert_eq!(lld_packages(Some(18)), ["lld-18", "lld-17", "lld-16", "lld"]);
        assert_eq!(lld_packages(None), ["lld-16", "lld"]);
    }
}
