//! The status of one destination, which is reported in statistics, metrics, shared data and the log.

use std::time::Duration;

use log::{info, warn};
use tributary_host::logging::RateLimit;
use tributary_proto::attributes::clip;
use tributary_proto::config::quoted;
use tributary_proto::duration::{self, as_ns};
use tributary_proto::exports::{Export, FAULT_BYTES_MAX};

use super::InFlight;
use super::totals::{ExportTotals, REJECTED, error_type};
use crate::export::destination::DestinationConfig;
use crate::export::points::Temporality;
use crate::stats::{DropReason, ProcessCounter, ServiceStats, statistic_name};

/// The number of failed cycles in a row after which a destination counts as stuck.
const PATIENCE_INTERVALS: u32 = 3;
/// The prefix of the name of the statistic [`ExporterStatus::points_possibly_duplicated`]. The name of the
/// destination follows.
const POSSIBLY_DUPLICATED: &str = "tributary_points_possibly_duplicated";
/// The minimum time between two log lines about a fault that lasts.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

const NOTHING_LOST: &str = "nothing is lost";

/// The consequence for the data of a request that was not confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Consequence {
    /// The request is sent again. Either the collector does not have the data, or a duplicate is harmless.
    NothingLost,
    /// The request is sent again although the collector may have the data.
    PossiblyDuplicated,
    /// The request is not sent again, because the collector may have the data.
    Dropped,
}

/// The status of one destination.
#[derive(Debug)]
pub struct ExporterStatus {
    temporality: Temporality,
    /// The state that other plugins can read.
    pub state: Export,
    /// The results of the exports.
    pub totals: ExportTotals,
    /// The number of delta points that were sent again although the collector may have them.
    pub points_possibly_duplicated: ProcessCounter,
    faults: RateLimit,
}

impl ExporterStatus {
    /// Creates the status of a destination without exports.
    pub(super) fn new(destination: &DestinationConfig, now_unix_nano: u64) -> Self {
        let patience =
            destination.interval.saturating_mul(PATIENCE_INTERVALS).saturating_add(destination.timeout);
        let state = Export {
            name: destination.name.clone(),
            complete_unix_nano: now_unix_nano,
            patience_ns: as_ns(patience),
            ..Export::default()
        };
        let (totals, faults) = (ExportTotals::default(), RateLimit::new(LOG_INTERVAL));
        let statistic = format!("{POSSIBLY_DUPLICATED}.{}", statistic_name(&destination.name));
        let points_possibly_duplicated = ProcessCounter::define(&statistic);
        Self { temporality: destination.temporality, state, totals, points_possibly_duplicated, faults }
    }

    /// Records that Envoy rejected a call.
    pub(super) fn record_unsent(&mut self, reason: &str, stats: &ServiceStats, now_unix_nano: u64) {
        self.count_failure(stats);
        self.fault(now_unix_nano, reason, NOTHING_LOST);
    }

    /// Records that the collector accepted a request except for `rejected` points, after `failures`
    /// failures in a row.
    pub(super) fn record_accepted(
        &mut self,
        call: &InFlight,
        (rejected, message): (u64, &str),
        failures: u32,
        stats: &ServiceStats,
        now_unix_nano: u64,
    ) {
        let error = (rejected > 0).then_some(REJECTED.into());
        let rejected = call.points.min(rejected);
        let accepted = call.points.saturating_sub(rejected);
        stats.exports_succeeded.add(1);
        stats.points_rejected.add(rejected);
        stats.points_exported.add(accepted);
        self.totals.call_ended(error.clone(), call.duration_ns(now_unix_nano));
        self.totals.points_ended(error, rejected);
        self.totals.points_ended(None, accepted);
        self.state.succeeded = self.state.succeeded.saturating_add(1);
        self.state.failures = 0;
        self.state.fault.clear();
        if rejected > 0 || !message.is_empty() {
            let (result, loss) = if rejected > 0 {
                (format!("rejected {rejected} points"), self.loss())
            } else {
                ("accepted all points with a warning".to_owned(), NOTHING_LOST)
            };
            self.fault(now_unix_nano, &format!("the collector {result}: {}", quoted(message)), loss);
        }
        if failures > 0 {
            let name = quoted(&self.state.name);
            info!("destination {name}: accepts exports again after {failures} failures");
        }
    }

    /// Records a request that was not confirmed, with the number of failures in a row and the wait before
    /// the next request.
    pub(super) fn record_unconfirmed(
        &mut self,
        call: &InFlight,
        status: Option<&[u8]>,
        (failures, wait): (u32, Duration),
        consequence: Consequence,
        stats: &ServiceStats,
        now_unix_nano: u64,
    ) {
        self.count_failure(stats);
        self.totals.call_ended(Some(error_type(status)), call.duration_ns(now_unix_nano));
        let (next, loss) = match consequence {
            Consequence::NothingLost => ("retry", NOTHING_LOST),
            Consequence::PossiblyDuplicated => {
                self.points_possibly_duplicated.add(call.points);
                ("retry", "the collector may have these deltas already and then counts them twice")
            }
            Consequence::Dropped => {
                self.totals.points_ended(Some(error_type(status)), call.points);
                stats.drop_points(DropReason::Ambiguous, call.points);
                ("next request", "these deltas are dropped, because the collector may have them already")
            }
        };
        let status = status.map_or("no complete response".into(), |status| {
            format!("HTTP {}", String::from_utf8_lossy(status))
        });
        let wait = duration::format(wait);
        let reason = format!("{status}, failure {failures} in a row, {next} in {wait}");
        self.fault(now_unix_nano, &reason, loss);
    }

    /// Records that the collector rejected a request permanently.
    pub(super) fn record_rejected(
        &mut self,
        call: &InFlight,
        (code, status): (u16, Option<&[u8]>),
        stats: &ServiceStats,
        now_unix_nano: u64,
    ) {
        self.count_failure(stats);
        let error = Some(error_type(status));
        self.totals.call_ended(error.clone(), call.duration_ns(now_unix_nano));
        self.totals.points_ended(error, call.points);
        stats.drop_points(DropReason::Collector, call.points);
        let check = "check path, headers and the collector's log";
        let reason = format!("HTTP {code}, which is not retryable; {check}");
        self.fault(now_unix_nano, &reason, self.loss());
    }

    fn count_failure(&mut self, stats: &ServiceStats) {
        stats.exports_failed.add(1);
        self.state.failed = self.state.failed.saturating_add(1);
        self.state.failures = self.state.failures.saturating_add(1);
    }

    /// Logs a fault and its consequence for the data, at a limited rate.
    fn fault(&mut self, now_unix_nano: u64, reason: &str, loss: &str) {
        clip(reason, FAULT_BYTES_MAX).clone_into(&mut self.state.fault);
        if let Some(suppressed) = self.faults.permit(now_unix_nano) {
            let name = quoted(&self.state.name);
            warn!("destination {name}: {reason}; {loss} ({suppressed} similar lines suppressed)");
        }
    }

    /// Returns a text about the consequence of a permanent rejection for the data.
    fn loss(&self) -> &'static str {
        match self.temporality {
            Temporality::Cumulative => "nothing is lost, because the next export contains the same sums",
            Temporality::Delta => "these deltas are lost",
        }
    }
}
