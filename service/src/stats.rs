//! What the service does, in Envoy's own statistics: they are there before the first export and after the last.

use tributary_host::stats::{Counter, Gauge};
use tributary_proto::limits::BATCHES_TAKEN;

/// All of them, as `wasmcustom.tributary_*`.
#[derive(Debug)]
pub struct Stats {
    /// Batches added to the table.
    pub batches_received: Counter,
    /// Batches that are no longer in the queue, whatever became of them: by it the workers know whether the service keeps up.
    pub batches_taken: Counter,
    /// Queue items that are no batch.
    pub batches_refused: Counter,
    /// Batches that came before; not added again.
    pub batches_duplicate: Counter,
    /// Batches that never came, by their sequence.
    pub batches_missing: Counter,
    /// Observations in batches that never came.
    pub observations_missing: Counter,
    /// Observations added to the table.
    pub observations_aggregated: Counter,
    /// Points that had no place in the table, or that a collector will never take.
    pub points_dropped: Counter,
    /// Points that a collector took.
    pub points_exported: Counter,
    /// Points that a collector refused in an otherwise successful answer.
    pub points_rejected: Counter,
    /// Requests that a collector answered with success.
    pub exports_succeeded: Counter,
    /// Requests that failed, or could not be sent.
    pub exports_failed: Counter,
    /// Series in the table.
    pub series: Gauge,
}

impl Stats {
    /// Defines them.
    pub fn define() -> Self {
        Self {
            batches_received: Counter::define("tributary_batches_received"),
            batches_taken: Counter::define(BATCHES_TAKEN),
            batches_refused: Counter::define("tributary_batches_refused"),
            batches_duplicate: Counter::define("tributary_batches_duplicate"),
            batches_missing: Counter::define("tributary_batches_missing"),
            observations_missing: Counter::define("tributary_observations_missing"),
            observations_aggregated: Counter::define("tributary_observations_aggregated"),
            points_dropped: Counter::define("tributary_points_dropped"),
            points_exported: Counter::define("tributary_points_exported"),
            points_rejected: Counter::define("tributary_points_rejected"),
            exports_succeeded: Counter::define("tributary_exports_succeeded"),
            exports_failed: Counter::define("tributary_exports_failed"),
            series: Gauge::define("tributary_series"),
        }
    }
}
