//! The program `tributary`, for whoever runs Envoy with Tributary: `tributary help` lists the commands.

mod replay;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tributary_check::command;

/// Checks configurations of Tributary, and replays what an Envoy could not export.
#[derive(Parser)]
#[command(name = "tributary", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Find what is wrong with Tributary in configurations of Envoy, Istio and Envoy Gateway.
    #[command(after_long_help = command::EXIT_CODES)]
    Check(command::Args),
    /// Send a collector what an Envoy could not export before it ended, from its log.
    Replay(replay::Args),
    /// Print the version.
    Version,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Check(args) => return command::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Version => {
            println!("tributary {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
