//! The command `tributary check`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use crate::deployment::deployments;
use crate::finding::{Finding, Rule, Severity};
use crate::yaml::Position;
use crate::yaml::node_ref::Document;
use crate::{binary, manifest, rules, yaml};

/// The text after the options in the long help: how plugins are recognised, and the exit codes.
pub const EXIT_CODES: &str = "\
A plugin is Tributary's if its module is called worker_filter*.wasm or service.wasm, or if its name or the \
source of its code contains \"tributary\". Name files that belong together in one command: each bootstrap \
is checked together with all LDS and CDS files, and all Kubernetes manifests are checked as one deployment.

Exit codes:
  0  no findings, or only warnings
  1  at least one error, or a warning with --strict
  2  a file that cannot be read or is not YAML";

/// The arguments of `tributary check`.
#[derive(clap::Args, Clone, Debug)]
pub struct CheckArgs {
    /// Envoy bootstraps, LDS or CDS files, or manifests of Istio or Envoy Gateway, with any number of YAML
    /// documents.
    #[arg(required_unless_present = "envoy", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Check whether this Envoy can run the modules.
    #[arg(long, value_name = "PROGRAM")]
    pub envoy: Option<PathBuf>,
    /// Print one JSON object instead of lines.
    #[arg(long)]
    pub json: bool,
    /// Treat warnings as errors.
    #[arg(long)]
    pub strict: bool,
}

/// The result of a check.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The number of Tributary's plugins in the files.
    pub plugins: usize,
    /// The findings, in the order of the files.
    pub findings: Vec<Finding>,
    /// The files that could not be read or are not YAML.
    pub unreadable: Vec<UnreadableFile>,
}

/// A file that could not be read, or is not YAML.
#[derive(Clone, Debug, Serialize)]
pub struct UnreadableFile {
    /// The name of the file.
    pub file: String,
    /// The position of the YAML error; 0:0 if the file could not be opened.
    #[serde(flatten)]
    pub at: Position,
    /// Why the file could not be read.
    pub message: String,
}

/// Checks the files, prints the findings and returns the exit code.
pub fn run(args: &CheckArgs) -> ExitCode {
    let mut failures = Vec::new();
    let mut texts = Vec::new();
    for file in &args.files {
        let name = file.display().to_string();
        match std::fs::read_to_string(file) {
            Ok(text) => texts.push((name, text)),
            Err(error) => {
                let message = format!("cannot be read: {error}");
                failures.push(UnreadableFile { file: name, at: Position::default(), message });
            }
        }
    }
    let mut report = check(&texts);
    report.unreadable.splice(0..0, failures);
    report.findings.extend(args.envoy.as_deref().and_then(binary::judge));
    if args.json {
        let json =
            serde_json::to_string(&report).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"));
        println!("{json}");
    } else {
        print!("{}", report.lines());
    }
    report.exit_code(args.strict)
}

/// Checks files. Each item of `files` is the name and the text of a file.
pub fn check(files: &[(String, String)]) -> Report {
    let (mut documents, mut unreadable): (Vec<Document>, Vec<UnreadableFile>) = (Vec::new(), Vec::new());
    for (file, text) in files {
        let read = yaml::documents(text).and_then(|roots| {
            let documents = roots.into_iter().map(|root| manifest::documents(file, root));
            documents.collect::<Result<Vec<_>, _>>()
        });
        match read {
            Ok(found) => documents.extend(found.into_iter().flatten()),
            Err(error) => {
                let message = format!("not YAML: {}", error.message);
                unreadable.push(UnreadableFile { file: file.clone(), at: error.at, message });
            }
        }
    }
    let deployments = deployments(&documents);
    let mut findings: BTreeSet<Finding> = deployments.iter().flat_map(rules::judge).collect();
    let places = deployments.iter().flat_map(|deployment| &deployment.inventory.plugins);
    let plugins: BTreeSet<_> = places
        .map(|plugin| (plugin.place.document.file.clone(), plugin.place.node.at, plugin.place.path()))
        .collect();
    if plugins.is_empty() && unreadable.is_empty() {
        let message = "found no plugin of Tributary; `--help` describes how plugins are recognised";
        findings.extend(files.iter().map(|(file, _)| {
            Finding::of_file(file.clone(), Severity::Error, Rule::Nothing, message.to_owned())
        }));
    }
    Report { plugins: plugins.len(), findings: findings.into_iter().collect(), unreadable }
}

impl Report {
    /// Returns the report as text: one line for each unreadable file and each finding, then a line with
    /// their numbers.
    pub fn lines(&self) -> String {
        let mut lines = String::new();
        for UnreadableFile { file, at, message } in &self.unreadable {
            let place = if at.line == 0 { file.clone() } else { format!("{file}:{at}") };
            lines.push_str(&format!("{place}: error: {message}\n"));
        }
        self.findings.iter().for_each(|finding| lines.push_str(&format!("{finding}\n")));
        let count = |severity| self.findings.iter().filter(|finding| finding.severity == severity).count();
        let (errors, warnings) = (count(Severity::Error) + self.unreadable.len(), count(Severity::Warning));
        let plural =
            |number: usize, word: &str| format!("{number} {word}{}", if number == 1 { "" } else { "s" });
        lines.push_str(&format!(
            "{}: {}, {}\n",
            plural(self.plugins, "plugin"),
            plural(errors, "error"),
            plural(warnings, "warning")
        ));
        lines
    }

    fn exit_code(&self, strict: bool) -> ExitCode {
        let bad = |finding: &Finding| strict || finding.severity == Severity::Error;
        if !self.unreadable.is_empty() {
            ExitCode::from(2)
        } else if self.findings.iter().any(bad) {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        }
    }
}
