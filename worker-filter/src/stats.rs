//! What the workers do, in Envoy's own statistics, which count over all of them.

use tributary_host::stats::Counter;
use tributary_proto::limits::BATCHES_ENQUEUED;

/// All of them, as `wasmcustom.tributary_*`.
#[derive(Debug)]
pub(crate) struct Stats {
    /// Observations that took one host call for each value.
    pub(crate) read_one_by_one: Counter,
    /// Values that were of another type than configured.
    pub(crate) values_mistyped: Counter,
    /// Streams that ended.
    pub(crate) observed: Counter,
    /// Those of them that went into the queue, in batches.
    pub(crate) handed_over: Counter,
    /// Batches that went into the queue.
    pub(crate) batches_enqueued: Counter,
    /// Hand-overs that had to wait.
    pub(crate) handovers_held_back: Counter,
    /// Additions to shared data that had to wait.
    pub(crate) counters_held_back: Counter,
}

impl Stats {
    pub(crate) fn define() -> Self {
        Self {
            read_one_by_one: Counter::define("tributary_read_one_by_one"),
            values_mistyped: Counter::define("tributary_values_mistyped"),
            observed: Counter::define("tributary_observations_total"),
            handed_over: Counter::define("tributary_observations_handed_over"),
            batches_enqueued: Counter::define(BATCHES_ENQUEUED),
            handovers_held_back: Counter::define("tributary_handovers_held_back"),
            counters_held_back: Counter::define("tributary_counters_held_back"),
        }
    }
}
