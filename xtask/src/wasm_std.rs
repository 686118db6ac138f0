//! A standard library for Wasm, built once from source and kept for every later build.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::compiler::{Compiler, TARGET, holds_std};
use crate::process;
use crate::progress::Progress;

/// About a minute on two cores; a machine ten times slower still gets there.
const BUILD_TIMEOUT: Duration = Duration::from_secs(900);
/// A crate that is nothing: cargo builds the standard library because something depends on it.
const MANIFEST: &str = r#"[package]
name = "nothing"
version = "0.0.0"
edition = "2021"

[lib]
path = "nothing.rs"

[profile.release]
codegen-units = 1
opt-level = 3
panic = "abort"

[workspace]
"#;

/// Gives a sysroot with the standard library for Wasm of this compiler, built from `library` if need be.
pub(crate) fn sysroot(cargo: &Path, compiler: &Compiler, library: &Path) -> Result<PathBuf> {
    let cache = cache_folder()?;
    let sysroot = cache.join(compiler.version.id());
    if holds_std(&libraries_of(&sysroot)) {
        return Ok(sysroot);
    }
    let _progress = Progress::start(format!(
        "building the standard library for {TARGET} with rustc {} (once, about a minute)",
        compiler.version.release
    ));
    fs::create_dir_all(&cache).with_context(|| format!("cannot make the folder {}", cache.display()))?;
    // Beside its final place, so that it comes there by one rename: nobody ever sees half a library.
    let scratch = tempfile::Builder::new().prefix("build-").tempdir_in(&cache)?;
    let built = build(cargo, compiler, library, scratch.path())?;
    if sysroot.exists() {
        fs::remove_dir_all(&sysroot).with_context(|| format!("cannot replace {}", sysroot.display()))?;
    }
    match fs::rename(&built, &sysroot) {
        Ok(()) => Ok(sysroot),
        // Another build of the same library came first.
        Err(_) if holds_std(&libraries_of(&sysroot)) => Ok(sysroot),
        Err(error) => Err(error).with_context(|| format!("cannot put the library at {}", sysroot.display())),
    }
}

/// Where cargo keeps what it downloads.
pub(crate) fn cargo_home() -> Option<PathBuf> {
    env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")))
}

fn cache_folder() -> Result<PathBuf> {
    let base = match env::var_os("XDG_CACHE_HOME").map(PathBuf::from) {
        // The XDG base directory specification: a relative path is to be ignored.
        Some(folder) if folder.is_absolute() => folder,
        _ => PathBuf::from(env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME is set")?)
            .join(".cache"),
    };
    Ok(base.join("tributary").join("wasm-std"))
}

fn libraries_of(sysroot: &Path) -> PathBuf {
    sysroot.join("lib/rustlib").join(TARGET).join("lib")
}

/// Builds the library in `scratch` and gives the folder in it that can serve as sysroot.
fn build(cargo: &Path, compiler: &Compiler, library: &Path, scratch: &Path) -> Result<PathBuf> {
    fs::write(scratch.join("Cargo.toml"), MANIFEST)?;
    fs::write(scratch.join("nothing.rs"), "")?;
    let mut command = cargo_without_surroundings(cargo);
    command.current_dir(scratch).env("RUSTC", &compiler.path);
    vendor(&mut command, library, scratch)?;
    // Without bitcode in the libraries, link-time optimisation of a module fails.
    let root = library.parent().unwrap_or(library);
    let flags = ["-Cembed-bitcode=yes".to_owned(), format!("--remap-path-prefix={}=/rust", root.display())];
    command.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    // `-Z` is for nightly; this lets a stable compiler build the one library that was made for it.
    command.env("RUSTC_BOOTSTRAP", "1");
    command.args(["build", "--release", "--target", TARGET, "-Zbuild-std=std,panic_abort"]);
    process::quietly(&mut command, BUILD_TIMEOUT)?;

    let sysroot = scratch.join("sysroot");
    let libraries = libraries_of(&sysroot);
    fs::create_dir_all(&libraries)?;
    let made = scratch.join("target").join(TARGET).join("release/deps");
    for entry in fs::read_dir(&made).with_context(|| format!("cannot list {}", made.display()))? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if name.ends_with(".rlib") && !name.starts_with("libnothing-") {
            fs::copy(&path, libraries.join(name))?;
        }
    }
    if !holds_std(&libraries) {
        bail!("cargo built no libstd in {}", made.display());
    }
    Ok(sysroot)
}

/// A cargo that does not know that it is run by another one, for this workspace and its target.
fn cargo_without_surroundings(cargo: &Path) -> Command {
    let mut command = Command::new(cargo);
    for name in ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET", "CARGO_BUILD_TARGET_DIR", "LD_LIBRARY_PATH"] {
        command.env_remove(name);
    }
    command.env_remove("RUSTC_WRAPPER").env_remove("RUSTC_WORKSPACE_WRAPPER");
    command
}

/// Takes the few crates that the library needs from beside it, if they are there; else cargo fetches them.
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
    // An empty home: the user's own replacement of crates-io must not meet this one.
    command.env("CARGO_HOME", scratch.join("home"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vendored_crates_replace_the_registry_and_forbid_the_network() {
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
