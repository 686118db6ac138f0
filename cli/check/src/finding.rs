//! What is wrong, where, and what to do.

use std::fmt;

use serde::Serialize;

use crate::yaml::Position;
use crate::yaml::place::Place;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Envoy refuses it, requests fail, or counts are lost, doubled or never sent.
    Error,
    /// It works, but not as one would expect; or it cannot be told from these files.
    Warning,
}

/// What a finding is about; the word that scripts see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// A module's own validator refuses the configuration.
    Configuration,
    /// A module where it cannot work.
    Attachment,
    /// A request that would be counted twice.
    CountedTwice,
    /// No service, or more than one.
    Service,
    /// Worker and service do not find each other.
    VmId,
    /// A destination without a cluster.
    Cluster,
    /// What becomes of requests, or of the counting, when a module fails.
    FailurePolicy,
    /// Times that do not fit together.
    Interval,
    /// Names in a log stream that do not fit its values, or that are missing.
    LogStream,
    /// A call that the module needs and the host forbids.
    Capability,
    /// An Envoy that cannot run the modules.
    Envoy,
    /// There was nothing to check.
    Nothing,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// The file as it was named on the command line.
    pub file: String,
    /// Where in it; 0:0 for the file as a whole.
    #[serde(flatten)]
    pub at: Position,
    /// How bad it is.
    pub severity: Severity,
    /// What it is about.
    pub rule: Rule,
    /// What was found, what is allowed, what to do.
    pub message: String,
    /// The way to the place in the document; empty for a whole file.
    pub path: String,
}

impl Finding {
    /// An error at a place.
    pub fn error(place: &Place<'_>, rule: Rule, message: impl Into<String>) -> Self {
        Self::new(place, Severity::Error, rule, message.into())
    }

    /// A warning at a place.
    pub fn warning(place: &Place<'_>, rule: Rule, message: impl Into<String>) -> Self {
        Self::new(place, Severity::Warning, rule, message.into())
    }

    fn new(place: &Place<'_>, severity: Severity, rule: Rule, message: String) -> Self {
        let (file, at, path) = (place.document.file.clone(), place.position(), place.path());
        Self { file, at, severity, rule, message, path }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, at, severity, message, path, .. } = self;
        let severity = match severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
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
