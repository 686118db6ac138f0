//! Times that do not fit together.

use std::time::Duration;

use tributary_plan::config::Role;

use super::Judged;
use crate::finding::{Finding, Rule};
use crate::plugin::{Configuration, Parsed};
use crate::yaml::place::Place;

/// Compares how often workers hand over with how often the service exports, and how soon it forgets.
pub(super) fn judge(judged: &[Judged<'_>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let flushes = judged.iter().filter_map(|(plugin, parsed)| match parsed {
        Some(Parsed::Worker(config)) if config.role == Role::Filter => Some((*plugin, config.flush.interval)),
        _ => None,
    });
    let Some((worker, flush)) = flushes.max_by_key(|(_, interval)| *interval) else { return findings };
    findings.extend(judged.iter().filter_map(|judged| console(judged, flush)));
    for (service, parsed) in judged {
        let Some(Parsed::Service(config)) = parsed else { continue };
        let shortest = config.destinations.iter().map(|destination| destination.interval).min();
        if let Some(export) = shortest
            && flush > export
        {
            let message = format!(
                "workers hand over every {}, but the service exports every {}: exports in between say nothing new; shorten \
                 flush.interval or lengthen interval",
                seconds(flush),
                seconds(export)
            );
            let place = said(&worker.configuration, "flush.interval").unwrap_or_else(|| worker.place.clone());
            findings.push(Finding::warning(&place, Rule::Interval, message));
        }
        if let Some(idle) = config.idle
            && idle <= flush
        {
            let message = format!(
                "a series ends after {} without news, but workers hand over only every {}: series would end and begin anew \
                 all the time; make limits.idle several times as long",
                seconds(idle),
                seconds(flush)
            );
            let place = said(&service.configuration, "limits.idle").unwrap_or_else(|| service.place.clone());
            findings.push(Finding::error(&place, Rule::Interval, message));
        }
    }
    findings
}

/// A console that does not wait for the workers: its flush would leave out what they still hold.
fn console((console, parsed): &Judged<'_>, flush: Duration) -> Option<Finding> {
    let Some(Parsed::Worker(config)) = parsed else { return None };
    if config.role != Role::Console || config.flush.interval >= flush {
        return None;
    }
    let message = format!(
        "workers hand over every {}, but the console waits for them only {}: POST /flush leaves out what they still hold; set \
         its flush.interval to theirs",
        seconds(flush),
        seconds(config.flush.interval)
    );
    let place = said(&console.configuration, "flush.interval").unwrap_or_else(|| console.place.clone());
    Some(Finding::error(&place, Rule::Interval, message))
}

fn said<'a>(configuration: &Configuration<'a>, path: &str) -> Option<Place<'a>> {
    match configuration {
        Configuration::Struct(value) => Some(value.nearest(path)),
        Configuration::Text(text) => Some(text.clone()),
        Configuration::None | Configuration::Unreadable(..) => None,
    }
}

fn seconds(duration: Duration) -> String {
    format!("{}s", duration.as_secs_f64())
}
