//! The documentation matches the code.

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tributary_console::config::ConsoleConfig;
use tributary_plan::config::WorkerConfig;
use tributary_proto::config::Problems;
use tributary_service::config::ServiceConfig;
use tributary_tests::markdown::{self, read};
use tributary_tests::{cargo, repository};

#[test]
fn the_example_in_the_readme_is_the_file_that_the_demo_runs() -> Result<()> {
    let blocks = markdown::blocks()?;
    let example: Vec<_> = blocks.iter().filter(|block| block.info == "yaml").collect();
    assert_eq!(example.iter().map(|block| block.file.as_str()).collect::<Vec<_>>(), ["README.md"]);
    assert!(example.iter().all(|block| read("envoy/minimal.yaml").is_ok_and(|file| file == block.text)));
    Ok(())
}

/// Returns the keys that a module knows, read from the problems of a configuration with an unknown key in
/// each section. Omits keys that are sections.
fn keys(problems: &Problems) -> Vec<String> {
    let mut keys: Vec<String> = Vec::new();
    for problem in problems.iter().filter(|problem| problem.found == "an unknown key") {
        let section = problem.path.trim_end_matches('?').replace("[0]", "[]");
        let allowed = problem.allowed.trim_start_matches("one of ").split(", ");
        keys.extend(allowed.map(|key| format!("{section}{key}")));
    }
    let all = keys.clone();
    keys.retain(|key| !all.iter().any(|other| other.starts_with(&format!("{key}."))));
    keys.sort();
    keys
}

/// The first column of the first table in a chapter of docs/config.md.
fn documented(chapter: &str) -> Result<Vec<String>> {
    let text = read("docs/config.md")?;
    let chapter = text
        .split("\n## ")
        .find(|text| text.starts_with(&format!("{chapter}\n")))
        .context("no such chapter")?;
    let chapter = chapter.split("\n### ").next().unwrap_or(chapter);
    let rows = chapter.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let mut keys: Vec<String> = rows.map(|(key, _)| key.to_owned()).collect();
    keys.sort();
    Ok(keys)
}

#[test]
fn exactly_the_keys_of_the_configuration_are_documented() -> Result<()> {
    let worker =
        br#"{"?": 0, "histogram": {"?": 0}, "flush": {"?": 0}, "limits": {"?": 0}, "counters": [{"?": 0}], "headers": [{"?": 0}], "tap": {"?": 0},
        "dimensions": [{"?": 0, "paths": {"?": 0}}], "metrics": [{"?": 0}]}"#;
    let worker = WorkerConfig::parse(worker).err().context("unknown keys were accepted")?;
    assert_eq!(keys(&worker), documented("Worker filter")?);
    let service = br#"{"?": 0, "limits": {"?": 0}, "destinations": [{"?": 0, "retry": {"?": 0}}], "values": [{"?": 0}]}"#;
    let service = ServiceConfig::parse(service).err().context("unknown keys were accepted")?;
    assert_eq!(keys(&service), documented("Service")?);
    let console = ConsoleConfig::parse(br#"{"?": 0, "flush": {"?": 0}}"#)
        .err()
        .context("unknown keys were accepted")?;
    assert_eq!(keys(&console), documented("Console")?);
    Ok(())
}

/// Concatenates every Rust file in these directories.
fn code(folders: &[&str]) -> Result<String> {
    let (mut text, mut left) = (String::new(), Vec::new());
    left.extend(folders.iter().map(|folder| repository::root().join(folder)));
    while let Some(path) = left.pop() {
        if path.is_dir() {
            for entry in std::fs::read_dir(path)? {
                left.push(entry?.path());
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&std::fs::read_to_string(path)?);
        }
    }
    Ok(text)
}

/// Returns the names in backquotes that have four words or more; only tests have such names.
fn tests_named_in(file: &str) -> Result<Vec<String>> {
    let text = read(file)?;
    let is_test = |name: &&str| {
        let prefixes = ["tributary_", "proxy_"];
        name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
            && name.matches('_').count() >= 3
            && !prefixes.iter().any(|prefix| name.starts_with(prefix))
    };
    Ok(text.split('`').filter(is_test).map(str::to_owned).collect())
}

#[test]
fn every_test_that_the_documentation_names_exists() -> Result<()> {
    let folders =
        ["cli/src", "console/src", "host/src", "proto/src", "service/src", "tests", "worker-filter"];
    let code = code(&folders)?;
    for (file, least) in [("ARCHITECTURE.md", 25), ("docs/envoy-facts.md", 30), ("docs/reliability.md", 15)] {
        let tests = tests_named_in(file)?;
        ensure!(tests.len() >= least, "{file} names only {} tests", tests.len());
        for name in tests {
            ensure!(code.contains(&format!("fn {name}(")), "{file}: there is no test {name}");
        }
    }
    Ok(())
}

#[test]
fn a_short_soak_loses_nothing() -> Result<()> {
    let output = cargo::xtask(&["soak", "--minutes", "0.2", "--seed", "3", "--json"]).output()?;
    let printed = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{printed}\n{}", String::from_utf8_lossy(&output.stderr));
    let outcome: serde_json::Value = serde_json::from_str(printed.lines().last().context("a last line")?)?;
    assert_eq!((&outcome["lost"], &outcome["failed"]), (&0.into(), &0.into()), "{outcome}");
    let counted = |pointer: &str| outcome.pointer(pointer).and_then(serde_json::Value::as_u64);
    for figure in ["/requests", "/exports/failed", "/ledger_checks", "/ledger_gap_max", "/resident_mib/2"] {
        assert!(counted(figure).is_some_and(|count| count > 0), "{figure}: {outcome}");
    }
    Ok(())
}

#[test]
fn the_demo_loses_nothing_with_any_number_of_workers_and_either_collector() -> Result<()> {
    for (workers, collector) in [("1", "embedded"), ("4", "embedded"), ("2", "victoria-metrics")] {
        let flags = ["--requests", "20000", "--workers", workers, "--collector", collector, "--json"];
        let output = cargo::xtask(&["demo"]).args(flags).output()?;
        let printed = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "{printed}\n{}", String::from_utf8_lossy(&output.stderr));
        let last = printed.lines().last().context("a last line")?;
        let report: serde_json::Value = serde_json::from_str(last)?;
        for total in ["requests_sent", "requests_envoy", "requests_counter", "requests_exported"] {
            assert_eq!(report[total], 20_000, "{total} with {workers} workers and {collector}");
        }
        assert_eq!(report["lost"], 0);
        let dropped = json!({"ambiguous": 0, "collector": 0, "table": 0, "trap": 0});
        let destination = json!({"aggregated": 20_000, "exported": 20_000, "waiting": 0, "dropped": dropped});
        let ledger = json!({
            "observed": 20_000, "pending": 0, "in_queue": 0, "aggregated": 20_000, "missing": 0,
            "destinations": {"tributary.collector": destination},
        });
        assert_eq!(report["ledger"], ledger);
        assert_eq!(report["workers"].to_string(), workers);
        assert!(report["elapsed_s"].as_f64().is_some_and(|elapsed| elapsed > 0.0));
    }
    Ok(())
}
