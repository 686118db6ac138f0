//! A finding: a problem, its place in a file, and how to fix it.

use std::fmt;

use serde::Serialize;
use tributary_proto::printable;

use crate::yaml::Position;
use crate::yaml::node_ref::NodeRef;

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Envoy rejects the configuration, requests fail, or counts are lost, doubled or never sent.
    Error,
    /// The configuration works in an unexpected way, or depends on something that is not in these files.
    Warning,
}

/// The topic of a finding, as in the JSON output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// A module's own validator rejects the configuration.
    Configuration,
    /// A module is attached to an extension point where it does not work.
    Attachment,
    /// Several workers would count the same requests.
    CountedTwice,
    /// No service is configured, or more than one service.
    Service,
    /// Worker and service have different `vm_id`s.
    VmId,
    /// The cluster of a destination is not configured.
    Cluster,
    /// Requests fail or counts are lost after a module fails.
    FailurePolicy,
    /// Intervals that contradict each other.
    Interval,
    /// A dimension that clients can fill with values.
    Cardinality,
    /// An access logger does not match the log stream that reads it.
    LogStream,
    /// The host forbids a host function or callback that the module needs.
    Capability,
    /// An Envoy that cannot run the modules.
    Envoy,
    /// No plugin was found.
    Nothing,
}

/// A problem that a rule found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// The file as it was named on the command line.
    pub file: String,
    /// The position of the value that the finding is about; 0:0 for the whole file.
    #[serde(flatten)]
    pub at: Position,
    /// The severity.
    pub severity: Severity,
    /// The topic.
    pub rule: Rule,
    /// What was found, what is allowed, and how to fix it.
    pub message: String,
    /// The path of the value in its document; empty for the whole file.
    pub path: String,
}

impl Finding {
    /// Creates an error about the value at a place.
    pub fn error(place: &NodeRef<'_>, rule: Rule, message: impl Into<String>) -> Self {
        Self::new(place, Severity::Error, rule, message.into())
    }

    /// Creates a warning about the value at a place.
    pub fn warning(place: &NodeRef<'_>, rule: Rule, message: impl Into<String>) -> Self {
        Self::new(place, Severity::Warning, rule, message.into())
    }

    /// Creates an error or a warning about the value at a place.
    pub fn new(place: &NodeRef<'_>, severity: Severity, rule: Rule, message: String) -> Self {
        let (file, at, path) = (place.document.file.clone(), place.node.at, place.path());
        Self { file, at, severity, rule, message, path }
    }

    /// Creates an error or a warning about a whole file.
    pub fn of_file(file: String, severity: Severity, rule: Rule, message: String) -> Self {
        Self { file, at: Position::default(), severity, rule, message, path: String::new() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, at, severity, message, path, .. } = self;
        let severity = match severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let [file, message, path] = [file, message, path].map(|text| printable::escape(text));
        match at.line {
            0 => write!(out, "{file}: {severity}: {message}")?,
            _ => write!(out, "{file}:{at}: {severity}: {message}")?,
        }
        if !path.is_empty() {
            write!(out, "\n    at {path}")?;
        }
        Ok(())
    }
}
