//! Optimises modules with Binaryen's wasm-opt.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::image::sha256;
use crate::{debian, process};

/// The time limit of wasm-opt: much more than the ten seconds that it takes for a module of 300 KiB.
const TIMEOUT: Duration = Duration::from_secs(300);
/// The Wasm features that rustc uses and Envoy's V8 has. A stripped module has no section that names them.
const FEATURES: [&str; 6] = [
    "--enable-bulk-memory",
    "--enable-sign-ext",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-multivalue",
    "--enable-reference-types",
];

/// A wasm-opt program, and the modules that it has optimised before.
pub(crate) struct Optimiser {
    program: PathBuf,
    /// A folder with a file for each earlier result. The file name is the digest of everything that the
    /// result depends on.
    results: PathBuf,
}

impl Optimiser {
    /// Finds the program that `WASM_OPT` names, or else `wasm-opt` in PATH. If there is neither, installs
    /// Debian's binaryen.
    ///
    /// The optimiser keeps its results in the folder `results`.
    pub(crate) fn find(results: &Path) -> Result<Self> {
        let program = Self::choose(env::var_os("WASM_OPT").as_deref(), || {
            debian::ensure_programs(&["wasm-opt"], "binaryen")?;
            which::which("wasm-opt").context("binaryen was installed without wasm-opt")
        })?;
        Ok(Self { program, results: results.to_owned() })
    }

    fn choose(named: Option<&OsStr>, found: impl FnOnce() -> Result<PathBuf>) -> Result<PathBuf> {
        if let Some(named) = named.filter(|named| !named.is_empty()) {
            let program = PathBuf::from(named);
            let name = program.display();
            ensure!(program.is_file(), "WASM_OPT is {name}, which is not a file: fix it or unset it");
            return Ok(program);
        }
        found().context(
            "no wasm-opt: install binaryen, set WASM_OPT to the program, or build with --no-opt (larger, slower modules)",
        )
    }

    /// Optimises a module for speed, then for size. Keeps the functions' names if `debug_names` is true.
    ///
    /// Uses the result of an earlier run with the same module and the same wasm-opt, if there is such a
    /// result: optimising a module takes ten seconds, and many commands build all modules first.
    pub(crate) fn optimise(&self, wasm: &[u8], debug_names: bool) -> Result<Vec<u8>> {
        let result = self.results.join(self.digest(wasm, debug_names)?).with_extension("wasm");
        if let Ok(optimised) = fs::read(&result) {
            return Ok(optimised);
        }
        fs::create_dir_all(&self.results)?;
        let folder = tempfile::tempdir_in(&self.results).context("cannot create a temporary folder")?;
        let (before, after) = (folder.path().join("before.wasm"), folder.path().join("after.wasm"));
        fs::write(&before, wasm)?;
        let mut command = Command::new(&self.program);
        command.args(flags(debug_names)).arg(before).arg("--output").arg(&after);
        process::capture(&mut command, TIMEOUT)?;
        let optimised = fs::read(&after).context("wasm-opt wrote no module")?;
        fs::rename(after, result)?;
        Ok(optimised)
    }

    /// Returns the digest of everything that a result depends on.
    fn digest(&self, wasm: &[u8], debug_names: bool) -> Result<String> {
        let version = process::capture(Command::new(&self.program).arg("--version"), TIMEOUT)?;
        let flags = flags(debug_names).join(" ");
        let cause = [version.as_bytes(), flags.as_bytes(), wasm];
        Ok(sha256(&cause.join(&b'\n')))
    }
}

fn flags(debug_names: bool) -> Vec<&'static str> {
    // `-Oz` after `-O3` saves 1.6 KiB: it removes copies that inlining made without a gain. Hoisting
    // constants saves 1 % of the size and costs no time: V8 folds them into instructions again. The order of
    // the functions gives those with the most callers the shortest numbers, which saves 1.6 KiB.
    let mut flags = vec!["--low-memory-unused", "-O3", "-Oz", "--const-hoisting", "--reorder-functions"];
    flags.push("--strip-producers");
    flags.extend(FEATURES);
    flags.push(if debug_names { "--debuginfo" } else { "--strip-debug" });
    flags
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn wasm_opt_from_the_environment_has_priority_and_must_exist() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let other = || Ok(PathBuf::from("other"));
        assert_eq!(Optimiser::choose(Some(file.path().as_os_str()), other).unwrap(), file.path());
        assert_eq!(Optimiser::choose(Some(OsStr::new("")), other).unwrap(), Path::new("other"));
        let error = Optimiser::choose(Some(OsStr::new("no/such")), other).err().unwrap();
        assert!(error.to_string().contains("WASM_OPT is no/such"), "{error}");
    }

    #[test]
    fn without_wasm_opt_the_error_suggests_a_build_without_it() {
        let error = Optimiser::choose(None, || bail!("no apt-get")).err().unwrap();
        let message = format!("{error:#}");
        assert!(message.contains("--no-opt") && message.ends_with("no apt-get"), "{message}");
    }

    #[cfg(unix)]
    #[test]
    fn the_same_module_is_optimised_once() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let (program, results) = (folder.path().join("wasm-opt"), folder.path().join("results"));
        // This script counts its runs in the file that its last argument names.
        let script = "#!/bin/sh\n[ \"$1\" = --version ] && echo 1 && exit\n\
                      echo run >> \"$0.runs\"\nfor last; do :; done\nwc -l < \"$0.runs\" > \"$last\"\n";
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let optimiser = Optimiser { program, results };
        let runs = |wasm: &[u8], names| {
            String::from_utf8(optimiser.optimise(wasm, names).unwrap()).unwrap().trim().to_owned()
        };
        assert_eq!([runs(b"a", false), runs(b"a", false)], ["1", "1"]);
        assert_eq!([runs(b"b", false), runs(b"a", true), runs(b"b", false)], ["2", "3", "2"]);
    }
}
