//! Instructions of single operations without Envoy: native code under callgrind, independent of a Wasm
//! compiler.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use tributary_tests::metrics::to_f64;

use super::profile;
use crate::process;
use crate::progress::Activity;
use crate::workspace::Workspace;

const LIMIT: Duration = Duration::from_secs(300);

/// An operation, and the program that repeats it. The cost is the slope between a run and a run that is twice
/// as long.
#[derive(Deserialize)]
struct Part {
    name: String,
    package: String,
    program: String,
    arguments: Vec<String>,
    /// The number of repetitions in the longer run.
    times: u64,
}

fn parts() -> Result<Vec<Part>> {
    serde_yaml_ng::from_str(include_str!("parts.yaml")).context("parts.yaml")
}

/// Counts the instructions of each part.
pub(crate) fn count(workspace: &Workspace) -> Result<Vec<(String, f64)>> {
    let parts = parts()?;
    let programs: BTreeSet<_> = parts.iter().map(|part| [&part.package, &part.program]).collect();
    for [package, program] in programs {
        let mut cargo = workspace.cargo();
        cargo.args(["build", "--quiet", "--release", "--package", package, "--example", program]);
        process::run(&mut cargo)?;
    }
    let folder = workspace.target().join("release/examples");
    let activity = Activity::with_steps("counting the instructions of parts", parts.len());
    let mut found = Vec::new();
    for part in parts {
        let run = |times: u64| instructions(&folder.join(&part.program), &part.arguments, times);
        let short = part.times / 2;
        let per_time = (to_f64(run(part.times)?) - to_f64(run(short)?)) / to_f64(part.times - short);
        activity.step_done(&format!("{}: {per_time:.0} instructions", part.name));
        found.push((part.name, per_time));
    }
    Ok(found)
}

fn instructions(program: &Path, arguments: &[String], times: u64) -> Result<u64> {
    let folder = tempfile::tempdir().context("cannot create a folder for callgrind")?;
    let file = folder.path().join("out");
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--quiet", "--tool=callgrind", &format!("--callgrind-out-file={}", file.display())]);
    valgrind.arg(program).args(arguments).arg(times.to_string());
    process::capture(&mut valgrind, LIMIT)?;
    let text = std::fs::read(&file).with_context(|| file.display().to_string())?;
    let total = profile::total(&String::from_utf8_lossy(&text))?;
    ensure!(total > 0, "callgrind counted nothing");
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_repeated_at_least_twice() {
        assert!(parts().unwrap().iter().all(|part| part.times >= 2));
    }
}
