//! `cargo xtask fuzz`: runs libFuzzer on the targets of the crate `tributary-fuzz`.
//!
//! The programs are built with LLVM's coverage counters, with options that a stable compiler accepts. They
//! do not run `unsafe` code, so they need no address sanitizer. A finding is a panic, for example because
//! of an arithmetic overflow.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::builder::PossibleValuesParser;
use serde::Serialize;
use tributary_fuzz::target::{COUNT_MARK, FuzzTarget};

use crate::process;
use crate::progress::{Activity, ProgressCounter};
use crate::workspace::{self, Workspace};

/// Flags of rustc that count the edges that an input reaches, and let libFuzzer use the operands of
/// comparisons in new inputs.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
                        -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1";
/// The maximum size of an input, in bytes.
const BYTES_MAX: usize = 2_048;
/// The time after which an input counts as a hang, in seconds.
const TIMEOUT_S: u32 = 10;
const RUSTC_TIMEOUT: Duration = Duration::from_secs(30);
/// The number of lines at the end of libFuzzer's output that an error shows.
const TAIL_LINES: usize = 20;

/// The arguments of `cargo xtask fuzz`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Fuzz only this target.
    #[arg(long, value_name = "TARGET", value_parser = PossibleValuesParser::new(FuzzTarget::ALL.map(FuzzTarget::name)))]
    target: Option<String>,
    /// The number of inputs of each target.
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    inputs: u64,
    /// The seed of the random numbers.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    seed: u32,
    /// Print the names of the targets, and fuzz nothing.
    #[arg(long)]
    list: bool,
    /// Print one JSON array as the last line of the standard output.
    #[arg(long)]
    json: bool,
}

/// The result of fuzzing one target; `--json` prints it.
#[derive(Debug, Default, PartialEq, Serialize)]
struct FuzzResult {
    target: &'static str,
    inputs: u64,
    seconds: f64,
    /// The number of edges of the code that were reached.
    edges_reached: u64,
    /// The number of all edges of the code.
    edges: u64,
    /// The number of inputs that each reached an edge that no other input reached.
    corpus: u64,
}

pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    if args.list {
        println!("{}", FuzzTarget::ALL.map(FuzzTarget::name).join("\n"));
        return Ok(());
    }
    let programs = build(workspace)?;
    let mut results = Vec::new();
    let is_selected = |target: &FuzzTarget| args.target.as_ref().is_none_or(|name| name == target.name());
    for target in FuzzTarget::ALL.into_iter().filter(is_selected) {
        let result = fuzz(workspace, &programs, target, args)?;
        let FuzzResult { target, inputs, seconds, edges_reached, edges, corpus } = &result;
        eprintln!(
            "{target}: {inputs} inputs in {seconds:.0} s reached {edges_reached} of {edges} edges; {corpus} inputs in \
             the corpus; no findings"
        );
        results.push(result);
    }
    if args.json {
        println!("{}", serde_json::to_string(&results)?);
    }
    Ok(())
}

/// Builds the programs and returns their folder.
fn build(workspace: &Workspace) -> Result<PathBuf> {
    let _activity = Activity::start("building the fuzz targets");
    let mut rustc = Command::new(workspace::rustc());
    let output = process::capture(rustc.args(["--print", "host-tuple"]), RUSTC_TIMEOUT)?;
    let host = output.trim();
    let folder = workspace.target().join("fuzz");
    let mut cargo = workspace.cargo();
    cargo.args(["build", "--quiet", "--package", "tributary-fuzz", "--features", "libfuzzer", "--bins"]);
    // With an explicit target, cargo compiles build scripts and macros without these flags.
    cargo.args(["--profile", "fuzz", "--target", host, "--target-dir"]).arg(&folder);
    cargo.env("RUSTFLAGS", COVERAGE).env_remove("CARGO_ENCODED_RUSTFLAGS");
    process::run(&mut cargo).context("libFuzzer needs a C++ compiler, such as g++")?;
    Ok(folder.join(host).join("fuzz"))
}

/// Fuzzes one target. A finding is an error.
fn fuzz(workspace: &Workspace, programs: &Path, target: FuzzTarget, args: &Args) -> Result<FuzzResult> {
    let (folder, name) = (workspace.target().join("fuzz"), target.name());
    let (corpus, found) = (folder.join("corpus").join(name), folder.join("found").join(name));
    for folder in [&corpus, &found] {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    for (number, seed) in target.seeds().iter().enumerate() {
        fs::write(corpus.join(format!("seed-{number:02}")), seed)?;
    }
    let mut program = Command::new(programs.join(format!("fuzz_{name}")));
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
    let mut result = FuzzResult { target: name, ..FuzzResult::default() };
    let mut counter = ProgressCounter::start(args.inputs, "inputs");
    let mut tail = Vec::new();
    let stderr = child.stderr.take().context("the program has no standard error")?;
    for line in BufReader::new(stderr).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        result.read(&line);
        counter.update(result.inputs, &format!("{name}: {} edges", result.edges_reached));
        tail.push(line);
        tail.drain(..tail.len().saturating_sub(TAIL_LINES));
    }
    drop(counter);
    let status = child.wait()?;
    result.seconds = started.elapsed().as_secs_f64();
    ensure!(
        status.success(),
        "libFuzzer found an input that fails {name}. The end of its output:\n{}\nFix the code, and copy the input from \
         {} to fuzz/found/{name}, so that the tests keep it",
        tail.join("\n"),
        found.display(),
    );
    Ok(result)
}

impl FuzzResult {
    /// Updates the result from a line of libFuzzer's output.
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
    fn the_output_of_libfuzzer_is_parsed() {
        let mut result = FuzzResult::default();
        for line in [
            "INFO: Loaded 1 modules   (67204 inline 8-bit counters): 67204 [0x1, 0x2), ",
            "#2\tINITED cov: 933 ft: 1262 corp: 1/1b exec/s: 0 rss: 29Mb",
            "inputs so far: 100000",
            "#100123\tNEW    cov: 1274 ft: 1553 corp: 153/984b lim: 29 exec/s: 0 rss: 29Mb L: 2/25 MS: 1 EraseBytes-",
            "stat::number_of_executed_units: 200000",
            "stat::average_exec_per_sec:     20000",
        ] {
            result.read(line);
        }
        let expected = FuzzResult {
            inputs: 200_000,
            edges_reached: 1_274,
            edges: 67_204,
            corpus: 153,
            ..FuzzResult::default()
        };
        assert_eq!(result, expected);
    }
}
