//! Intervals that contradict each other.

use std::time::Duration;

use super::ParsedPlugin;
use crate::finding::{Finding, Rule};
use crate::plugin::{ParsedConfig, Plugin};
use crate::yaml::node_ref::NodeRef;

/// Compares the flush interval of the workers with the export interval, the idle time and the console's wait.
pub(super) fn judge(plugins: &[ParsedPlugin<'_>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let flushes = plugins.iter().filter_map(|(plugin, parsed)| match parsed {
        Some(ParsedConfig::Worker(config)) => Some((*plugin, config.flush.interval)),
        _ => None,
    });
    let Some((worker, flush)) = flushes.max_by_key(|(_, interval)| *interval) else { return findings };
    findings.extend(plugins.iter().filter_map(|console| console_wait(console, flush)));
    for (service, parsed) in plugins {
        let Some(ParsedConfig::Service(config)) = parsed else { continue };
        let shortest = config.destinations.iter().map(|destination| destination.interval).min();
        if let Some(export) = shortest
            && flush > export
        {
            let message = format!(
                "workers flush every {}, but the service exports every {}: exports in between have no new data; shorten \
                 flush.interval or lengthen interval",
                seconds(flush),
                seconds(export)
            );
            let place = place_of(worker, "flush.interval");
            findings.push(Finding::warning(&place, Rule::Interval, message));
        }
        if let Some(idle) = config.idle
            && idle <= flush
        {
            let message = format!(
                "a series expires after {} without new data, but workers flush only every {}: series would expire and restart \
                 all the time; set limits.idle to several times the flush interval",
                seconds(idle),
                seconds(flush)
            );
            let place = place_of(service, "limits.idle");
            findings.push(Finding::error(&place, Rule::Interval, message));
        }
    }
    findings
}

/// Judges whether `POST /flush` of a console waits long enough for the workers.
fn console_wait((console, parsed): &ParsedPlugin<'_>, flush: Duration) -> Option<Finding> {
    let Some(ParsedConfig::Console(config)) = parsed else { return None };
    if config.flush_interval >= flush {
        return None;
    }
    let message = format!(
        "workers flush every {}, but the console waits for them only {}: POST /flush would miss their latest counts; set \
         the console's flush.interval to theirs",
        seconds(flush),
        seconds(config.flush_interval)
    );
    let place = place_of(console, "flush.interval");
    Some(Finding::error(&place, Rule::Interval, message))
}

fn place_of<'a>(plugin: &Plugin<'a>, path: &str) -> NodeRef<'a> {
    plugin.configuration.nearest(path).unwrap_or_else(|| plugin.place.clone())
}

fn seconds(duration: Duration) -> String {
    format!("{}s", duration.as_secs_f64())
}
