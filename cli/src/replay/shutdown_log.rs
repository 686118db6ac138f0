//! Finds the requests that a service logged at shutdown, in a log that also has lines of other loggers.

use std::collections::{BTreeMap, BTreeSet};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use serde::{Deserialize, Serialize};
use tributary_proto::shutdown_log::{MARK, decode};

use super::log_format::LogFormat;

/// The prefix that the module writes before each log message.
const MODULE: &str = "tributary: ";

/// An export request that Envoy did not send, and that the service logged at shutdown.
#[derive(Debug, PartialEq)]
pub(crate) struct UnexportedRequest {
    pub(crate) destination: String,
    pub(crate) request: ExportMetricsServiceRequest,
}

/// The numbers of lines that contain the mark of the shutdown log, but are not read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct SkippedLines {
    /// Lines that are not application log lines of the selected plugin in a known format.
    pub(crate) foreign_lines: usize,
    /// Lines that are truncated or changed.
    pub(crate) broken_lines: usize,
    /// Lines that repeat the number of an earlier line of the same service and destination.
    pub(crate) repeated_lines: usize,
}

/// The names of a destination and of the service instance that exports to it, in this order.
type Origin = (String, String);

/// The contents of all shutdown logs in a log.
#[derive(Debug, Default)]
pub(crate) struct ShutdownLog {
    pub(crate) requests: Vec<UnexportedRequest>,
    pub(crate) skipped: SkippedLines,
    shutdowns: BTreeMap<Origin, Shutdown>,
    /// The record of each line so far, by origin and line number; `None` is the last line. If a line is
    /// repeated, this is its first record.
    records: BTreeMap<(Origin, Option<u64>), String>,
}

/// The lines of one service instance for one destination.
#[derive(Debug, Default)]
struct Shutdown {
    lines: BTreeSet<u64>,
    announced: Option<u64>,
    conflicts: usize,
    /// Points that the service did not log.
    left_out: u64,
}

#[derive(Deserialize)]
struct Record {
    destination: String,
    instance: String,
    #[serde(flatten)]
    content: Content,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Request { line: u64, request: ExportMetricsServiceRequest },
    End { lines: u64, left_out: u64 },
}

/// Reads the lines that a service logged at its shutdown.
#[derive(Debug)]
pub(crate) struct LineReader {
    pub(crate) formats: Vec<LogFormat>,
    /// The name of the service's plugin in Envoy's log; `None` accepts every plugin.
    pub(crate) plugin: Option<String>,
}

impl LineReader {
    /// Reads all shutdown logs in the bytes of a log.
    pub(crate) fn read(&self, log: &[u8]) -> ShutdownLog {
        let mut found = ShutdownLog::default();
        let mark = format!("{MODULE}{MARK}");
        for line in log.split(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line));
            if !line.contains(&mark) {
                continue;
            }
            match self.record(&line) {
                Ok(record) => found.add(record),
                Err(Skip::Foreign) => found.skipped.foreign_lines += 1,
                Err(Skip::Broken) => found.skipped.broken_lines += 1,
            }
        }
        found
    }

    /// Returns the record in a line, as JSON text, or why the line is skipped.
    fn record(&self, line: &str) -> Result<String, Skip> {
        let messages = self.formats.iter().filter_map(|format| format.message(line));
        let candidates: Vec<_> = messages
            .filter_map(|(text, pattern)| Some((self.strip_prefix(&text)?.to_owned(), pattern)))
            .collect();
        let record = candidates.iter().find_map(|(text, pattern)| {
            let (record, rest) = decode(text)?;
            pattern.is_end(rest).then(|| record.to_owned())
        });
        record.ok_or(if candidates.is_empty() { Skip::Foreign } else { Skip::Broken })
    }

    /// Strips the prefixes of Envoy and of the module. Returns `None` if the rest is not a line of the
    /// shutdown log, or if another plugin wrote it.
    fn strip_prefix<'a>(&self, text: &'a str) -> Option<&'a str> {
        let text = text.strip_prefix("wasm log")?;
        let text = match &self.plugin {
            Some(plugin) => text.strip_prefix(' ')?.strip_prefix(plugin.as_str())?.strip_prefix(": ")?,
            // The name ends at the first colon: the text after it may be a message of another plugin, with
            // values that clients choose.
            None => text.split_once(": ").filter(|(name, _)| !name.contains(':'))?.1,
        };
        text.strip_prefix(MODULE).filter(|text| text.starts_with(MARK))
    }
}

