//! What the documentation shows is what there is.

use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use tributary_plan::config::WorkerConfig;
use tributary_proto::config::Problems;
use tributary_service::config::ServiceConfig;
use tributary_tests::config::{EnvoyConfig, SERVICE_PLUGIN, WORKER_PLUGIN};
use tributary_tests::repository;

/// The fenced blocks of a language in a Markdown file.
fn blocks(file: &str, language: &str) -> Result<Vec<String>> {
    let text = read(file)?;
    let fence = format!("```{language}\n");
    let blocks = text.split(&fence).skip(1).filter_map(|rest| rest.split_once("```"));
    Ok(blocks.map(|(block, _)| block.to_owned()).collect())
}

fn read(file: impl AsRef<Path>) -> Result<String> {
    let file = repository::root().join(file);
    std::fs::read_to_string(&file).with_context(|| file.display().to_string())
}

/// Runs a command of the project as the documentation writes it.
fn xtask(arguments: &[&str]) -> Result<Output> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["run", "--quiet", "--package", "xtask", "--"])
        .args(arguments)
        .current_dir(repository::root());
    Ok(cargo.output()?)
}

/// A table without what changes from run to run: each number is a `#`, and each run of blanks is one.
fn shape(text: &str) -> Vec<String> {
    let line = |line: &str| {
        let words = line.split_whitespace().map(|word| match word.contains(|c: char| c.is_ascii_digit()) {
            true if word.starts_with("target/") => word.to_owned(),
            true => "#".to_owned(),
            false => word.to_owned(),
        });
        words.collect::<Vec<_>>().join(" ")
    };
    text.lines().map(line).filter(|line| !line.is_empty()).collect()
}

#[test]
fn the_example_in_the_readme_is_the_file_that_the_demo_runs() -> Result<()> {
    let example = blocks("README.md", "yaml")?;
    assert_eq!(example, [read("envoy/minimal.yaml")?]);
    Ok(())
}

#[test]
fn every_configuration_in_envoy_is_one_that_the_modules_take() -> Result<()> {
    let mut seen = 0;
    for entry in std::fs::read_dir(repository::root().join("envoy"))? {
        let file = entry?.path();
        let config = EnvoyConfig::load(&file)?;
        for json in config.plugin_configurations(WORKER_PLUGIN)? {
            ensure!(WorkerConfig::parse(json.as_bytes()).is_ok(), "{}: {json}", file.display());
            seen += 1;
        }
        for json in config.plugin_configurations(SERVICE_PLUGIN)? {
            ensure!(ServiceConfig::parse(json.as_bytes()).is_ok(), "{}: {json}", file.display());
            seen += 1;
        }
    }
    assert!(seen >= 2, "no configuration was looked at");
    Ok(())
}

/// The keys that a module asks for, told by what it says to a configuration with an unknown key in each section; a section is
/// told by its keys.
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

/// The first column of the table in a chapter of docs/config.md.
fn documented(chapter: &str) -> Result<Vec<String>> {
    let text = read("docs/config.md")?;
    let chapter = text
        .split("\n## ")
        .find(|text| text.starts_with(&format!("{chapter}\n")))
        .context("no such chapter")?;
    let rows = chapter.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let mut keys: Vec<String> = rows.map(|(key, _)| key.to_owned()).collect();
    keys.sort();
    Ok(keys)
}

#[test]
fn every_key_of_a_configuration_is_documented_and_no_other() -> Result<()> {
    let worker =
        br#"{"?": 0, "histogram": {"?": 0}, "flush": {"?": 0}, "limits": {"?": 0}, "counters": [{"?": 0}],
        "dimensions": [{"?": 0, "paths": {"?": 0}}], "metrics": [{"?": 0}]}"#;
    let worker = WorkerConfig::parse(worker).err().context("unknown keys were taken")?;
    assert_eq!(keys(&worker), documented("Worker filter")?);
    let service = br#"{"?": 0, "limits": {"?": 0}, "destinations": [{"?": 0, "retry": {"?": 0}}]}"#;
    let service = ServiceConfig::parse(service).err().context("unknown keys were taken")?;
    assert_eq!(keys(&service), documented("Service")?);
    Ok(())
}

#[test]
fn the_commands_of_the_readme_print_what_it_shows() -> Result<()> {
    let shown = blocks("README.md", "console")?.concat();
    let commands: Vec<(&str, Vec<String>)> = shown
        .split("$ cargo xtask ")
        .skip(1)
        .filter_map(|rest| rest.split_once('\n'))
        .map(|(arguments, output)| (arguments, shape(output)))
        .collect();
    assert_eq!(commands.len(), 2);
    for (arguments, expected) in commands {
        let output = xtask(&arguments.split(' ').collect::<Vec<_>>())?;
        let printed = String::from_utf8_lossy(&output.stdout);
        ensure!(
            output.status.success(),
            "{arguments}: {printed}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let printed = shape(&printed);
        for line in expected {
            assert!(
                printed.contains(&line),
                "cargo xtask {arguments} does not print {line:?}, but {printed:#?}"
            );
        }
    }
    Ok(())
}

#[test]
fn the_demo_loses_nothing_with_any_number_of_workers_and_either_collector() -> Result<()> {
    for (workers, collector) in [("1", "embedded"), ("4", "embedded"), ("2", "victoria-metrics")] {
        let output = xtask(&[
            "demo",
            "--requests",
            "20000",
            "--workers",
            workers,
            "--collector",
            collector,
            "--json",
        ])?;
        let printed = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "{printed}\n{}", String::from_utf8_lossy(&output.stderr));
        let last = printed.lines().last().context("a last line")?;
        let reckoning: serde_json::Value = serde_json::from_str(last)?;
        for total in ["requests_sent", "requests_envoy", "requests_counter", "requests_exported"] {
            assert_eq!(reckoning[total], 20_000, "{total} with {workers} workers and {collector}");
        }
        assert_eq!(reckoning["lost"], 0);
        assert_eq!(reckoning["workers"].to_string(), workers);
        assert!(reckoning["elapsed_s"].as_f64().is_some_and(|elapsed| elapsed > 0.0));
    }
    Ok(())
}
