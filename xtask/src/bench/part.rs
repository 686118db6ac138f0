//! Instructions of single operations without Envoy: native code under callgrind, independent of a Wasm
//! compiler.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tributary_tests::metrics::to_f64;

use crate::process;
use crate::progress::Activity;
use crate::workspace::Workspace;

const LIMIT: Duration = Duration::from_secs(300);

/// An operation, and the program that repeats it. The cost is the slope between two runs, one half as long.
struct Part {
    name: &'static str,
    program: &'static str,
    arguments: &'static [&'static str],
    /// Repetitions in the longer run.
    times: u64,
}

const WORKER: &str = "worker_parts";
const SERVICE: &str = "service_parts";

const PARTS: [Part; 14] = [
    part("record one observation into a known series", WORKER, &["record"], 2_000),
    part("record 1,000 observations and flush 1,000 series", WORKER, &["flush"], 4),
    part("decode batches of 1,000 series", SERVICE, &["decode", "1000"], 4),
    part("read 100 records of a log stream", WORKER, &["read"], 200),
    part("merge a batch of 100 known series", SERVICE, &["merge", "0"], 20),
    part("encode 1,000 points, otlp_protobuf", SERVICE, &["otlp_protobuf", "1000"], 4),
    part("encode 10,000 points, otlp_protobuf", SERVICE, &["otlp_protobuf", "10000"], 2),
    part("encode 1,000 points, otlp_json", SERVICE, &["otlp_json", "1000"], 4),
    part("encode 10,000 points, otlp_json", SERVICE, &["otlp_json", "10000"], 2),
    part("encode 1,000 points, remote_write", SERVICE, &["remote_write", "1000"], 4),
    part("encode 10,000 points, remote_write", SERVICE, &["remote_write", "10000"], 2),
    part("gzip 100 points of otlp_protobuf", SERVICE, &["gzip", "100"], 4),
    part("gzip 1,000 points of otlp_protobuf", SERVICE, &["gzip", "1000"], 4),
    part("gzip 10,000 points of otlp_protobuf", SERVICE, &["gzip", "10000"], 2),
];

const fn part(
    name: &'static str,
    program: &'static str,
    arguments: &'static [&'static str],
    times: u64,
) -> Part {
    Part { name, program, arguments, times }
}

/// The instructions of each part.
pub(crate) fn count(workspace: &Workspace) -> Result<Vec<(&'static str, f64)>> {
    for (package, program) in [("tributary-worker-filter", WORKER), ("tributary-service", SERVICE)] {
        let mut cargo = workspace.cargo();
        cargo.args(["build", "--quiet", "--release", "--package", package, "--example", program]);
        process::run(&mut cargo)?;
    }
    let folder = workspace.target().join("release/examples");
    let activity = Activity::with_steps("counting the instructions of parts", PARTS.len());
    let mut found = Vec::new();
    for part in PARTS {
        let run = |times: u64| instructions(&folder.join(part.program), part.arguments, times);
        let short = part.times / 2;
        let per_time = (to_f64(run(part.times)?) - to_f64(run(short)?)) / to_f64(part.times - short);
        activity.step_done(&format!("{}: {per_time:.0} instructions", part.name));
        found.push((part.name, per_time));
    }
    Ok(found)
}

fn instructions(program: &Path, arguments: &[&str], times: u64) -> Result<u64> {
    let folder = tempfile::tempdir().context("cannot create a folder for callgrind")?;
    let file = folder.path().join("out");
    let mut out = std::ffi::OsString::from("--callgrind-out-file=");
    out.push(&file);
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--quiet", "--tool=callgrind"])
        .arg(out)
        .arg(program)
        .args(arguments)
        .arg(times.to_string());
    process::capture(&mut valgrind, LIMIT)?;
    let text = std::fs::read(&file).with_context(|| file.display().to_string())?;
    total(&String::from_utf8_lossy(&text))
}

/// The total in callgrind's file.
fn total(text: &str) -> Result<u64> {
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    let total = total.context("callgrind's file has no total")?.trim().parse()?;
    ensure!(total > 0, "callgrind counted nothing");
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_parsed() {
        assert_eq!(total("events: Ir\n0 5\ntotals: 47\n").unwrap(), 47);
        assert!(total("events: Ir\n").is_err());
    }

    #[test]
    fn every_part_is_repeated_at_least_twice() {
        assert!(PARTS.iter().all(|part| part.times >= 2));
    }
}
