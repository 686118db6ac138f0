//! Counters in shared data: registers their keys, and copies their values into the table.
//!
//! Workers write the counters, and name them in batches. The checkpoint has the keys of the counters,
//! because a restarted service must export the counters even if no worker sends a batch.

use tributary_host::counter;
use tributary_host::shared_data::HostSharedData;
use tributary_proto::attributes;
use tributary_proto::batch::Point;
use tributary_proto::counter::{is_key, shared_key};
use tributary_proto::limits::COUNTERS_MAX;
use tributary_proto::metric::{Kind, Metric};

use crate::aggregate::{DestinationId, MetricOrigin, Table};
use crate::checkpoint::{CounterBaselines, counter_keys, save_counter_keys};
use crate::stats::{DropReason, ServiceStats};

/// The metric of all counters. The attribute `key` has the key of the counter.
pub const METRIC: &str = "tributary.counter";

/// The counters in shared data, at most [`COUNTERS_MAX`].
#[derive(Debug)]
pub struct SharedCounters {
    metric: Metric,
    keys: Vec<String>,
    /// The number of keys that are saved in the checkpoint.
    saved: usize,
}

impl Default for SharedCounters {
    fn default() -> Self {
        let metric = Metric {
            name: METRIC.to_owned(),
            unit: "1".to_owned(),
            description: "Counters that all workers keep in shared data.".to_owned(),
            divisor: 1,
            kind: Kind::Counter,
        };
        Self { metric, keys: Vec::new(), saved: 0 }
    }
}

impl SharedCounters {
    /// Registers the key of a counter. Ignores invalid keys, and keys beyond the limit.
    pub fn register(&mut self, key: &str) {
        let keys = &mut self.keys;
        if keys.len() < COUNTERS_MAX && is_key(key) && !keys.iter().any(|known| known == key) {
            keys.push(key.to_owned());
        }
    }

    /// Saves the keys if there are new ones. A failed write is retried with the next batch.
    pub fn save(&mut self) {
        if self.saved < self.keys.len() && save_counter_keys(&self.keys) {
            self.saved = self.keys.len();
        }
    }

    /// Registers the keys that a previous service of this process saved.
    pub fn load(&mut self) {
        counter_keys().iter().for_each(|key| self.register(key));
    }

    /// Makes the deltas of a destination continue from the values that it has confirmed.
    pub fn resume(
        &self,
        table: &mut Table,
        destination: DestinationId,
        baselines: &CounterBaselines,
        start_unix_nano: u64,
    ) {
        for key in &self.keys {
            let attributes = attributes_of(key);
            if let Some(baseline) = baselines.get(&attributes) {
                table.resume(&self.metric, &attributes, destination, baseline, start_unix_nano);
            }
        }
    }

    /// Copies the values of the counters into the table; their series start at `start_unix_nano`. Ignores
    /// values that are not counters.
    pub fn read(&self, table: &mut Table, stats: &ServiceStats, start_unix_nano: u64, now_unix_nano: u64) {
        for key in &self.keys {
            let Ok(Some(value)) = counter::read(&mut HostSharedData, &shared_key(key)) else { continue };
            let (attributes, point) = (attributes_of(key), Point::Counter(value));
            let origin = MetricOrigin::SharedData;
            if !table.set(origin, &self.metric, &attributes, point, start_unix_nano, now_unix_nano) {
                stats.drop_points(DropReason::Table, 1);
            }
        }
    }
}

fn attributes_of(key: &str) -> Vec<u8> {
    attributes::encode(vec![attributes::text("key", key)])
}

#[cfg(test)]
mod tests {
    use tributary_host::fake;

    use super::*;

    #[test]
    fn saved_keys_are_loaded_up_to_the_limit() {
        fake::reset();
        let mut first = SharedCounters::default();
        ["b", "a", "b", "no key", "", "c"].into_iter().for_each(|key| first.register(key));
        first.save();
        assert_eq!(first.keys, ["b", "a", "c"]);
        let mut second = SharedCounters::default();
        second.load();
        assert_eq!(second.keys, first.keys);
        (0..2 * COUNTERS_MAX).for_each(|number| second.register(&number.to_string()));
        assert_eq!(second.keys.len(), COUNTERS_MAX);
        fake::with(|host| host.store.set("tributary.counters", b"\xff\n\na\n", 0)).unwrap();
        let mut third = SharedCounters::default();
        third.load();
        assert_eq!(third.keys, ["a"]);
    }
}
