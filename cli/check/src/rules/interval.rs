//! Finds intervals of workers, services and consoles that contradict each other.

use std::time::Duration;

use super::AcceptedPlugins;
use crate::finding::{Finding, Rule};

/// Compares the longest flush interval of the workers with the shortest export interval and the idle time of
/// each service, and with the time that each console waits for workers.
pub(super) fn judge(accepted: &AcceptedPlugins<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let flushes = accepted.workers.iter().map(|(worker, config)| (worker, config.flush.interval));
    let Some((worker, flush)) = flushes.max_by_key(|(_, interval)| *interval) else { return findings };
    for (console, config) in &accepted.consoles {
        if config.flush_interval < flush {
            let message = format!(
                "workers flush every {}, but the console waits for them only {}: POST /flush would miss \
                 their latest counts; set the console's flush.interval to theirs",
                seconds(flush),
                seconds(config.flush_interval)
            );
            findings.push(Finding::error(&console.place_of("flush.interval"), Rule::Interval, message));
        }
    }
    for (service, config) in &accepted.services {
        let shortest = config.destinations.iter().map(|destination| destination.interval).min();
        if let Some(export) = shortest.filter(|export| *export < flush) {
            let message = format!(
                "workers flush every {}, but the service exports every {}: exports in between have no new \
                 data; shorten flush.interval or lengthen interval",
                seconds(flush),
                seconds(export)
            );
            findings.push(Finding::warning(&worker.place_of("flush.interval"), Rule::Interval, message));
        }
        if let Some(idle) = config.idle.filter(|idle| *idle <= flush) {
            let message = format!(
                "a series expires after {} without new data, but workers flush only every {}: series would \
                 expire and restart all the time; set limits.idle to several times the flush interval",
                seconds(idle),
                seconds(flush)
            );
            findings.push(Finding::error(&service.place_of("limits.idle"), Rule::Interval, message));
        }
    }
    findings
}

fn seconds(duration: Duration) -> String {
    format!("{}s", duration.as_secs_f64())
}
