//! The workers' statistics in Envoy, each summed over all workers.

use tributary_host::stats::Counter;
use tributary_proto::limits::BATCHES_ENQUEUED;

/// The statistics of workers, as `wasmcustom.tributary_*`.
#[derive(Debug)]
pub(crate) struct Stats {
    /// Streams whose values were read with one host call for each value.
    pub(crate) read_one_by_one: Counter,
    /// Values of another type than configured.
    pub(crate) values_mistyped: Counter,
    /// Streams that ended.
    pub(crate) observed: Counter,
    /// Streams whose observations were enqueued in batches.
    pub(crate) enqueued: Counter,
    /// Batches that were enqueued.
    pub(crate) batches_enqueued: Counter,
    /// Flushes that were blocked.
    pub(crate) flushes_blocked: Counter,
    /// Additions to shared data that failed and stay pending.
    pub(crate) counter_updates_delayed: Counter,
}

impl Stats {
    pub(crate) fn define() -> Self {
        Self {
            read_one_by_one: Counter::define("tributary_read_one_by_one"),
            values_mistyped: Counter::define("tributary_values_mistyped"),
            observed: Counter::define("tributary_observations_total"),
            enqueued: Counter::define("tributary_observations_enqueued"),
            batches_enqueued: Counter::define(BATCHES_ENQUEUED),
            flushes_blocked: Counter::define("tributary_flushes_blocked"),
            counter_updates_delayed: Counter::define("tributary_counter_updates_delayed"),
        }
    }
}
