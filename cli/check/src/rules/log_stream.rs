//! Access loggers that tell a log stream something else than it reads.

use tributary_plan::config::Role;
use tributary_plan::source::ROOTS;
use tributary_plan::wanted::{SEPARATOR, Wanted};

use super::Judged;
use crate::deployment::Deployment;
use crate::envoy::Log;
use crate::finding::{Finding, Rule};
use crate::plugin::Parsed;
use crate::yaml::place::Place;

/// Whether each log that a log stream may come of names as many values as it has, and all that is read of it.
pub(super) fn judge(deployment: &Deployment<'_>, judged: &[Judged<'_>]) -> Vec<Finding> {
    let streams = judged.iter().filter_map(|(_, parsed)| match parsed {
        Some(Parsed::Worker(config)) if config.role == Role::LogStream => Some(Wanted::new(&config.plan)),
        _ => None,
    });
    let streams: Vec<_> = streams.collect();
    let logs = deployment.found.logs.iter();
    let logs = logs.filter(|log| !streams.is_empty() && names_attributes(&log.place));
    logs.flat_map(|log| [counted_early(log), of_one(&log.place, &streams)]).flatten().collect()
}

/// Whether a logger's tag has the name of an attribute in it: others go to collectors of logs.
fn names_attributes(log: &Place<'_>) -> bool {
    let is_attribute = |name: &str| ROOTS.iter().any(|root| name.split('.').next() == Some(root));
    log.text_of("tag").is_some_and(|tag| words(tag).any(is_attribute))
}

/// Whether the log stream gets requests that have not ended: it takes each record for one that has.
fn counted_early(log: &Log<'_>) -> Vec<Finding> {
    let message = "requests are logged here before they end, and the log stream would count them more than once; give its access \
                   logger a filter: {log_type_filter: {types: [DownstreamEnd]}}";
    log.early.iter().map(|place| Finding::error(place, Rule::LogStream, message)).collect()
}

fn of_one(log: &Place<'_>, streams: &[Wanted]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (tag, record) = (log.text_of("tag").unwrap_or_default(), log.get("record"));
    let record: Vec<_> = record.iter().flat_map(Place::entries).collect();
    let is_named = |key: &str| streams.iter().any(|wanted| wanted.places(key.as_bytes()).next().is_some());
    let names = words(tag).count();
    for (_, value) in record.iter().filter(|(key, _)| !is_named(key)) {
        let values = words(value.text().unwrap_or_default()).count();
        if values != names {
            findings.push(Finding::error(
                value,
                Rule::LogStream,
                format!(
                    "values here: {values}, names in the tag: {names}; requests would be counted without any of them; have as \
                     many, with one space between two"
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
                "nothing is said of {}, which the log stream reads; name it here, and its command operator in the record",
                missing.join(", ")
            ),
        ));
    }
    findings
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(char::from(SEPARATOR))
}
