//! Builds, runs, tests and measures Tributary: `cargo xtask help` lists the commands.

mod artefact;
mod build;

mod compiler;
mod contract;
mod debian;

mod optimiser;
mod process;
mod progress;

mod strip;


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


}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = Workspace::locate().and_then(|workspace| match cli.command {
        Command::Build(args) => build::run(&workspace, &args),


    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
