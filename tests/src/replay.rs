//! `tributary replay`: what an Envoy could not export, from its log to a collector.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::repository;

/// Runs it on a log, towards the OTLP endpoint at `to`, and gives what it prints.
///
/// # Errors
/// It fails: the error repeats what it said.
pub fn replay(log: &str, to: SocketAddr) -> Result<String> {
    // The cargo that runs the tests.
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["run", "--quiet", "--package", "tributary-cli", "--", "replay", "--to"]);
    cargo.arg(format!("http://{to}/v1/metrics")).current_dir(repository::root());
    let mut child = cargo.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    child.stdin.take().context("no standard input")?.write_all(log.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