enum Skip {
    Foreign,
    Broken,
}

impl ShutdownLog {
    /// Adds a record, given as JSON text.
    fn add(&mut self, text: String) {
        let Ok(Record { destination, instance, content }) = serde_json::from_str(&text) else {
            self.skipped.broken_lines += 1;
            return;
        };
        let origin = (destination.clone(), instance);
        let shutdown = self.shutdowns.entry(origin.clone()).or_default();
        let line = match &content {
            Content::Request { line, .. } => Some(*line),
            Content::End { .. } => None,
        };
        if let Some(first) = self.records.get(&(origin.clone(), line)) {
            self.skipped.repeated_lines += 1;
            shutdown.conflicts += usize::from(*first != text);
            return;
        }
        self.records.insert((origin, line), text);
        match content {
            Content::Request { line, request } => {
                shutdown.lines.insert(line);
                self.requests.push(UnexportedRequest { destination, request });
            }
            Content::End { lines, left_out } => {
                (shutdown.announced, shutdown.left_out) = (Some(lines), left_out)
            }
        }
    }

    /// Returns the names of all destinations in the log.
    pub(crate) fn destinations(&self) -> BTreeSet<&str> {
        self.shutdowns.keys().map(|(destination, _)| destination.as_str()).collect()
    }

    /// Describes what is missing or contradictory for the selected destinations, one sentence for each
    /// problem.
    pub(crate) fn problems(&self, is_selected: impl Fn(&str) -> bool) -> Vec<String> {
        let skipped = self.skipped.foreign_lines + self.skipped.broken_lines;
        if self.shutdowns.is_empty() && skipped > 0 {
            return vec![format!(
                "no line of the shutdown log was found, but {skipped} lines contain its mark and are foreign or \
                 broken; pass Envoy's log format with --log-format, and the name of the plugin with --plugin if \
                 it contains a colon"
            )];
        }
        let selected = self.shutdowns.iter().filter(|((destination, _), _)| is_selected(destination));
        selected.flat_map(|(origin, shutdown)| shutdown.problems(origin)).collect()
    }
}

impl Shutdown {
    fn problems(&self, (destination, instance): &Origin) -> Vec<String> {
        let subject = format!("destination {destination:?} of instance {instance}");
        let mut problems = Vec::new();
        match self.announced {
            None => problems.push(format!(
                "{subject}: {} lines were found, but not the last line with their number; use the complete \
                 log",
                self.lines.len()
            )),
            Some(announced) => {
                let expected = usize::try_from(announced).unwrap_or(usize::MAX);
                let present = self.lines.iter().filter(|line| (1..=announced).contains(*line)).count();
                if present < expected || self.lines.len() > present {
                    problems.push(format!(
                        "{subject}: {present} of {announced} announced lines were found, and {} others; use \
                         the complete log",
                        self.lines.len() - present
                    ));
                }
            }
        }
        if self.left_out > 0 {
            problems.push(format!(
                "{subject}: the service logged all but {} points, which are lost",
                self.left_out
            ));
        }
        if self.conflicts > 0 {
            problems.push(format!(
                "{subject}: lines with the number of an earlier line and other contents: {}; the first one \
                 counts",
                self.conflicts
            ));
        }
        problems
    }
}

#[cfg(test)]
mod tests;
