//! The ledger: what was seen and what became of it, in Envoy's own statistics, which every VM can read.

use tributary_host::stats::Counter;

/// Each statistic without `tributary_`, with what it says. The order is that of a request's way.
pub const LEDGER: [(&str, &str); 15] = [
    ("observations_observed", "Streams that ended."),
    ("observations_enqueued", "Observations that workers enqueued."),
    ("observations_aggregated", "Those of them that the service added up."),
    ("observations_missing", "Those of them that were lost on the way."),
    ("batches_enqueued", "Batches that workers put into the queue."),
    ("batches_received", "Batches that the service added up."),
    ("batches_missing", "Batches that were lost on the way."),
    ("batches_duplicate", "Batches that came twice and were added once."),
    ("batches_refused", "Items in the queue that were no batches."),
    ("flushes_blocked", "Flushes that were blocked."),
    ("points_exported", "Points that a collector took."),
    ("points_rejected", "Points that a collector refused in an otherwise successful answer."),
    ("points_dropped", "Points that had no place in the table, or that a collector will never take."),
    ("exports_succeeded", "Requests that a collector took."),
    ("exports_failed", "Requests that failed, or could not be sent."),
];

/// The statistics, defined.
#[derive(Debug)]
pub struct Ledger([Counter; LEDGER.len()]);

impl Ledger {
    /// Defines them: Envoy shows them from then on, at 0 if nobody has counted.
    pub fn define() -> Self {
        Self(LEDGER.map(|(name, _)| Counter::define(&format!("tributary_{name}"))))
    }

    /// Each with its value now.
    pub fn values(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        LEDGER.iter().zip(&self.0).map(|((name, help), counter)| (*name, *help, counter.value()))
    }

    /// Streams that ended, as far as workers have told.
    pub fn observed(&self) -> u64 {
        let [observed, ..] = &self.0;
        observed.value()
    }

    /// Those of them that workers handed over and the service has not taken over yet.
    pub fn queued(&self) -> u64 {
        let [_, enqueued, ..] = &self.0;
        enqueued.value().saturating_sub(self.settled())
    }

    /// What the service has taken over of them, or will never get.
    pub fn settled(&self) -> u64 {
        let [_, _, aggregated, missing, ..] = &self.0;
        aggregated.value().saturating_add(missing.value())
    }
}
