//! What the service knows of workers: the last batch of each producer, and the keys of their counters.

use tributary_host::Status;
use tributary_host::shared_data::{HostSharedData, SharedData};

use super::{load, save};

/// The key of the counters' keys; in the value, each ends with a line feed.
const COUNTER_KEYS: &str = "tributary.counters";

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

/// Returns the keys of the counters in shared data, in order of appearance. They are not checked.
pub fn counter_keys() -> Vec<String> {
    let bytes = load(COUNTER_KEYS).unwrap_or_default();
    let keys = bytes.split(|byte| *byte == b'\n').filter_map(|key| std::str::from_utf8(key).ok());
    keys.map(str::to_owned).collect()
}

/// Writes the keys of the counters, and returns whether Envoy accepted them.
pub fn save_counter_keys(keys: &[String]) -> bool {
    let text: String = keys.iter().flat_map(|key| [key, "\n"]).collect();
    save(COUNTER_KEYS, text.as_bytes())
}

impl ProducerPosition {
    /// Reads the position in a slot; each producer has one. Returns `None` if the slot was never written.
    ///
    /// # Errors
    /// If Envoy withholds the value, or if it is something else, such as the value of another plugin.
    pub fn load(slot: usize) -> Result<Option<Self>, Status> {
        let Some((bytes, _)) = HostSharedData.get(&key(slot))? else { return Ok(None) };
        let (&[producer, sequence, observations], []) = bytes.as_chunks() else {
            return Err(Status::ParseFailure);
        };
        let [producer, sequence, observations] = [producer, sequence, observations].map(u64::from_le_bytes);
        Ok(Some(Self { producer, sequence, observations }))
    }

    /// Writes the position to a slot. A failed write is retried with the producer's next batch.
    pub fn save(&self, slot: usize) {
        let numbers = [self.producer, self.sequence, self.observations].map(u64::to_le_bytes);
        save(&key(slot), numbers.as_flattened());
    }
}

fn key(slot: usize) -> String {
    format!("tributary.producer.{slot}")
}
