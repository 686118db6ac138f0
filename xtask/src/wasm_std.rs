//! Builds a standard library for Wasm from source, once, and caches it for later builds.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::compiler::{Compiler, TARGET, has_std, libraries_of};
use crate::process;
use crate::progress::Activity;

/// The time limit of the build: ten times as long as the build takes on two cores.
const BUILD_TIMEOUT: Duration = Duration::from_secs(900);
/// The manifest of an empty crate, because cargo builds the standard library only as a dependency of a crate.
const MANIFEST: &str = include_str!("wasm_std/empty_crate.toml");

/// Returns a sysroot with this compiler's standard library for Wasm. Builds the library from `library`
/// unless it is cached.
pub(crate) fn sysroot(cargo: &Path, compiler: &Compiler, library: &Path) -> Result<PathBuf> {
    let cache = cache_folder()?;
    let sysroot = cache.join(&compiler.version.id);
    if has_std(&libraries_of(&sysroot)) {
        return Ok(sysroot);
    }
    let _activity = Activity::start(format!(
        "building the standard library for {TARGET} with rustc {} (once, about a minute)",
        compiler.version.release
    ));
    fs::create_dir_all(&cache).with_context(|| format!("cannot create the folder {}", cache.display()))?;
    // The folder is next to the final folder, so that one rename moves the complete library there.
    let scratch = tempfile::Builder::new().prefix("build-").tempdir_in(&cache)?;
    let built = build(cargo, compiler, library, scratch.path())?;
    if sysroot.exists() {
        fs::remove_dir_all(&sysroot).with_context(|| format!("cannot replace {}", sysroot.display()))?;
    }
    match fs::rename(&built, &sysroot) {
        Ok(()) => Ok(sysroot),
        // The rename fails if a concurrent build of the same library was faster.
        Err(_) if has_std(&libraries_of(&sysroot)) => Ok(sysroot),
        Err(error) => Err(error).with_context(|| format!("cannot move the library to {}", sysroot.display())),
    }
}

fn cache_folder() -> Result<PathBuf> {
    // The XDG base directory specification demands that a relative path is ignored.
    let given = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|folder| folder.is_absolute());
    let default = || Some(env::home_dir()?.join(".cache"));
    let base = given.or_else(default).context("neither XDG_CACHE_HOME nor HOME is set")?;
    Ok(base.join("tributary").join("wasm-std"))
}

/// Builds the library in `scratch` and returns the folder there that can serve as a sysroot.
fn build(cargo: &Path, compiler: &Compiler, library: &Path, scratch: &Path) -> Result<PathBuf> {
    fs::write(scratch.join("Cargo.toml"), MANIFEST)?;
    fs::write(scratch.join("empty.rs"), "")?;
    let mut command = isolated_cargo(cargo);
    command.current_dir(scratch).env("RUSTC", &compiler.path);
    vendor(&mut command, library, scratch)?;
    // Link-time optimisation of a module needs bitcode in the libraries.
    let root = library.parent().unwrap_or(library);
    let flags = ["-Cembed-bitcode=yes".to_owned(), format!("--remap-path-prefix={}=/rust", root.display())];
    command.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    // Makes a stable compiler accept `-Z`. It builds only its own standard library this way.
    command.env("RUSTC_BOOTSTRAP", "1");
    command.args(["build", "--release", "--target", TARGET, "-Zbuild-std=std,panic_abort"]);
    process::capture(&mut command, BUILD_TIMEOUT)?;

    let sysroot = scratch.join("sysroot");
    let libraries = libraries_of(&sysroot);
    fs::create_dir_all(&libraries)?;
    let made = scratch.join("target").join(TARGET).join("release/deps");
    for entry in fs::read_dir(&made).with_context(|| format!("cannot list {}", made.display()))? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if name.ends_with(".rlib") && !name.starts_with("libempty-") {
            fs::copy(&path, libraries.join(name))?;
        }
    }
    ensure!(has_std(&libraries), "cargo built no libstd in {}", made.display());
    Ok(sysroot)
}

/// Returns a cargo command without the environment of the cargo that runs this program.
fn isolated_cargo(cargo: &Path) -> Command {
    let mut command = Command::new(cargo);
    for name in ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET", "CARGO_BUILD_TARGET_DIR", "LD_LIBRARY_PATH"] {
        command.env_remove(name);
    }
    command.env_remove("RUSTC_WRAPPER").env_remove("RUSTC_WORKSPACE_WRAPPER");
    command
}

/// Makes cargo use the crates that are vendored with the library; without vendored crates, cargo fetches
/// them.
fn vendor(command: &mut Command, library: &Path, scratch: &Path) -> Result<()> {
    let vendored = library.join("vendor");
    if !vendored.is_dir() {
        return Ok(());
    }
    let config = format!(
        "[source.crates-io]\nreplace-with = \"vendored\"\n[source.vendored]\ndirectory = {}\n[net]\noffline = true\n",
        serde_json::to_string(&vendored)?
    );
    fs::create_dir(scratch.join(".cargo"))?;
    fs::write(scratch.join(".cargo/config.toml"), config)?;
    // With an empty home, cargo sees no configuration of the user that also replaces crates-io.
    command.env("CARGO_HOME", scratch.join("home"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vendored_crates_replace_the_registry() {
        let library = tempfile::tempdir().unwrap();
        let scratch = tempfile::tempdir().unwrap();
        fs::create_dir(library.path().join("vendor")).unwrap();
        let mut command = Command::new("cargo");
        vendor(&mut command, library.path(), scratch.path()).unwrap();
        let config = fs::read_to_string(scratch.path().join(".cargo/config.toml")).unwrap();
        assert!(config.contains("offline = true"), "{config}");
        assert!(config.contains(&format!("\"{}/vendor\"", library.path().display())), "{config}");
        assert!(command.get_envs().any(|(name, value)| name == "CARGO_HOME" && value.is_some()));
    }

    #[test]
    fn without_vendored_crates_the_users_registry_is_used() {
        let (library, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut command = Command::new("cargo");
        vendor(&mut command, library.path(), scratch.path()).unwrap();
        assert!(!scratch.path().join(".cargo").exists());
        assert_eq!(command.get_envs().count(), 0);
    }
}
