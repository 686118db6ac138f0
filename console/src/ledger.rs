//! The ledger: how many observations each stage handled, from Envoy's statistics, which every VM can read.

use tributary_host::stats::Counter;

/// The name of each statistic, without the prefix `tributary_`, and its description, in the order in
/// which an observation passes the stages.
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

/// Handles of the statistics in [`LEDGER`].
#[derive(Debug)]
pub(crate) struct LedgerCounters([Counter; LEDGER.len()]);

impl LedgerCounters {
    /// Defines the statistics. Envoy then lists all of them, even those that are still 0.
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

    /// Returns the number of observations that workers have enqueued and the service has not aggregated yet.
    pub(crate) fn queued(&self) -> u64 {
        let [_, enqueued, ..] = &self.0;
        enqueued.value().saturating_sub(self.settled())
    }

    /// Returns the number of observations that the service has aggregated or will never receive.
    pub(crate) fn settled(&self) -> u64 {
        let [_, _, aggregated, missing, ..] = &self.0;
        aggregated.value().saturating_add(missing.value())
    }
}
