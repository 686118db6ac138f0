//! Binaryen's wasm-opt: where it comes from, and how a module is put through it.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::{debian, process};

/// A module of 300 KiB takes under a second.
const TIMEOUT: Duration = Duration::from_secs(300);
/// What rustc's Wasm uses and Envoy's V8 has. The section that would say so is not in a stripped module.
const FEATURES: [&str; 6] = [
    "--enable-bulk-memory",
    "--enable-sign-ext",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-multivalue",
    "--enable-reference-types",
];

/// A wasm-opt that can be run.
pub(crate) struct Optimiser {
    program: PathBuf,
}

impl Optimiser {
    /// Takes the program that `WASM_OPT` names, else the one in PATH, else installs Debian's binaryen.
    pub(crate) fn find() -> Result<Self> {
        Self::choose(env::var_os("WASM_OPT").as_deref(), || {
            if let Ok(program) = which::which("wasm-opt") {
                return Ok(program);
            }
            debian::ensure(&["binaryen"])?;
            which::which("wasm-opt").context("binaryen is installed, but brought no wasm-opt")
        })
    }

    fn choose(named: Option<&OsStr>, found: impl FnOnce() -> Result<PathBuf>) -> Result<Self> {
        if let Some(named) = named.filter(|named| !named.is_empty()) {
            let program = PathBuf::from(named);
            if !program.is_file() {
                bail!("WASM_OPT is {}, which is not a file: correct it or unset it", program.display());
            }
            return Ok(Self { program });
        }
        let program = found().context(
            "no wasm-opt: install binaryen, name the program in WASM_OPT, or build with --no-opt (bigger, slower modules)",
        )?;
        Ok(Self { program })
    }

    /// Optimises a module for speed; the functions' names stay if `debug_names`.
    pub(crate) fn optimise(&self, wasm: &[u8], debug_names: bool) -> Result<Vec<u8>> {
        let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
        let (before, after) = (folder.path().join("before.wasm"), folder.path().join("after.wasm"));
        fs::write(&before, wasm)?;
        process::quietly(&mut self.command(&before, &after, debug_names), TIMEOUT)?;
        fs::read(&after).context("wasm-opt wrote no module")
    }

    fn command(&self, before: &Path, after: &Path, debug_names: bool) -> Command {
        let mut command = Command::new(&self.program);
        // V8 folds constants into instructions again: hoisting them costs nothing and takes off 1 %.
        command.args(["-O3", "--const-hoisting"]).args(FEATURES).arg("--strip-producers");
        command.arg(if debug_names { "--debuginfo" } else { "--strip-debug" });
        command.arg(before).arg("--output").arg(after);
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_program_comes_first_and_must_exist() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let other = || Ok(PathBuf::from("other"));
        assert_eq!(Optimiser::choose(Some(file.path().as_os_str()), other).unwrap().program, file.path());
        assert_eq!(Optimiser::choose(Some(OsStr::new("")), other).unwrap().program, Path::new("other"));
        let error = Optimiser::choose(Some(OsStr::new("no/such")), other).err().unwrap();
        assert!(error.to_string().contains("WASM_OPT is no/such"), "{error}");
    }

    #[test]
    fn without_any_the_error_names_the_way_out() {
        let error = Optimiser::choose(None, || bail!("no apt-get")).err().unwrap();
        let message = format!("{error:#}");
        assert!(message.contains("--no-opt") && message.ends_with("no apt-get"), "{message}");
    }
}
