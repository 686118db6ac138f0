//! Finds access loggers whose records do not match what a log stream reads.

use tributary_plan::log_schema::{LogSchema, SEPARATOR};
use tributary_plan::source::ROOTS;

use super::AcceptedPlugins;
use crate::envoy::FluentdLogger;
use crate::finding::{Finding, Rule};
use crate::yaml::node_ref::NodeRef;

/// Judges each logger that may feed a log stream. The names in its tag must match the values in its
/// record and include every attribute that the log stream reads, and the logger must not log open requests.
pub(super) fn judge(loggers: &[FluentdLogger<'_>], accepted: &AcceptedPlugins<'_>) -> Vec<Finding> {
    let streams = accepted.workers.iter().filter(|(_, config)| config.log_stream);
    let schemas: Vec<_> = streams.map(|(_, config)| LogSchema::new(&config.plan)).collect();
    let mut findings = Vec::new();
    for logger in loggers.iter().filter(|logger| !schemas.is_empty() && names_attributes(&logger.place)) {
        findings.extend(logger.early_logging.as_ref().map(|place| {
            let message = "this logs requests before they end, so the log stream would count them more than \
                           once; add to its access logger filter: {log_type_filter: {types: \
                           [DownstreamEnd]}}";
            Finding::error(place, Rule::LogStream, message)
        }));
        record(&logger.place, &schemas, &mut findings);
    }
    findings
}

/// Returns whether a logger's tag contains the name of an attribute. A logger without such a name does not
/// feed a log stream.
fn names_attributes(log: &NodeRef<'_>) -> bool {
    let is_attribute = |name: &str| ROOTS.iter().any(|root| name.split('.').next() == Some(root));
    log.text_of("tag").is_some_and(|tag| words(tag).any(is_attribute))
}

/// Judges the tag and the record of a logger.
fn record(log: &NodeRef<'_>, schemas: &[LogSchema], findings: &mut Vec<Finding>) {
    let tag = log.text_of("tag").unwrap_or_default();
    let record: Vec<_> = log.get("record").iter().flat_map(NodeRef::entries).collect();
    let is_named = |key: &str| schemas.iter().any(|schema| schema.named(key.as_bytes()).next().is_some());
    let names = words(tag).count();
    for (_, value) in record.iter().filter(|(key, _)| !is_named(key)) {
        let values = words(value.text().unwrap_or_default()).count();
        if values != names {
            let message = format!(
                "names in the tag: {names}, values here: {values}; requests would be counted without any of \
                 these values; write one name for each value, separated by single spaces"
            );
            findings.push(Finding::error(value, Rule::LogStream, message));
        }
    }
    let keys: Vec<_> = record.iter().map(|(key, _)| key.as_bytes()).collect();
    let missing = schemas.iter().map(|schema| schema.missing(tag.as_bytes(), &keys)).min_by_key(Vec::len);
    if let Some(missing) = missing.filter(|missing| !missing.is_empty()) {
        let message = format!(
            "the log stream reads {}, which the logger does not write; add the name here and its command \
             operator to the record",
            missing.join(", ")
        );
        findings.push(Finding::warning(&log.nearest("tag"), Rule::LogStream, message));
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(char::from(SEPARATOR))
}
