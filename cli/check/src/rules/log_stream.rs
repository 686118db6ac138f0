//! Access loggers whose records do not match what a log stream reads.

use tributary_plan::config::Role;
use tributary_plan::log_schema::{LogSchema, SEPARATOR};
use tributary_plan::source::ROOTS;

use super::ParsedPlugin;
use crate::deployment::Deployment;
use crate::envoy::FluentdLogger;
use crate::finding::{Finding, Rule};
use crate::plugin::ParsedConfig;
use crate::yaml::node_ref::NodeRef;

/// Judges each logger that may feed a log stream: its names must match its values and include all that is
/// read.
pub(super) fn judge(deployment: &Deployment<'_>, plugins: &[ParsedPlugin<'_>]) -> Vec<Finding> {
    let streams = plugins.iter().filter_map(|(_, parsed)| match parsed {
        Some(ParsedConfig::Worker(config)) if config.role == Role::LogStream => {
            Some(LogSchema::new(&config.plan))
        }
        _ => None,
    });
    let streams: Vec<_> = streams.collect();
    let loggers = deployment.inventory.loggers.iter();
    let loggers = loggers.filter(|log| !streams.is_empty() && names_attributes(&log.place));
    loggers.flat_map(|log| [early_logging(log), record(&log.place, &streams)]).flatten().collect()
}

/// Whether a logger's tag contains the name of an attribute; other loggers do not feed a log stream.
fn names_attributes(log: &NodeRef<'_>) -> bool {
    let is_attribute = |name: &str| ROOTS.iter().any(|root| name.split('.').next() == Some(root));
    log.text_of("tag").is_some_and(|tag| words(tag).any(is_attribute))
}

/// Judges whether a logger writes open requests, which a log stream would count as ended.
fn early_logging(log: &FluentdLogger<'_>) -> Vec<Finding> {
    let message = "this logs requests before they end, so the log stream would count them more than once; add to its access \
                   logger filter: {log_type_filter: {types: [DownstreamEnd]}}";
    log.early_logging.iter().map(|place| Finding::error(place, Rule::LogStream, message)).collect()
}

/// Judges the tag and the record of a logger.
fn record(log: &NodeRef<'_>, streams: &[LogSchema]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (tag, record) = (log.text_of("tag").unwrap_or_default(), log.get("record"));
    let record: Vec<_> = record.iter().flat_map(NodeRef::entries).collect();
    let is_named = |key: &str| streams.iter().any(|wanted| wanted.named(key.as_bytes()).next().is_some());
    let names = words(tag).count();
    for (_, value) in record.iter().filter(|(key, _)| !is_named(key)) {
        let values = words(value.text().unwrap_or_default()).count();
        if values != names {
            findings.push(Finding::error(
                value,
                Rule::LogStream,
                format!(
                    "names in the tag: {names}, values here: {values}; requests would be counted without any of these values; write \
                     one name for each value, separated by single spaces"
                ),
            ));
        }
    }
    let keys: Vec<_> = record.iter().map(|(key, _)| key.as_bytes()).collect();
    let missing = streams.iter().map(|wanted| wanted.missing(tag.as_bytes(), &keys)).min_by_key(Vec::len);
    if let Some(missing) = missing.filter(|missing| !missing.is_empty()) {
        let place = log.get("tag").unwrap_or_else(|| log.clone());
        findings.push(Finding::warning(
            &place,
            Rule::LogStream,
            format!(
                "the log stream reads {}, which the logger does not write; add the name here and its command operator to the record",
                missing.join(", ")
            ),
        ));
    }
    findings
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(char::from(SEPARATOR))
}
