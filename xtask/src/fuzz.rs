//! `cargo xtask fuzz`: the doors of the crate `tributary-fuzz`, tried by libFuzzer.
//!
//! The programs are built with LLVM's coverage counters, by options that a stable compiler has. There is no address sanitizer:
//! no code that they run is `unsafe`. What is wrong shows as a panic, and arithmetic that overflows is one.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use serde::Serialize;
use tributary_fuzz::target::{COUNT_MARK, FuzzTarget};

use crate::process;
use crate::progress::{Count, Progress};
use crate::workspace::{self, Workspace};

/// Edges that were reached are counted, and what comparisons were made with becomes part of inputs.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
                        -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1";
/// Bytes of an input.
const BYTES_MAX: usize = 2_048;
/// An input that takes longer hangs, in seconds.
const TIMEOUT_S: u32 = 10;
const QUESTION_TIMEOUT: Duration = Duration::from_secs(30);
/// Lines of libFuzzer's that an error shows.
const TAIL_LINES: usize = 20;

/// What `cargo xtask fuzz` can be told.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this door.
    #[arg(long, value_enum, value_name = "DOOR")]
    target: Option<Target>,
    /// How many inputs each gets.
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    inputs: u64,
    /// Where the random numbers begin.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    seed: u32,
    /// Only say which doors there are.
    #[arg(long)]
    list: bool,
    /// Print one JSON array as the last line of the standard output.
    #[arg(long)]
    json: bool,
}

/// A door, by its name.
#[derive(Clone, Copy, ValueEnum)]
enum Target {
    /// Items of the queue between workers and service.
    Queue,
    /// Configurations of both modules.
    Configuration,
    /// What the host says of streams.
    Attributes,
    /// What Envoy's access logger says of requests.
    #[value(name = "log_stream")]
    LogStream,
}

/// What one door was put through; its JSON form is what `--json` prints.
#[derive(Debug, Default, PartialEq, Serialize)]
struct Figures {
    target: &'static str,
    inputs: u64,
    seconds: f64,
    /// Edges of the code that were reached, and how many there are.
    edges_reached: u64,
    edges: u64,
    /// Inputs that each reached something that no other did.
    corpus: u64,
}

impl From<Target> for FuzzTarget {
    fn from(target: Target) -> Self {
        match target {
            Target::Queue => Self::Queue,
            Target::Configuration => Self::Configuration,
            Target::Attributes => Self::Attributes,
            Target::LogStream => Self::LogStream,
        }
    }
}

pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    if args.list {
        println!("{}", FuzzTarget::ALL.map(FuzzTarget::name).join("\n"));
        return Ok(());
    }
    let programs = build(workspace)?;
    let doors = args.target.map_or_else(|| FuzzTarget::ALL.to_vec(), |target| vec![target.into()]);
    let mut all = Vec::new();
    for door in doors {
        let figures = open(workspace, &programs, door, args)?;
        let Figures { target, inputs, seconds, edges_reached, edges, corpus } = &figures;
        eprintln!(
            "{target}: {inputs} inputs in {seconds:.0} s, {edges_reached} of {edges} edges reached, {corpus} inputs that \
             each reach something of their own; no findings"
        );
        all.push(figures);
    }
    if args.json {
        println!("{}", serde_json::to_string(&all)?);
    }
    Ok(())
}

/// Builds the programs, and gives the folder that they are in.
fn build(workspace: &Workspace) -> Result<PathBuf> {
    let _progress = Progress::start("building the programs with coverage");
    let mut rustc = Command::new(workspace::rustc());
    let said = process::quietly(rustc.args(["--print", "host-tuple"]), QUESTION_TIMEOUT)?;
    let target = said.trim();
    let folder = workspace.target().join("fuzz");
    let mut cargo = workspace.cargo();
    cargo.args(["build", "--quiet", "--package", "tributary-fuzz", "--features", "libfuzzer", "--bins"]);
    // With a target named, build scripts and macros are compiled without the flags.
    cargo.args(["--profile", "fuzz", "--target", target, "--target-dir"]).arg(&folder);
    cargo.env("RUSTFLAGS", COVERAGE).env_remove("CARGO_ENCODED_RUSTFLAGS");
    process::aloud(&mut cargo).context("libFuzzer is C++: is there a compiler for it, such as g++?")?;
    Ok(folder.join(target).join("fuzz"))
}

