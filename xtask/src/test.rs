//! `cargo xtask test`: the native tests, then the end-to-end tests with freshly built modules.

use std::process::Command;

use anyhow::Result;

mod envoys;

use self::envoys::Run;
use crate::build::{self, Options};
use crate::process;
use crate::report::Report;
use crate::toolchain::Toolchain;
use crate::workspace::Workspace;

/// The packages of the product, whose tests need no Envoy.
const NATIVE: [&str; 6] = [
    "tributary-proto",
    "tributary-host",
    "tributary-plan",
    "tributary-console",
    "tributary-worker-filter",
    "tributary-service",
];
/// Tested by themselves: together with the product, cargo would compile all that they need once more, with more features.
const TOOLS: [&str; 3] = ["xtask", "tributary-check", "tributary-fuzz"];
/// Those of them whose code counts in a module, where arithmetic wraps and no `debug_assert!` is left. The service adds up with what
/// `tributary-proto` has, and what its tests need takes long to compile once more.
const SHIPPED: [&str; 3] = ["tributary-proto", "tributary-plan", "tributary-worker-filter"];
/// What the profile of the tests is without, as that of the modules is.
const WITHOUT_ASSERTIONS: [(&str, &str); 2] =
    [("CARGO_PROFILE_DEV_DEBUG_ASSERTIONS", "false"), ("CARGO_PROFILE_DEV_OVERFLOW_CHECKS", "false")];
const END_TO_END: &str = "tributary-tests";

/// What `cargo xtask test` can be told.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run only the tests whose name contains this.
    filter: Option<String>,
    /// Run only the native tests.
    #[arg(long, conflicts_with = "e2e")]
    native: bool,
    /// Run only the end-to-end tests.
    #[arg(long)]
    e2e: bool,
    /// Run the end-to-end tests that tell whether Envoy does what the modules expect, on each of these versions; `all` is each
    /// that is supported. Without it all run on the newest, and a few on the oldest.
    #[arg(long, value_name = "VERSION,…|all", value_delimiter = ',', conflicts_with = "native")]
    envoy: Vec<String>,
    /// Only say which end-to-end tests would run, and on which Envoy.
    #[arg(long, conflicts_with = "native")]
    list: bool,
    #[command(flatten)]
    options: Options,
}

/// Which tests to run.
pub(crate) struct Selection<'a> {
    filter: Option<&'a str>,
    envoys: Vec<Run>,
}

pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    let selection = Selection { filter: args.filter.as_deref(), envoys: envoys::runs(&args.envoy) };
    if args.list {
        selection.envoys.iter().for_each(|run| println!("{run}"));
        return Ok(());
    }
    let mut report = Report::new();
    if !args.e2e {
        native(workspace, &selection, &mut report);
    }
    if !args.native {
        let toolchain = report.run("Wasm toolchain", || Toolchain::find(args.options.toolchain));
        end_to_end(workspace, &selection, toolchain.as_ref(), &args.options, &mut report);
    }
    report.finish()
}

/// Runs the tests that need no Envoy, once as developed and once as shipped.
pub(crate) fn native(workspace: &Workspace, selection: &Selection<'_>, report: &mut Report) {
    report.run("native tests", || {
        let mut cargo = cargo_test(workspace, &NATIVE);
        process::aloud(cargo.arg("--").args(selection.filter))
    });
    report.run("native tests of the tools", || {
        let mut cargo = cargo_test(workspace, &TOOLS);
        process::aloud(cargo.arg("--").args(selection.filter))
    });
    report.run("native tests without debug assertions", || {
        let mut cargo = cargo_test(workspace, &SHIPPED);
        cargo.envs(WITHOUT_ASSERTIONS);
        process::aloud(cargo.arg("--").args(selection.filter))
    });
}

/// Builds the modules and runs the tests that put them into a real Envoy.
pub(crate) fn end_to_end(
    workspace: &Workspace,
    selection: &Selection<'_>,
    toolchain: Option<&Toolchain>,
    options: &Options,
    report: &mut Report,
) {
    let built = toolchain.and_then(|toolchain| {
        report.run("Wasm modules", || {
            let modules = build::modules(workspace, toolchain, options)?;
            println!("{}", build::table(&modules));
            Ok(())
        })
    });
    if built.is_none() {
        report.skip("end-to-end tests", "they need the Wasm modules");
        return;
    }
    for run in &selection.envoys {
        report.run(&run.name(), || {
            run.fetch()?;
            let mut cargo = cargo_test(workspace, &[END_TO_END]);
            cargo.args(run.flags());
            run.choose(&mut cargo);
            // Two at a time: each waits more than it works.
            process::aloud(cargo.args(["--", "--test-threads=2"]).args(selection.filter))
        });
    }
}

impl Selection<'_> {
    /// Everything, as a change must pass it.
    pub(crate) fn everything() -> Self {
        Self { filter: None, envoys: envoys::runs(&[]) }
    }
}

fn cargo_test(workspace: &Workspace, packages: &[&str]) -> Command {
    let mut cargo = workspace.cargo();
    cargo.args(["test", "--no-fail-fast"]);
    cargo.args(packages.iter().flat_map(|package| ["--package", package]));
    cargo
}
