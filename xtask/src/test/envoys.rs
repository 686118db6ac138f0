//! Which versions of Envoy are tested, and by which tests.

use std::fmt;
use std::process::Command;

use anyhow::{Context, Result, bail};
use tributary_tests::tools::envoy::{self, BINARY_VARIABLE, DEFAULT_VERSION, VERSION_VARIABLE};

/// The versions that are supported: the last of each release that has a build with V8 in the registry, from the oldest on.
const SUPPORTED: [&str; 5] = ["1.36.4", "1.37.0", "1.38.2", "1.39.3", DEFAULT_VERSION];

/// Tests that fail where Envoy does not do what the modules expect.
const TELLING: [&str; 24] = [
    "attach_points",
    "attachments",
    "capabilities",
    "changes",
    "check",
    "collector_faults",
    "console",
    "deployments",
    "dimensions",
    "exactness",
    "faults",
    "flush",
    "grpc",
    "log_stream",
    "mtls",
    "odd_answers",
    "plain_envoy",
    "shared_values",
    "shutdown",
    "tap",
    "tcp",
    "traps",
    "unfinished",
    "untrusted_input",
];
/// The few of them that tell the most in little time: every way in, every way out, and the end.
const BRIEF: [&str; 4] = ["attach_points", "collector_faults", "shutdown", "tcp"];

/// One run of end-to-end tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// None for the one that the environment names, else the newest.
    version: Option<String>,
    /// None for all.
    tests: Option<&'static [&'static str]>,
}

/// The runs on these versions; without any, all tests on the newest and a few on the oldest.
pub(super) fn runs(versions: &[String]) -> Vec<Run> {
    let on = |version: &str, tests| Run { version: Some(version.to_owned()), tests: Some(tests) };
    if versions.is_empty() {
        let oldest = SUPPORTED.first().copied().unwrap_or(DEFAULT_VERSION);
        return vec![Run { version: None, tests: None }, on(oldest, &BRIEF)];
    }
    let mut runs: Vec<Run> = Vec::new();
    for version in versions {
        let named = [version.as_str()];
        let named: &[&str] = if version == "all" { &SUPPORTED } else { &named };
        runs.extend(named.iter().map(|version| on(version, &TELLING)));
    }
    runs
}

impl fmt::Display for Run {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tests = self.tests.map_or_else(|| "all".to_owned(), |tests| tests.join(", "));
        write!(out, "{}: {tests}", self.name())
    }
}

impl Run {
    /// What it is called in the report.
    pub(super) fn name(&self) -> String {
        match &self.version {
            None => "end-to-end tests".to_owned(),
            Some(version) => format!("end-to-end tests on Envoy {version}"),
        }
    }

    /// The flags by which cargo takes only its tests.
    pub(super) fn flags(&self) -> Vec<&'static str> {
        self.tests.unwrap_or_default().iter().flat_map(|test| ["--test", test]).collect()
    }

    /// Fetches its Envoy, unless the tests are to choose.
    ///
    /// # Errors
    /// There is no such version, or it cannot run the modules.
    pub(super) fn fetch(&self) -> Result<()> {
        let Some(version) = &self.version else { return Ok(()) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let binary = runtime.block_on(envoy::fetched(version)).with_context(|| format!("Envoy {version}"))?;
        match envoy::incompatibility(&binary) {
            Some(fault) => bail!("{fault}"),
            None => Ok(()),
        }
    }

    /// Has the tests that this command runs take its Envoy.
    pub(super) fn choose(&self, command: &mut Command) {
        if let Some(version) = &self.version {
            command.env_remove(BINARY_VARIABLE).env(VERSION_VARIABLE, version);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(versions: &[&str]) -> Vec<String> {
        let versions: Vec<String> = versions.iter().map(|version| (*version).to_owned()).collect();
        runs(&versions).iter().map(|run| format!("{}, {} tests", run.name(), run.flags().len() / 2)).collect()
    }

    #[test]
    fn the_oldest_and_the_newest_are_in_every_run_and_all_are_all() {
        assert_eq!(named(&[]), ["end-to-end tests, 0 tests", "end-to-end tests on Envoy 1.36.4, 4 tests"]);
        let on = |version: &str| format!("end-to-end tests on Envoy {version}, 24 tests");
        assert_eq!(named(&["1.36.4", "1.40.0"]), [on("1.36.4"), on("1.40.0")]);
        assert_eq!(named(&["all"]), SUPPORTED.map(on));
    }

    #[test]
    fn the_tests_are_ones_that_there_are() {
        let manifest = include_str!("../../../tests/Cargo.toml");
        for test in TELLING.iter().chain(&BRIEF) {
            assert!(manifest.contains(&format!("name = \"{test}\"\n")), "{test}");
        }
        assert!(BRIEF.iter().all(|test| TELLING.contains(test)));
    }
}
