//! What the service knows of workers: the last batch of each producer, and the keys of their counters.

use super::{Key, Record};

/// The keys of the counters in shared data.
pub const COUNTER_KEYS: Key<CounterKeys> = Key::new("tributary.counters");

/// The keys of the counters in shared data, in order of appearance. In the wire form, each ends with a line
/// feed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CounterKeys(pub Vec<String>);

/// The last aggregated batch of a producer. The wire form has its three numbers, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerPosition {
    /// The producer.
    pub producer: u64,
    /// The sequence number of the batch.
    pub sequence: u64,
    /// Observations in all its batches up to this one.
    pub observations: u64,
}

impl ProducerPosition {
    /// Returns the key of a slot; each producer has one.
    pub fn key(slot: usize) -> Key<Self> {
        Key::with_suffix("tributary.producer", &slot.to_string())
    }
}

impl Record for CounterKeys {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for key in &self.0 {
            bytes.extend_from_slice(key.as_bytes());
            bytes.push(b'\n');
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let keys = bytes.split(|byte| *byte == b'\n').filter_map(|key| std::str::from_utf8(key).ok());
        Some(Self(keys.map(str::to_owned).collect()))
    }
}

impl Record for ProducerPosition {
    fn encode(&self) -> Vec<u8> {
        [self.producer, self.sequence, self.observations].into_iter().flat_map(u64::to_le_bytes).collect()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (numbers, []) = bytes.as_chunks() else { return None };
        let &[producer, sequence, observations] = numbers else { return None };
        let [producer, sequence, observations] = [producer, sequence, observations].map(u64::from_le_bytes);
        Some(Self { producer, sequence, observations })
    }
}
