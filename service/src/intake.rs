//! Taking batches over from a queue: strictly read, checked for gaps and repeats, added to the table.

use tributary_host::clock;
use tributary_host::queue::Queue;
use tributary_host::shared_data::HostSharedData;
use tributary_proto::batch::Batch;

use crate::budget::Budget;
use crate::counters::Counters;
use crate::producers::{Arrival, Producers};
use crate::stats::{Reason, Stats};
use crate::table::Table;

/// Items taken in one callback, should the clock stand still.
const ITEMS_MAX: usize = 1_000;

/// What is known of those who hand over.
#[derive(Debug, Default)]
pub struct Intake {
    producers: Producers,
    counters: Counters,
    observations: u64,
    observations_dropped: u64,
    observations_bare: u64,
}

impl Intake {
    /// Takes what the queue has, as far as `budget` allows but one item at least; true if there may be more. Without a budget
    /// it takes all.
    pub fn drain(&mut self, queue: Queue, table: &mut Table, stats: &Stats, budget: Option<Budget>) -> bool {
        for taken in 1_usize.. {
            // An unknown queue is as good as an empty one: it was registered by this service.
            let Ok(Some(item)) = queue.dequeue() else { return false };
            self.take(item, table, stats);
            if budget.is_some_and(|budget| taken >= ITEMS_MAX || budget.is_spent()) {
                return true;
            }
        }
        false
    }

    /// The counters in shared data that producers spoke of.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Goes on where another service of this process ended.
    pub fn resume(&mut self) {
        self.producers = Producers::recall(&mut HostSharedData);
        self.counters.recall();
    }

    /// Observations that found no place in the table since this was asked last.
    pub fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.observations_dropped)
    }

    /// Observations of which nothing is measured, since this was asked last.
    pub fn take_bare(&mut self) -> u64 {
        std::mem::take(&mut self.observations_bare)
    }

    /// Observations taken over in all.
    pub fn observations(&self) -> u64 {
        self.observations
    }

    fn take(&mut self, item: Vec<u8>, table: &mut Table, stats: &Stats) {
        let Ok(batch) = Batch::decode(item) else {
            stats.batches_refused.add(1);
            return;
        };
        stats.batches_taken.add(1);
        match self.producers.arrived(&batch) {
            Arrival::InOrder => {}
            Arrival::After { batches, observations } => {
                stats.batches_missing.add(batches);
                stats.observations_missing.add(observations);
            }
            Arrival::Duplicate => {
                stats.batches_duplicate.add(1);
                return;
            }
        }
        for key in &batch.counters {
            self.counters.learn(key);
        }
        self.counters.remember();
        let merged = table.merge(batch, clock::now_unix_nano());
        self.observations_dropped = self.observations_dropped.saturating_add(merged.observations_dropped);
        self.observations_bare = self.observations_bare.saturating_add(merged.observations_bare);
        self.observations = self.observations.saturating_add(merged.observations);
        stats.batches_received.add(1);
        stats.observations_aggregated.add(merged.observations);
        stats.drop_points(Reason::Table, merged.points_dropped);
        self.producers.remember(&mut HostSharedData);
    }
}
