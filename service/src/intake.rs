//! Taking batches over from a queue: strictly read, checked for gaps and repeats, added to the table.

use tributary_host::clock;
use tributary_host::queue::Queue;
use tributary_proto::batch::Batch;
use tributary_proto::counter;
use tributary_proto::limits::COUNTERS_MAX;

use crate::producers::{Arrival, Producers};
use crate::stats::Stats;
use crate::table::Table;

/// Items taken in one callback. The main thread also runs xDS and the admin interface; each item posts a notice of its
/// own, so what is left is taken soon.
const ITEMS_MAX: usize = 64;
/// Bytes taken in one callback, but for the last item: about 10 ms of decoding and merging.
const BYTES_MAX: usize = 1024 * 1024;

/// What is known of those who hand over.
#[derive(Debug, Default)]
pub struct Intake {
    producers: Producers,
    counters: Vec<String>,
    observations: u64,
}

impl Intake {
    /// Takes what the queue has, within the bounds of one callback; true if there may be more.
    pub fn drain(&mut self, queue: Queue, table: &mut Table, stats: &Stats) -> bool {
        let mut bytes: usize = 0;
        for _ in 0..ITEMS_MAX {
            if bytes >= BYTES_MAX {
                return true;
            }
            // An unknown queue is as good as an empty one: it was registered by this service.
            let Ok(Some(item)) = queue.dequeue() else { return false };
            bytes = bytes.saturating_add(item.len());
            self.take(&item, table, stats);
        }
        true
    }

    /// Keys of the counters in shared data that producers spoke of, in order of appearance.
    pub fn counters(&self) -> &[String] {
        &self.counters
    }

    /// Observations taken over in all.
    pub fn observations(&self) -> u64 {
        self.observations
    }

    fn take(&mut self, item: &[u8], table: &mut Table, stats: &Stats) {
        let Ok(batch) = Batch::decode(item) else {
            stats.batches_refused.add(1);
            return;
        };
        match self.producers.arrived(batch.producer, batch.sequence) {
            Arrival::InOrder => {}
            Arrival::After(missing) => stats.batches_missing.add(missing),
            Arrival::Duplicate => {
                stats.batches_duplicate.add(1);
                return;
            }
        }
        for key in &batch.counters {
            if !self.counters.contains(key) && self.counters.len() < COUNTERS_MAX && counter::is_key(key) {
                self.counters.push(key.clone());
            }
        }
        let merged = table.merge(batch, clock::now_unix_nano());
        self.observations = self.observations.saturating_add(merged.observations);
        stats.batches_received.add(1);
        stats.observations_aggregated.add(merged.observations);
        stats.points_dropped.add(merged.points_dropped);
    }
}
