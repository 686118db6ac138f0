//! `tributary-check FILE…`: the same as `cargo xtask check`, as a program of its own.

use std::process::ExitCode;

use clap::Parser;
use tributary_check::command::{self, Args};

#[derive(Parser)]
#[command(name = "tributary-check", version, about = command::ABOUT, after_long_help = command::EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

fn main() -> ExitCode {
    command::run(&Cli::parse().args)
}
