//! The cargo that runs in the repository, as at the command line.

use std::env;
use std::ffi::OsString;
use std::process::Command;

use crate::repository;

/// A variable that only what cargo runs has.
const PACKAGE_PREFIX: &str = "CARGO_PKG_";
/// Others of them.
const PACKAGE: [&str; 3] = ["CARGO_MANIFEST_DIR", "CARGO_MANIFEST_LINKS", "CARGO_MANIFEST_PATH"];

/// The one that this program was run by.
pub fn program() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// It, in the repository's root.
pub fn command() -> Command {
    let mut command = Command::new(program());
    command.current_dir(repository::root());
    forget_package(&mut command);
    command
}

/// One of the project's commands.
pub fn xtask(arguments: &[&str]) -> Command {
    let mut command = command();
    command.args(["run", "--quiet", "--package", "xtask", "--"]).args(arguments);
    command
}

/// Takes from a command what cargo says to the programs that it runs about their package.
///
/// Build scripts say that they depend on it (that of ring 0.17 does): with it, a cargo under a cargo compiles once more what is
/// there, and so does the next one without.
pub fn forget_package(command: &mut Command) {
    let of_package = |name: &str| name.starts_with(PACKAGE_PREFIX) || PACKAGE.contains(&name);
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(of_package) {
            command.env_remove(name);
        }
    }
}
