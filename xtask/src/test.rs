//! `cargo xtask test`: the native tests, then the end-to-end tests with newly built modules.

use std::process::Command;

use anyhow::Result;

pub(crate) mod envoys;

use crate::build::{self, Options};
use crate::checklist::Checklist;
use crate::process;
use crate::toolchain::Toolchain;
use crate::workspace::Workspace;
use envoys::TestRun;

/// The packages of the product, whose tests need no Envoy.
const NATIVE: [&str; 6] = [
    "tributary-proto",
    "tributary-host",
    "tributary-plan",
    "tributary-worker-filter",
    "tributary-service",
    "tributary-console",
];
/// The packages that are tested apart from [`NATIVE`]: in one command, cargo would unify their features and
/// compile the product's dependencies again. These packages use the worker filter with the feature `full`, so
/// the tests of the worker filter run here a second time, with this feature.
const TOOLS_AND_FULL: [&str; 5] =
    ["xtask", "tributary-check", "tributary-fuzz", "tributary-plan", "tributary-worker-filter"];
/// The packages with arithmetic that runs in modules, where arithmetic wraps and `debug_assert!` is off.
/// The service uses the arithmetic of `tributary-proto`, and its tests take long to compile again.
const SHIPPED: [&str; 3] = ["tributary-proto", "tributary-plan", "tributary-worker-filter"];
/// Environment variables that turn off for the tests the checks that are off in the profile of the modules.
const WITHOUT_ASSERTIONS: [(&str, &str); 2] =
    [("CARGO_PROFILE_DEV_DEBUG_ASSERTIONS", "false"), ("CARGO_PROFILE_DEV_OVERFLOW_CHECKS", "false")];
const END_TO_END: &str = "tributary-tests";

/// The arguments of `cargo xtask test`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run only the tests whose name contains this text.
    filter: Option<String>,
    /// Run only the native tests.
    #[arg(long, conflicts_with = "e2e")]
    native: bool,
    /// Run only the end-to-end tests.
    #[arg(long)]
    e2e: bool,
    /// Run the end-to-end tests of Envoy's behaviour on each of these versions; `all` means every supported
    /// version. By default, all tests run on the newest version and a few on the oldest.
    #[arg(long, value_name = "VERSION,…|all", value_delimiter = ',', conflicts_with = "native")]
    envoy: Vec<String>,
    /// Print which end-to-end tests would run on which Envoy, and run nothing.
    #[arg(long, conflicts_with = "native")]
    list: bool,
    #[command(flatten)]
    options: Options,
}

pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    let filter = args.filter.as_deref();
    let runs = envoys::runs(&args.envoy, filter);
    if args.list {
        runs.iter().for_each(|run| println!("{run}"));
        return Ok(());
    }
    let mut checklist = Checklist::new();
    if !args.e2e {
        native(workspace, filter, &mut checklist);
    }
    if !args.native {
        let toolchain = checklist.run("Wasm toolchain", || Toolchain::find(args.options.toolchain));
        end_to_end(workspace, &runs, toolchain.as_ref(), &args.options, &mut checklist);
    }
    checklist.finish()
}

/// Runs the tests that need no Envoy, with and without debug assertions.
pub(crate) fn native(workspace: &Workspace, filter: Option<&str>, checklist: &mut Checklist) {
    for (name, packages, variables) in [
        ("native tests", &NATIVE[..], &[][..]),
        ("native tests of the tools and the full module", &TOOLS_AND_FULL, &[]),
        ("native tests without debug assertions", &SHIPPED, &WITHOUT_ASSERTIONS),
    ] {
        checklist.run(name, || {
            let mut cargo = cargo_test(workspace, packages);
            process::run(cargo.envs(variables.iter().copied()).arg("--").args(filter))
        });
    }
}

/// Builds the modules and runs the tests that put them into a real Envoy.
pub(crate) fn end_to_end(
    workspace: &Workspace,
    runs: &[TestRun<'_>],
    toolchain: Option<&Toolchain>,
    options: &Options,
    checklist: &mut Checklist,
) {
    let built = toolchain.and_then(|toolchain| {
        checklist.run("Wasm modules", || {
            let modules = build::modules(workspace, toolchain, options)?;
            println!("{}", build::table(&modules));
            Ok(())
        })
    });
    if built.is_none() {
        checklist.skip("end-to-end tests", "the Wasm modules were not built");
        return;
    }
    for run in runs {
        checklist.run(&run.name(), || {
            run.fetch()?;
            let mut cargo = cargo_test(workspace, &[END_TO_END]);
            run.select(&mut cargo);
            process::run(&mut cargo)
        });
    }
}

fn cargo_test(workspace: &Workspace, packages: &[&str]) -> Command {
    let mut cargo = workspace.cargo();
    cargo.args(["test", "--no-fail-fast"]);
    cargo.args(packages.iter().flat_map(|package| ["--package", package]));
    cargo
}
