//! The program `tributary` for users of Tributary: `tributary help` lists the commands.
//!
//! `check` is the crate `tributary-check`. `replay` reads the log of an Envoy that has ended, and sends the
//! metrics in it to a collector.

mod replay;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tributary_check::command;

/// Checks configurations of Tributary, and replays metrics that an Envoy did not export.
#[derive(Parser)]
#[command(name = "tributary", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Find mistakes in configurations of Envoy, Istio and Envoy Gateway that use Tributary.
    #[command(after_long_help = command::EXIT_CODES)]
    Check(command::CheckArgs),
    /// Send metrics that an Envoy did not export before it exited, from its log to a collector.
    Replay(replay::ReplayArgs),
    /// Print the version.
    Version,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Check(args) => return command::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Version => {
            println!("tributary {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
