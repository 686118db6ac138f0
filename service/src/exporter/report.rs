//! How it goes with one destination, for everybody who wants to know: statistics, metrics, other plugins, and the log.

use std::time::Duration;

use log::{info, warn};
use tributary_host::logging::RateLimit;
use tributary_proto::attributes::clip;
use tributary_proto::config::quoted;
use tributary_proto::duration::{self, as_ns};
use tributary_proto::exports::{Export, FAULT_BYTES_MAX};

use super::in_flight::InFlight;
use super::tally::{NO_ANSWER, Tally, end};
use crate::answer::Verdict;
use crate::config::Destination;
use crate::delivery::Outcome;
use crate::points::Temporality;
use crate::stats::{Reason, Stats};

/// Cycles that may fail one after the other, before somebody should look.
const PATIENCE_INTERVALS: u32 = 3;
/// How often a fault that lasts is logged.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// How it goes with one destination.
#[derive(Debug)]
pub(super) struct Report {
    temporality: Temporality,
    state: Export,
    tally: Tally,
    faults: RateLimit,
}

impl Report {
    /// Of a destination of which there is nothing to say yet.
    pub(super) fn new(destination: &Destination, now_unix_nano: u64) -> Self {
        let patience =
            destination.interval.saturating_mul(PATIENCE_INTERVALS).saturating_add(destination.timeout);
        let state = Export {
            name: destination.name.clone(),
            complete_unix_nano: now_unix_nano,
            patience_ns: as_ns(patience),
            ..Export::default()
        };
        let (tally, faults) = (Tally::default(), RateLimit::new(LOG_INTERVAL));
        Self { temporality: destination.temporality, state, tally, faults }
    }

    /// What other plugins are told.
    pub(super) fn state(&self) -> &Export {
        &self.state
    }

    /// The same, for what the ledger adds to it.
    pub(super) fn state_mut(&mut self) -> &mut Export {
        &mut self.state
    }

    /// What became of what was sent.
    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// A cycle was taken, which serves the flush of this number.
    pub(super) fn complete(&mut self, now_unix_nano: u64, flushed: u64) {
        (self.state.complete_unix_nano, self.state.flushed) = (now_unix_nano, flushed);
    }

    /// Envoy did not send a request.
    pub(super) fn unsent(&mut self, reason: &str, stats: &Stats, now_unix_nano: u64) {
        self.failed(stats);
        self.fault(now_unix_nano, reason);
    }

    /// A call has had no answer for so long that none will come.
    pub(super) fn unanswered(&mut self, duration_ns: u64, stats: &Stats, now_unix_nano: u64) {
        self.failed(stats);
        self.tally.call_ended(Some(NO_ANSWER.into()), duration_ns);
        self.fault(now_unix_nano, "no answer ever came");
    }

    /// A call was answered, with this status.
    pub(super) fn answered(
        &mut self,
        call: &InFlight,
        verdict: &Verdict,
        outcome: &Outcome,
        status: Option<&[u8]>,
        stats: &Stats,
        now_unix_nano: u64,
    ) {
        let end = end(verdict, status);
        self.tally.call_ended(end.clone(), call.duration_ns(now_unix_nano));
        match verdict {
            Verdict::Taken { rejected, message } => {
                let rejected = call.points.min(*rejected);
                let taken = call.points.saturating_sub(rejected);
                stats.exports_succeeded.add(1);
                stats.points_rejected.add(rejected);
                stats.points_exported.add(taken);
                self.tally.points_ended(end, rejected);
                self.tally.points_ended(None, taken);
                self.state.succeeded = self.state.succeeded.saturating_add(1);
                self.state.failures = 0;
                self.state.fault.clear();
                if rejected > 0 || !message.is_empty() {
                    let reason = format!("the collector rejected {rejected} points: {}", quoted(message));
                    self.fault(now_unix_nano, &reason);
                }
            }
            // They go again.
            Verdict::Retry { .. } => self.failed(stats),
            Verdict::Refused { .. } => {
                self.failed(stats);
                stats.drop_points(Reason::Collector, call.points);
                self.tally.points_ended(end, call.points);
            }
        }
        self.log(outcome, status, now_unix_nano);
    }

    fn failed(&mut self, stats: &Stats) {
        stats.exports_failed.add(1);
        self.state.failed = self.state.failed.saturating_add(1);
        self.state.failures = self.state.failures.saturating_add(1);
    }

    fn log(&mut self, outcome: &Outcome, status: Option<&[u8]>, now_unix_nano: u64) {
        match outcome {
            Outcome::Taken { failures: 0 } => {}
            Outcome::Taken { failures } => {
                let name = quoted(&self.state.name);
                info!("destination {name} takes again, after {failures} failures");
            }
            Outcome::Again { failures, wait } => {
                let status = status.map_or("none".into(), String::from_utf8_lossy);
                let wait = duration::format(*wait);
                let reason = format!("status {status}, failure {failures} in a row, next try in {wait}");
                self.fault(now_unix_nano, &reason);
            }
            Outcome::GivenUp { status } => {
                self.fault(now_unix_nano, &format!("status {status}, which is not to be tried again"));
            }
        }
    }

    /// Says what is wrong, at a bounded rate, and what becomes of what was not taken.
    fn fault(&mut self, now_unix_nano: u64, reason: &str) {
        clip(reason, FAULT_BYTES_MAX).clone_into(&mut self.state.fault);
        if let Some(suppressed) = self.faults.permit(now_unix_nano) {
            let name = quoted(&self.state.name);
            let rest = match self.temporality {
                Temporality::Cumulative => "The sums stay and go with the next export",
                Temporality::Delta => "What can be sent again is kept",
            };
            warn!("destination {name}: {reason}. {rest} ({suppressed} more since)");
        }
    }
}
