//! The statistics of the service. In Envoy they survive a restart of the service; metrics about the
//! service need the counts since its start. In a hot restart, Envoy also adds what the old process counts, so
//! the service never reads its own statistics back: [`LedgerCount`] has what must survive a trap.

use std::cell::Cell;

use tributary_host::attributes;
use tributary_host::stats::{Counter, Gauge};
use tributary_proto::limits::{BATCHES_DEQUEUED, BATCHES_ENQUEUED};

use crate::checkpoint::LedgerCount;

/// A counter in Envoy's statistics, which survives a restart of the service.
#[derive(Debug)]
pub struct ProcessCounter {
    statistic: Counter,
    since_start: Cell<u64>,
}

/// The statistics of the service as a whole. The statistics of a destination are in its ledger and status.
#[derive(Debug)]
pub struct ServiceStats {
    /// Batches added to the table.
    pub batches_received: ProcessCounter,
    /// Batches that workers put into the queue.
    pub batches_enqueued: Counter,
    /// Batches that are no longer in a queue. Workers read this statistic to see whether the service keeps
    /// up.
    pub batches_dequeued: Counter,
    /// Queue items that are not valid batches.
    pub batches_invalid: ProcessCounter,
    /// Duplicate batches, which the table ignores.
    pub batches_duplicate: ProcessCounter,
    /// Batches that never arrived, found by gaps in sequence numbers.
    pub batches_missing: ProcessCounter,
    /// Observations in batches that never arrived.
    pub observations_missing: ProcessCounter,
    /// Observations added to the table: the sum that each ledger accounts for.
    pub observations_aggregated: LedgerCount,
    /// Observations that any service of the process added to its table.
    observations_aggregated_by_all: Counter,
    points_dropped: Counter,
    /// Points dropped since the start of the service, in the order of [`DropReason::POINTS`].
    points_dropped_by_reason: [Cell<u64>; DropReason::POINTS.len()],
    /// Points that a collector accepted.
    pub points_exported: ProcessCounter,
    /// Points that a collector rejected in an otherwise successful response.
    pub points_rejected: ProcessCounter,
    /// Requests that a collector accepted.
    pub exports_succeeded: ProcessCounter,
    /// Requests that failed or could not be sent.
    pub exports_failed: ProcessCounter,
    /// Series in the table.
    pub series: Gauge,
    /// The memory of the service in bytes, as Envoy's allocator sees it.
    pub memory_bytes: Gauge,
}

/// Why points or observations are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// The table has no room for the metric.
    Table,
    /// The encoding of the destination cannot represent the points.
    Encoding,
    /// The collector rejected the points permanently.
    Collector,
    /// The collector may have the points, and the destination is configured to drop such points.
    Ambiguous,
    /// The service trapped before it exported the observations.
    Trap,
}

impl ServiceStats {
    /// Defines the statistics in Envoy.
    pub fn define() -> Self {
        Self {
            batches_received: ProcessCounter::define("tributary_batches_received"),
            batches_enqueued: Counter::define(BATCHES_ENQUEUED),
            batches_dequeued: Counter::define(BATCHES_DEQUEUED),
            batches_invalid: ProcessCounter::define("tributary_batches_invalid"),
            batches_duplicate: ProcessCounter::define("tributary_batches_duplicate"),
            batches_missing: ProcessCounter::define("tributary_batches_missing"),
            observations_missing: ProcessCounter::define("tributary_observations_missing"),
            observations_aggregated: LedgerCount::load(ledger_statistic("aggregated")),
            observations_aggregated_by_all: Counter::define("tributary_observations_aggregated"),
            points_dropped: Counter::define("tributary_points_dropped"),
            points_dropped_by_reason: [const { Cell::new(0) }; DropReason::POINTS.len()],
            points_exported: ProcessCounter::define("tributary_points_exported"),
            points_rejected: ProcessCounter::define("tributary_points_rejected"),
            exports_succeeded: ProcessCounter::define("tributary_exports_succeeded"),
            exports_failed: ProcessCounter::define("tributary_exports_failed"),
            series: Gauge::define("tributary_series"),
            memory_bytes: Gauge::define("tributary_memory_bytes"),
        }
    }

    /// Counts observations that were added to the table.
    pub fn aggregate(&self, observations: u64) {
        self.observations_aggregated.add(observations);
        self.observations_aggregated_by_all.add(observations);
    }

    /// Counts a queue item that is not a valid batch, in total and by its reason.
    pub fn reject_batch(&self, reason: &str) {
        self.batches_invalid.add(1);
        // Invalid items are rare, so the statistic is defined only when it is needed.
        Counter::define(&format!("tributary_batches_invalid.{reason}")).add(1);
    }

    /// Counts dropped points.
    pub fn drop_points(&self, reason: DropReason, points: u64) {
        self.points_dropped.add(points);
        let mut sums = DropReason::POINTS.into_iter().zip(&self.points_dropped_by_reason);
        if let Some((_, sum)) = sums.find(|(present, _)| *present == reason) {
            sum.set(sum.get().saturating_add(points));
        }
    }

    /// Iterates over the reasons, each with the number of points dropped since the start of the service.
    pub fn points_dropped(&self) -> impl Iterator<Item = (DropReason, u64)> {
        DropReason::POINTS.into_iter().zip(self.points_dropped_by_reason.iter().map(Cell::get))
    }
}

impl ProcessCounter {
    /// Defines the statistic `wasmcustom.NAME`, which may exist already.
    pub fn define(name: &str) -> Self {
        Self { statistic: Counter::define(name), since_start: Cell::new(0) }
    }

    /// Adds to the counter.
    pub fn add(&self, more: u64) {
        self.statistic.add(more);
        self.since_start.set(self.since_start.get().saturating_add(more));
    }

    /// Returns the count since this service started.
    pub fn since_start(&self) -> u64 {
        self.since_start.get()
    }
}

impl DropReason {
    /// The reasons for dropped points.
    pub const POINTS: [Self; 4] = [Self::Table, Self::Encoding, Self::Collector, Self::Ambiguous];
    /// The reasons for dropped observations. `Encoding` is absent: the number of observations in points
    /// that an encoding cannot represent is unknown.
    pub const OBSERVATIONS: [Self; 4] = [Self::Table, Self::Collector, Self::Ambiguous, Self::Trap];

    /// Returns the name in statistics and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Encoding => "encoding",
            Self::Collector => "collector",
            Self::Ambiguous => "ambiguous",
            Self::Trap => "trap",
        }
    }
}

/// Returns a name as a part of a statistic's name: characters that separate parts, in Envoy or where
/// statistics are sent, become `_`.
pub fn statistic_name(name: &str) -> String {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-');
    name.chars().map(|character| if is_plain(character) { character } else { '_' }).collect()
}

/// Returns the name of a statistic of the ledger: with the `vm_id`, because one process may have several
/// services.
pub fn ledger_statistic(what: &str) -> String {
    let vm_id = attributes::property(b"plugin_vm_id").unwrap_or_default();
    let vm_id =
        if vm_id.is_empty() { "_".to_owned() } else { statistic_name(&String::from_utf8_lossy(&vm_id)) };
    format!("tributary_observations_{what}.{vm_id}")
}
