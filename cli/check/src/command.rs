//! The command line of `tributary-check` and of `tributary check`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use crate::deployment::deployments;
use crate::finding::{Finding, Rule, Severity};
use crate::yaml::Position;
use crate::yaml::place::Document;
use crate::{binary, manifest, rules, yaml};

/// What the command does, in a line.
pub const ABOUT: &str =
    "Find what is wrong with Tributary in configurations of Envoy, Istio and Envoy Gateway";

/// What comes after the list of options in the long help.
pub const EXIT_CODES: &str = "\
A plugin is Tributary's if its module is called worker_filter*.wasm or service.wasm, or if its name or where its code comes \
from contains \"tributary\". Files that belong together are best named together: each bootstrap is checked with all LDS and \
CDS files beside it, and all Kubernetes manifests are checked as one.

Exit codes:
  0  nothing is wrong, or only warnings
  1  at least one error, or with --strict one warning
  2  a file cannot be read, or is not YAML";

/// What the command can be told.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Envoy bootstraps, LDS or CDS files; manifests of Istio or Envoy Gateway; any number of YAML documents in each.
    #[arg(required_unless_present = "envoy", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Ask this Envoy whether it can run the modules.
    #[arg(long, value_name = "PROGRAM")]
    pub envoy: Option<PathBuf>,
    /// Print one JSON object instead of lines.
    #[arg(long)]
    pub json: bool,
    /// Take warnings for errors.
    #[arg(long)]
    pub strict: bool,
}

/// What a run has found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// How many plugins of ours there are.
    pub plugins: usize,
    /// What is wrong, in the order of the files.
    pub findings: Vec<Finding>,
    /// What could not be read.
    pub unreadable: Vec<Failure>,
}

/// A file that could not be read, or is not YAML.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    /// The file.
    pub file: String,
    /// Where it ceases to be YAML; 0:0 if it could not be read at all.
    #[serde(flatten)]
    pub at: Position,
    /// What is wrong.
    pub message: String,
}

/// Checks the files, prints what is wrong and tells the exit code.
pub fn run(args: &Args) -> ExitCode {
    let mut failures = Vec::new();
    let mut texts = Vec::new();
    for file in &args.files {
        let name = file.display().to_string();
        match std::fs::read_to_string(file) {
            Ok(text) => texts.push((name, text)),
            Err(error) => {
                let message = format!("cannot be read: {error}");
                failures.push(Failure { file: name, at: Position::default(), message });
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

/// Checks files by their names and texts.
pub fn check(files: &[(String, String)]) -> Report {
    let (mut documents, mut unreadable): (Vec<Document>, Vec<Failure>) = (Vec::new(), Vec::new());
    for (file, text) in files {
        let read = yaml::documents(text).and_then(|roots| {
            let documents = roots.into_iter().map(|root| manifest::documents(file, root));
            documents.collect::<Result<Vec<_>, _>>()
        });
        match read {
            Ok(found) => documents.extend(found.into_iter().flatten()),
            Err(error) => {
                let message = format!("not YAML: {}", error.message);
                unreadable.push(Failure { file: file.clone(), at: error.at, message });
            }
        }
    }
    let deployments = deployments(&documents);
    let mut findings: BTreeSet<Finding> = deployments.iter().flat_map(rules::judge).collect();
    let places = deployments.iter().flat_map(|deployment| &deployment.found.plugins);
    let plugins: BTreeSet<_> = places
        .map(|plugin| (plugin.place.document.file.clone(), plugin.place.position(), plugin.place.path()))
        .collect();
    if plugins.is_empty() && unreadable.is_empty() {
        let message = "no plugin of Tributary was found; `--help` tells how they are known";
        findings.extend(files.iter().map(|(file, _)| Finding {
            file: file.clone(),
            at: Position::default(),
            severity: Severity::Error,
            rule: Rule::Nothing,
            message: message.to_owned(),
            path: String::new(),
        }));
    }
    Report { plugins: plugins.len(), findings: findings.into_iter().collect(), unreadable }
}

impl Report {
    /// The lines for people.
    pub fn lines(&self) -> String {
        let mut lines = String::new();
        for Failure { file, at, message } in &self.unreadable {
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
