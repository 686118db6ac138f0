//! The cargo that runs the tests, and the project's own programs, which cargo runs.

use std::env;
use std::ffi::OsString;
use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::repository;

/// Returns the cargo program that runs the tests.
pub fn program() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Creates a cargo command that runs in the root of the repository.
pub fn command() -> Command {
    let mut command = Command::new(program());
    command.current_dir(repository::root());
    remove_package_variables(&mut command);
    command
}

/// Creates the command `cargo xtask ARGUMENTS`.
pub fn xtask(arguments: &[&str]) -> Command {
    let mut command = command();
    command.args(["run", "--quiet", "--package", "xtask", "--"]).args(arguments);
    command
}

/// Runs `tributary replay` on the text of an Envoy log. The command sends the unexported metrics in the log
/// to the OTLP endpoint at `to`. Returns its standard output.
pub fn replay(log: &str, to: SocketAddr) -> Result<String> {
    replay_with(log, to, &[])
}

/// Like [`replay`], with additional arguments.
pub fn replay_with(log: &str, to: SocketAddr, arguments: &[&str]) -> Result<String> {
    let mut command = command();
    command.args(["run", "--quiet", "--package", "tributary-cli", "--", "replay", "--to"]);
    command.arg(format!("http://{to}/v1/metrics")).args(arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    child.stdin.take().context("no standard input")?.write_all(log.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Removes from a command's environment the variables with which cargo describes the package that it runs.
///
/// Some build scripts depend on these variables, such as that of ring 0.17. If a cargo that cargo runs
/// inherits them, it compiles such crates again, and so does the next cargo without them.
pub fn remove_package_variables(command: &mut Command) {
    const OTHERS: [&str; 3] = ["CARGO_MANIFEST_DIR", "CARGO_MANIFEST_LINKS", "CARGO_MANIFEST_PATH"];
    let is_package_variable = |name: &str| name.starts_with("CARGO_PKG_") || OTHERS.contains(&name);
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(is_package_variable) {
            command.env_remove(name);
        }
    }
}