/// Puts one door through its inputs.
fn open(workspace: &Workspace, programs: &Path, door: FuzzTarget, args: &Args) -> Result<Figures> {
    let folder = workspace.target().join("fuzz");
    let (corpus, found) = (folder.join("corpus").join(door.name()), folder.join("found").join(door.name()));
    for folder in [&corpus, &found] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    for (number, seed) in door.seeds().iter().enumerate() {
        fs::write(corpus.join(format!("seed-{number:02}")), seed)?;
    }
    let mut program = Command::new(programs.join(format!("fuzz_{}", door.name())));
    program.arg(&corpus).args([
        format!("-runs={}", args.inputs),
        format!("-seed={}", args.seed),
        format!("-max_len={BYTES_MAX}"),
        format!("-timeout={TIMEOUT_S}"),
        format!("-artifact_prefix={}/", found.display()),
        "-print_final_stats=1".to_owned(),
    ]);
    let started = Instant::now();
    let mut child = program.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let mut figures = Figures { target: door.name(), ..Figures::default() };
    let mut count = Count::start(args.inputs, "inputs");
    let mut tail = Vec::new();
    for line in BufReader::new(child.stderr.take().context("the program has no standard error")?).split(b'\n')
    {
        let line = String::from_utf8_lossy(&line?).into_owned();
        figures.read(&line);
        count.say(figures.inputs, &format!("{}: {} edges", door.name(), figures.edges_reached));
        tail.push(line);
        tail.drain(..tail.len().saturating_sub(TAIL_LINES));
    }
    drop(count);
    let status = child.wait()?;
    figures.seconds = started.elapsed().as_secs_f64();
    ensure!(
        status.success(),
        "an input of {} bytes at most does harm to the door {name}. The end of what libFuzzer said:\n{}\nTo do: mend it, and \
         put the input from {} into fuzz/found/{name}, where the tests keep it",
        BYTES_MAX,
        tail.join("\n"),
        found.display(),
        name = door.name()
    );
    Ok(figures)
}

impl Figures {
    /// Reads a line of what libFuzzer says.
    fn read(&mut self, line: &str) {
        if let Some(inputs) = line.strip_prefix(COUNT_MARK) {
            self.inputs = inputs.parse().unwrap_or(self.inputs).max(self.inputs);
        } else if let Some(inputs) = line.strip_prefix("stat::number_of_executed_units:") {
            self.inputs = inputs.trim().parse().unwrap_or(self.inputs);
        } else if line.contains("inline 8-bit counters)") && self.edges == 0 {
            let number = line.split_once('(').and_then(|(_, rest)| rest.split(' ').next());
            self.edges = number.and_then(|number| number.parse().ok()).unwrap_or(0);
        }
        let after = |name: &str| {
            let (_, rest) = line.split_once(name)?;
            rest.trim_start().split([' ', '/']).next()?.parse().ok()
        };
        if line.starts_with('#') {
            self.edges_reached = after("cov:").unwrap_or(self.edges_reached);
            self.corpus = after("corp:").unwrap_or(self.corpus);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_libfuzzer_says_is_read() {
        let mut figures = Figures::default();
        for line in [
            "INFO: Loaded 1 modules   (67204 inline 8-bit counters): 67204 [0x1, 0x2), ",
            "#2\tINITED cov: 933 ft: 1262 corp: 1/1b exec/s: 0 rss: 29Mb",
            "inputs so far: 100000",
            "#100123\tNEW    cov: 1274 ft: 1553 corp: 153/984b lim: 29 exec/s: 0 rss: 29Mb L: 2/25 MS: 1 EraseBytes-",
            "stat::number_of_executed_units: 200000",
            "stat::average_exec_per_sec:     20000",
        ] {
            figures.read(line);
        }
        let expected = Figures {
            inputs: 200_000,
            edges_reached: 1_274,
            edges: 67_204,
            corpus: 153,
            ..Figures::default()
        };
        assert_eq!(figures, expected);
    }

    #[test]
    fn every_door_is_a_target() {
        let targets: Vec<FuzzTarget> =
            Target::value_variants().iter().map(|target| (*target).into()).collect();
        assert_eq!(targets, FuzzTarget::ALL);
    }
}
