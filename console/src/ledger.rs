//! The ledger: what became of each observation, by Envoy's own statistics, which every VM can read.

use tributary_host::stats::Counter;

/// Each statistic without its prefix `tributary_`, and its description, in the order in which a request
/// passes them.
pub(crate) const LEDGER: [(&str, &str); 15] = [
    ("observations_total", "Streams that ended."),
    ("observations_enqueued", "Observations that workers enqueued."),
    ("observations_aggregated", "Those of them that the service added up."),
    ("observations_missing", "Those of them that were lost on the way."),
    ("batches_enqueued", "Batches that workers put into the queue."),
    ("batches_received", "Batches that the service added up."),
    ("batches_missing", "Batches that were lost on the way."),
    ("batches_duplicate", "Batches that arrived twice and were aggregated once."),
    ("batches_invalid", "Items in the queue that were not batches."),
    ("flushes_blocked", "Flushes that were blocked."),
    ("points_exported", "Points that a collector accepted."),
    ("points_rejected", "Points that a collector rejected in an otherwise successful response."),
    ("points_dropped", "Points without room in the table, or that a collector will never accept."),
    ("exports_succeeded", "Requests that a collector accepted."),
    ("exports_failed", "Requests that failed, or could not be sent."),
];

/// Handles of these statistics.
#[derive(Debug)]
pub(crate) struct LedgerCounters([Counter; LEDGER.len()]);

impl LedgerCounters {
    /// Defines the statistics, which Envoy then lists, also those that are still 0.
    pub(crate) fn define() -> Self {
        Self(LEDGER.map(|(name, _)| Counter::define(&format!("tributary_{name}"))))
    }

    /// Returns the name, the description and the value of each statistic.
    pub(crate) fn values(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        LEDGER.iter().zip(&self.0).map(|((name, help), counter)| (*name, *help, counter.value()))
    }

    /// Returns the number of streams that ended, as far as workers have reported them.
    pub(crate) fn observed(&self) -> u64 {
        let [observed, ..] = &self.0;
        observed.value()
    }

    /// Returns how many of them workers have flushed and the service has not aggregated yet.
    pub(crate) fn queued(&self) -> u64 {
        let [_, enqueued, ..] = &self.0;
        enqueued.value().saturating_sub(self.settled())
    }

    /// Returns how many of them the service has aggregated or will never receive.
    pub(crate) fn settled(&self) -> u64 {
        let [_, _, aggregated, missing, ..] = &self.0;
        aggregated.value().saturating_add(missing.value())
    }
}
