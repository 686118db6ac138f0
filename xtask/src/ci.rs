//! `cargo xtask ci`: every check that a change must pass, each named and timed.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::artefact;
use crate::build::Options;
use crate::compiler::TARGET;
use crate::report::Report;
use crate::test::{self, Selection};
use crate::toolchain::{Toolchain, Way};
use crate::workspace::Workspace;
use crate::{dependency, process, tidy};

const COMPONENT_TIMEOUT: Duration = Duration::from_secs(120);

/// What `cargo xtask ci` can be told.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    options: Options,
}

pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    let mut report = Report::new();
    report.run("layout of the repository", || tidy::check(workspace));
    report.run("dependencies", || dependency::check(workspace));
    report.run("format", || {
        ensure_component(workspace, "fmt", "rustfmt")?;
        process::aloud(workspace.cargo().args(["fmt", "--all", "--check"])).context("to do: run `cargo fmt`")
    });
    report.run("lints", || {
        ensure_component(workspace, "clippy", "clippy")?;
        let mut cargo = workspace.cargo();
        process::aloud(cargo.args(["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]))
    });
    let toolchain = report.run("Wasm toolchain", || Toolchain::find(args.options.toolchain));
    wasm_lints(workspace, toolchain.as_ref(), &mut report);
    report.run("documentation", || {
        let mut cargo = workspace.cargo();
        cargo.env("RUSTDOCFLAGS", "--deny warnings");
        process::aloud(cargo.args(["doc", "--workspace", "--no-deps"]))
    });
    let everything = Selection::everything();
    test::native(workspace, &everything, &mut report);
    test::end_to_end(workspace, &everything, toolchain.as_ref(), &args.options, &mut report);
    report.finish()
}

/// Lints the modules as they are compiled for Envoy: some code exists for that target alone.
fn wasm_lints(workspace: &Workspace, toolchain: Option<&Toolchain>, report: &mut Report) {
    const NAME: &str = "lints for Wasm";
    let Some(toolchain) = toolchain else {
        report.skip(NAME, "no toolchain");
        return;
    };
    if toolchain.way == Way::Debian {
        report.skip(NAME, "Debian's rustc-web comes without clippy");
        return;
    }
    report.run(NAME, || {
        let mut cargo = toolchain.cargo(workspace);
        cargo.args(["clippy", "--lib", "--target", TARGET]);
        cargo.args(artefact::packages().iter().flat_map(|package| ["--package", package]));
        process::aloud(cargo.args(["--", "--deny", "warnings"]))
    });
}

/// Makes sure that a part of Rust that a small installation leaves out is there.
fn ensure_component(workspace: &Workspace, subcommand: &str, component: &str) -> Result<()> {
    let present = process::quietly(workspace.cargo().args([subcommand, "--version"]), COMPONENT_TIMEOUT);
    let Err(error) = present else { return Ok(()) };
    let mut rustup = Command::new("rustup");
    process::quietly(rustup.args(["component", "add", component]), COMPONENT_TIMEOUT)
        .with_context(|| format!("{error:#}; to do: install {component} for this Rust"))?;
    Ok(())
}
