//! Counters in shared data: which there are, and what the table knows of them.
//!
//! Workers keep them, and say in their batches what they are called. That is in shared data too: a service that is made anew after
//! a failure knows of them at once, though no worker may have anything to say any more.

use tributary_host::counter;
use tributary_host::shared_data::{HostSharedData, SharedData, Version};
use tributary_proto::attributes;
use tributary_proto::batch::Point;
use tributary_proto::counter::{is_key, shared_key};
use tributary_proto::limits::COUNTERS_MAX;
use tributary_proto::metric::{Kind, Metric};

use crate::stats::{Reason, Stats};
use crate::table::{Owner, Table, Viewer};
use crate::told::Recalled;

/// The metric under which they are exported, with their key as the attribute `key`.
pub const METRIC: &str = "tributary.counter";

/// The key in shared data of their keys, of which each ends with a new line.
const KEYS: &str = "tributary.counters";

/// All of them.
#[derive(Debug)]
pub struct Counters {
    metric: Metric,
    /// In order of appearance, at most [`COUNTERS_MAX`].
    keys: Vec<String>,
    /// How many of them are written down.
    written: usize,
}

impl Default for Counters {
    fn default() -> Self {
        let metric = Metric {
            name: METRIC.to_owned(),
            unit: "1".to_owned(),
            description: "Counters that all workers keep in shared data.".to_owned(),
            divisor: 1,
            kind: Kind::Counter,
        };
        Self { metric, keys: Vec::new(), written: 0 }
    }
}

impl Counters {
    /// Notes one that somebody spoke of.
    pub fn learn(&mut self, key: &str) {
        if self.keys.len() < COUNTERS_MAX && is_key(key) && !self.keys.iter().any(|known| known == key) {
            self.keys.push(key.to_owned());
        }
    }

    /// Writes down which there are, if that is news. What the host refuses is written the next time.
    pub fn remember(&mut self) {
        if self.written == self.keys.len() {
            return;
        }
        let mut bytes = Vec::new();
        for key in &self.keys {
            bytes.extend_from_slice(key.as_bytes());
            bytes.push(b'\n');
        }
        if HostSharedData.set(KEYS, &bytes, Version::ANY).is_ok() {
            self.written = self.keys.len();
        }
    }

    /// Those that a service before this one knew.
    pub fn recall(&mut self) {
        let bytes = HostSharedData.get(KEYS).ok().flatten().map(|(bytes, _)| bytes).unwrap_or_default();
        for key in bytes.split(|byte| *byte == b'\n').filter_map(|key| std::str::from_utf8(key).ok()) {
            self.learn(key);
        }
    }

    /// Has the deltas of those that `viewer` was told of go on from where they were.
    pub fn resume(&self, table: &mut Table, viewer: Viewer, told: &Recalled, began_unix_nano: u64) {
        for key in &self.keys {
            let attributes = attributes_of(key);
            if let Some(base) = told.base(&attributes) {
                table.resume(&self.metric, &attributes, viewer, base, began_unix_nano);
            }
        }
    }

    /// Puts them into the table as they stand, each counted since `began_unix_nano`; what is no counter is left out.
    pub fn read(&self, table: &mut Table, stats: &Stats, began_unix_nano: u64, now_unix_nano: u64) {
        for key in &self.keys {
            let value = counter::read(&mut HostSharedData, &shared_key(key)).ok().flatten();
            let (owner, attributes) = (Owner::SharedData, attributes_of(key));
            let set = value.is_none_or(|value| {
                let point = Point::Counter(value);
                table.set(owner, &self.metric, &attributes, point, began_unix_nano, now_unix_nano)
            });
            if !set {
                stats.drop_points(Reason::Table, 1);
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
    fn what_one_service_knows_the_next_one_does_and_no_more_than_there_may_be() {
        fake::reset();
        let mut first = Counters::default();
        ["b", "a", "b", "no key", "", "c"].into_iter().for_each(|key| first.learn(key));
        first.remember();
        assert_eq!(first.keys, ["b", "a", "c"]);
        let mut second = Counters::default();
        second.recall();
        assert_eq!(second.keys, first.keys);
        (0..2 * COUNTERS_MAX).for_each(|number| second.learn(&number.to_string()));
        assert_eq!(second.keys.len(), COUNTERS_MAX);
        fake::with(|host| host.store.set(KEYS, b"\xff\n\na\n", 0)).unwrap();
        let mut third = Counters::default();
        third.recall();
        assert_eq!(third.keys, ["a"]);
    }
}
