//! Builds, runs, tests and measures Tributary: `cargo xtask help` lists the commands.

mod artefact;
mod bench;
mod build;
mod ci;
mod compiler;
mod contract;
mod debian;
mod demo;
mod dependency;
mod fuzz;
mod image;
mod optimiser;
mod process;
mod progress;
mod report;
mod soak;
mod strip;
mod test;
mod tidy;
mod toolchain;
mod wasm_std;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

/// Builds, runs, tests and measures Tributary.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make the Wasm modules in target/wasm, optimised and checked.
    Build(build::Args),
    /// Make an OCI image of each module in target/oci, for `oci://` in Istio and Envoy Gateway.
    Image(image::Args),
    /// Show the main job: real requests through a real Envoy, and a reckoning of all counts.
    Demo(demo::Args),
    /// Run the native tests, then the end-to-end tests on a real Envoy.
    Test(test::Args),
    /// Measure what counting costs, ours beside Envoy's own ways.
    Bench(bench::Args),
    /// Try inputs on the doors through which bytes of strangers come, millions of them, steered by what code they reach.
    Fuzz(fuzz::Args),
    /// Send traffic for long, to collectors that fail at random, and check the ledger each second.
    Soak(soak::Args),
    /// Run every check that a change must pass: layout, format, lints, docs, tests.
    Ci(ci::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = Workspace::locate().and_then(|workspace| match cli.command {
        Command::Build(args) => build::run(&workspace, &args),
        Command::Image(args) => image::run(&workspace, &args),
        Command::Demo(args) => demo::run(&workspace, &args),
        Command::Test(args) => test::run(&workspace, &args),
        Command::Bench(args) => bench::run(&workspace, &args),
        Command::Fuzz(args) => fuzz::run(&workspace, &args),
        Command::Soak(args) => soak::run(&workspace, &args),
        Command::Ci(args) => ci::run(&workspace, &args),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
