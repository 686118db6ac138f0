//! `cargo xtask ci`: every check that a change must pass, each with its name and duration.

use anyhow::{Context, Result};

use crate::artefact;
use crate::build::Options;
use crate::checklist::Checklist;
use crate::compiler::TARGET;
use crate::test;
use crate::toolchain::{Toolchain, ToolchainSource};
use crate::workspace::Workspace;
use crate::{dependency, process, tidy};

/// The folder of the clippy.toml for code that runs in a module.
const WASM_LINTS: &str = ".ci/wasm-lints";

/// The arguments of `cargo xtask ci`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    options: Options,
}

pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    let mut checklist = Checklist::new();
    checklist.run("layout of the repository", || tidy::check(workspace));
    checklist.run("dependencies", || dependency::check(workspace));
    checklist.run("format", || {
        process::run(workspace.cargo().args(["fmt", "--all", "--check"])).context("run `cargo fmt`")
    });
    checklist.run("lints", || {
        let mut cargo = workspace.cargo();
        process::run(cargo.args(["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]))
    });
    let toolchain = checklist.run("Wasm toolchain", || Toolchain::find(args.options.toolchain));
    wasm_lints(workspace, toolchain.as_ref(), &mut checklist);
    checklist.run("documentation", || {
        let mut cargo = workspace.cargo();
        cargo.env("RUSTDOCFLAGS", "--deny warnings");
        process::run(cargo.args(["doc", "--workspace", "--no-deps"]))
    });
    test::native(workspace, None, &mut checklist);
    let runs = test::envoys::runs(&[], None);
    test::end_to_end(workspace, &runs, toolchain.as_ref(), &args.options, &mut checklist);
    checklist.finish()
}

/// Lints the modules for Wasm: some code is compiled only for this target, and some calls fail only there.
fn wasm_lints(workspace: &Workspace, toolchain: Option<&Toolchain>, checklist: &mut Checklist) {
    const NAME: &str = "lints for Wasm";
    let Some(toolchain) = toolchain else {
        checklist.skip(NAME, "no toolchain");
        return;
    };
    if toolchain.source == ToolchainSource::Debian {
        checklist.skip(NAME, "Debian's rustc-web has no clippy");
        return;
    }
    checklist.run(NAME, || {
        let mut cargo = toolchain.cargo(workspace);
        cargo.env("CLIPPY_CONF_DIR", workspace.root().join(WASM_LINTS));
        cargo.args(["clippy", "--lib", "--target", TARGET]);
        cargo.args(artefact::packages().iter().flat_map(|package| ["--package", package]));
        process::run(cargo.args(["--", "--deny", "warnings"]))
    });
}
