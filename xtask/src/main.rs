//! Builds, runs, tests and measures Tributary: `cargo xtask help` lists the commands.
//!
//! [`build`] gets a [`toolchain`] and [`wasm_std`], runs cargo, then [`strip`] and [`optimiser`], and checks
//! the result against its [`artefact`] and [`contract`]. [`image`] packs the modules. [`test`](mod@test),
//! [`demo`], [`soak`], [`fuzz`] and [`bench`](mod@bench) run them. [`ci`] runs all checks, with [`tidy`] and
//! [`dependency`] for the rules of this repository.

mod artefact;
mod bench;
mod build;
mod checklist;
mod ci;
mod compiler;
mod contract;
mod debian;
mod demo;
mod dependency;
mod file;
mod fuzz;
mod image;
mod optimiser;
mod output;
mod process;
mod progress;
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
    /// Build the Wasm modules into target/wasm, optimised and checked.
    Build(build::Args),
    /// Pack each module as an OCI image into target/oci, for `oci://` in Istio and Envoy Gateway.
    Image(image::Args),
    /// Send requests through a real Envoy and compare four independent counts of them.
    Demo(demo::Args),
    /// Run the native tests, then the end-to-end tests on a real Envoy.
    Test(test::Args),
    /// Measure what counting costs, next to Envoy's own ways to count.
    Bench(bench::Args),
    /// Fuzz the untrusted inputs of the modules with libFuzzer.
    Fuzz(fuzz::Args),
    /// Send traffic for minutes or hours while collectors fail at random, and check the ledger each second.
    Soak(soak::Args),
    /// Run every check that a change must pass: layout, format, lints, documentation, tests.
    Ci(ci::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = Workspace::locate().and_then(|workspace| match cli.command {
        Command::Build(args) => build::run(&workspace, &args),
        Command::Image(args) => image::run(&workspace, &args),
        Command::Demo(args) => demo::run(&workspace, &args),
        Command::Test(args) => test::run(&workspace, &args),
        Command::Bench(args) => bench::run(&workspace, &args),
        Command::Fuzz(args) => fuzz::run(&workspace, &args),
        Command::Soak(args) => soak::run(&workspace, &args),
        Command::Ci(args) => ci::run(&workspace, &args),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
