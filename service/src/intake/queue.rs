//! The shared queues: takes items out, checks them, and merges them into the table.

use std::time::Duration;

use log::warn;
use tributary_host::clock;
use tributary_host::logging::RateLimit;
use tributary_host::queue::Queue;
use tributary_proto::batch::{Batch, BatchError};
use tributary_proto::config::quoted;
use tributary_proto::limits::METRICS_PER_ORIGIN_MAX;

use super::counters::SharedCounters;
use super::producers::{Arrival, Producers};
use crate::aggregate::Table;
use crate::budget::Budget;
use crate::stats::{DropReason, ServiceStats};

/// The maximum number of items that one callback takes, in case the clock stands still.
const ITEMS_MAX: usize = 1_000;

/// The minimum time between two log lines about invalid items, and between two about dropped metrics.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Takes batches out of the queues, merges them into the table, and counts what they contained.
#[derive(Debug)]
pub struct Intake {
    producers: Producers,
    /// The counters in shared data that batches named.
    pub counters: SharedCounters,
    /// The number of observations for which the table had no room, since the service last reset it.
    pub observations_dropped: u64,
    /// The number of observations without any metric, since the service last reset it.
    pub observations_unmeasured: u64,
    /// Batches that arrived in order, since the start.
    pub batches_in_order: u64,
    invalid: RateLimit,
    dropped: RateLimit,
}

impl Default for Intake {
    fn default() -> Self {
        Self {
            producers: Producers::default(),
            counters: SharedCounters::default(),
            observations_dropped: 0,
            observations_unmeasured: 0,
            batches_in_order: 0,
            invalid: RateLimit::new(LOG_INTERVAL),
            dropped: RateLimit::new(LOG_INTERVAL),
        }
    }
}

impl Intake {
    /// Restores the producers and counters that the previous service of this process saved.
    pub fn resume(&mut self) {
        self.producers = Producers::load();
        self.counters.load();
    }

    /// Takes at least one item, and more as far as `budget` allows; takes all items if `budget` is
    /// `None`. Returns whether the queue may have more.
    pub fn drain(
        &mut self,
        queue: Queue,
        table: &mut Table,
        stats: &ServiceStats,
        budget: Option<Budget>,
    ) -> bool {
        for taken in 1_usize.. {
            // The service has registered the queue, so a failure means that Envoy no longer has the queue.
            let Ok(Some(item)) = queue.dequeue() else { return false };
            self.take(item, table, stats);
            if budget.is_some_and(|budget| taken >= ITEMS_MAX || budget.is_spent()) {
                return true;
            }
        }
        false
    }

    fn take(&mut self, item: Vec<u8>, table: &mut Table, stats: &ServiceStats) {
        let (length, now) = (item.len(), clock::now_unix_nano());
        let batch = match Batch::decode(item) {
            Ok(batch) => batch,
            Err(error) => return self.reject(&error, length, stats, now),
        };
        stats.batches_dequeued.add(1);
        match self.producers.register(&batch) {
            Arrival::InOrder => self.batches_in_order = self.batches_in_order.saturating_add(1),
            Arrival::AfterGap { batches, observations } => {
                stats.batches_missing.add(batches);
                stats.observations_missing.add(observations);
            }
            Arrival::Duplicate => {
                stats.batches_duplicate.add(1);
                return;
            }
        }
        for key in &batch.counters {
            self.counters.register(key);
        }
        self.counters.save();
        let merged = table.merge(batch, now);
        self.observations_dropped = self.observations_dropped.saturating_add(merged.observations_dropped);
        self.observations_unmeasured =
            self.observations_unmeasured.saturating_add(merged.observations_unmeasured);
        stats.batches_received.add(1);
        stats.aggregate(merged.observations);
        stats.drop_points(DropReason::Table, merged.points_dropped);
        self.producers.save();
        if let Some(metric) = merged.metric_dropped
            && let Some(suppressed) = self.dropped.permit(now)
        {
            let metric = quoted(&metric);
            warn!(
                "metric {metric}: its points are dropped, because workers have sent {METRICS_PER_ORIGIN_MAX} other \
                 metrics, the maximum; remove metrics, and restart Envoy (metrics of one name with different \
                 units, descriptions or buckets count separately; {suppressed} similar lines suppressed)"
            );
        }
    }

    fn reject(&mut self, error: &BatchError, length: usize, stats: &ServiceStats, now_unix_nano: u64) {
        let reason = reason(error);
        stats.reject_batch(reason);
        if let Some(suppressed) = self.invalid.permit(now_unix_nano) {
            warn!(
                "ignored {length} bytes from the shared queue, which are not a valid batch ({reason}): take \
                 worker_filter.wasm and service.wasm from one build, and give other plugins another vm_id \
                 ({suppressed} similar lines suppressed)"
            );
        }
    }
}

/// Returns the name of a reason, for the log and for statistics.
fn reason(error: &BatchError) -> &'static str {
    match error {
        BatchError::TooLong => "too_long",
        BatchError::Malformed => "malformed",
        BatchError::NoSequence => "sequence",
        BatchError::TooMany => "limits",
        BatchError::CounterKey => "counter_key",
        BatchError::Metric(_) => "metric",
        BatchError::Attributes(_) => "attributes",
        BatchError::Points => "points",
        BatchError::Exemplars => "exemplars",
    }
}
