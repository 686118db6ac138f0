//! Runs `tributary check` on every file in `tests/cases`, and on all files of every folder there
//! together. The expected reports are in `tests/snapshots`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tributary_check::command::{Report, check};

/// A pattern for the list of missing capabilities, and its replacement: the list changes with the module.
/// `tests/e2e/check.rs` compares the list with Envoy.
const MISSING: (&str, &str) = ("also needs .*; add", "also needs [names]; add");

/// The name and the files of each case, sorted by name.
fn cases() -> Result<Vec<(String, Vec<PathBuf>)>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut cases = Vec::new();
    for path in files(&folder)? {
        let name = path.file_stem().context("a case without a name")?.to_string_lossy().into_owned();
        cases.push((name, if path.is_dir() { files(&path)? } else { vec![path] }));
    }
    cases.sort();
    Ok(cases)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let files = fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
    let mut files = files.collect::<Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}

fn report(files: &[PathBuf]) -> Result<Report> {
    let texts = files.iter().map(|path| {
        let name = path.file_name().context("a file without a name")?.to_string_lossy().into_owned();
        Ok((name, fs::read_to_string(path)?))
    });
    Ok(check(&texts.collect::<Result<Vec<_>>>()?))
}

#[test]
fn each_case_has_its_report() -> Result<()> {
    for (name, files) in cases()? {
        let lines = report(&files)?.lines();
        insta::with_settings!({
            prepend_module_to_snapshot => false, omit_expression => true, filters => [MISSING]
        }, {
            insta::assert_snapshot!(name, lines);
        });
    }
    Ok(())
}

#[test]
fn every_position_is_in_the_file() -> Result<()> {
    for (name, files) in cases()? {
        let report = report(&files)?;
        for finding in report.findings.iter().filter(|finding| finding.at.line > 0) {
            let file =
                files.iter().find(|file| file.ends_with(&finding.file)).context("a file of the case")?;
            let text = fs::read_to_string(file)?;
            let line = text.lines().nth(finding.at.line - 1);
            let columns = line.map(|line| line.chars().count()).unwrap_or_default();
            assert!(finding.at.column <= columns, "{name}: {finding} is past the end of {line:?}");
        }
    }
    Ok(())
}

#[test]
fn every_rule_has_a_case() -> Result<()> {
    let mut rules = Vec::new();
    for (_, files) in cases()? {
        rules.extend(report(&files)?.findings.iter().map(|finding| format!("{:?}", finding.rule)));
    }
    rules.sort();
    rules.dedup();
    assert_eq!(
        rules,
        [
            "Attachment",
            "Capability",
            "Cardinality",
            "Cluster",
            "Configuration",
            "CountedTwice",
            "FailurePolicy",
            "Interval",
            "LogStream",
            "Nothing",
            "Service",
            "VmId",
        ]
    );
    Ok(())
}
