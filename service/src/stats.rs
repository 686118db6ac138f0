//! What the service does: in Envoy's own statistics, which are there before the first export and after the last, and summed up
//! here for the metrics about itself.

use std::cell::Cell;

use tributary_host::stats::{Counter, Gauge};
use tributary_proto::limits::{BATCHES_ENQUEUED, BATCHES_TAKEN};

/// A number that only grows, as `wasmcustom.tributary_*`.
#[derive(Debug)]
pub struct Count {
    statistic: Counter,
    /// Since this service began.
    total: Cell<u64>,
    /// What another service of this process had counted before it.
    before: u64,
}

/// All of them.
#[derive(Debug)]
pub struct Stats {
    /// Batches added to the table.
    pub batches_received: Count,
    /// Batches that workers put into the queue.
    pub batches_enqueued: Counter,
    /// Batches that are no longer in the queue, whatever became of them: by it the workers know whether the service keeps up.
    pub batches_taken: Counter,
    /// Queue items that are no batch.
    pub batches_refused: Count,
    /// Batches that came before; not added again.
    pub batches_duplicate: Count,
    /// Batches that never came, by their sequence.
    pub batches_missing: Count,
    /// Observations in batches that never came.
    pub observations_missing: Count,
    /// Observations added to the table.
    pub observations_aggregated: Count,
    /// Points that had no place in the table, that an encoding cannot say, or that a collector will never take.
    points_dropped: Counter,
    /// The same by their [`Reason`].
    dropped: [Cell<u64>; Reason::OF_POINTS.len()],
    /// Points that a collector took.
    pub points_exported: Count,
    /// Points that a collector refused in an otherwise successful answer.
    pub points_rejected: Count,
    /// Requests that a collector answered with success.
    pub exports_succeeded: Count,
    /// Requests that failed, or could not be sent.
    pub exports_failed: Count,
    /// Series in the table.
    pub series: Gauge,
    /// Bytes of memory of the service, as Envoy's allocator sees them.
    pub memory_bytes: Gauge,
}

/// Why points or observations are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// There are too many metrics.
    Table,
    /// The destination's encoding cannot say them.
    Encoding,
    /// The collector will never take them.
    Collector,
    /// A service that failed had them.
    Trap,
}

impl Count {
    /// The statistic `wasmcustom.NAME`, which may be older than this service.
    pub fn define(name: &str) -> Self {
        let statistic = Counter::define(name);
        Self { statistic, total: Cell::new(0), before: statistic.value() }
    }

    /// Adds.
    pub fn add(&self, more: u64) {
        self.statistic.add(more);
        self.total.set(self.total.get().saturating_add(more));
    }

    /// The sum since this service began.
    pub fn total(&self) -> u64 {
        self.total.get()
    }

    /// The sum in the life of the process.
    pub fn ever(&self) -> u64 {
        self.before.saturating_add(self.total())
    }
}

impl Reason {
    /// Each for which points are dropped.
    pub const OF_POINTS: [Self; 3] = [Self::Table, Self::Encoding, Self::Collector];
    /// Each for which observations are dropped. What of them an encoding cannot say is not known.
    pub const OF_OBSERVATIONS: [Self; 3] = [Self::Table, Self::Collector, Self::Trap];

    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Encoding => "encoding",
            Self::Collector => "collector",
            Self::Trap => "trap",
        }
    }
}

impl Stats {
    /// Defines them.
    pub fn define() -> Self {
        Self {
            batches_received: Count::define("tributary_batches_received"),
            batches_enqueued: Counter::define(BATCHES_ENQUEUED),
            batches_taken: Counter::define(BATCHES_TAKEN),
            batches_refused: Count::define("tributary_batches_refused"),
            batches_duplicate: Count::define("tributary_batches_duplicate"),
            batches_missing: Count::define("tributary_batches_missing"),
            observations_missing: Count::define("tributary_observations_missing"),
            observations_aggregated: Count::define("tributary_observations_aggregated"),
            points_dropped: Counter::define("tributary_points_dropped"),
            dropped: [const { Cell::new(0) }; Reason::OF_POINTS.len()],
            points_exported: Count::define("tributary_points_exported"),
            points_rejected: Count::define("tributary_points_rejected"),
            exports_succeeded: Count::define("tributary_exports_succeeded"),
            exports_failed: Count::define("tributary_exports_failed"),
            series: Gauge::define("tributary_series"),
            memory_bytes: Gauge::define("tributary_memory_bytes"),
        }
    }

    /// Counts points that are dropped.
    pub fn drop_points(&self, reason: Reason, points: u64) {
        self.points_dropped.add(points);
        if let Some((_, sum)) = self.dropped().find(|(present, _)| *present == reason) {
            sum.set(sum.get().saturating_add(points));
        }
    }

    /// How many points were dropped why, since this service began.
    pub fn points_dropped(&self) -> impl Iterator<Item = (Reason, u64)> {
        self.dropped().map(|(reason, sum)| (reason, sum.get()))
    }

    fn dropped(&self) -> impl Iterator<Item = (Reason, &Cell<u64>)> {
        Reason::OF_POINTS.into_iter().zip(&self.dropped)
    }
}
