//! What the service has received from workers: each producer's last batch, and the keys of counters.

use tributary_host::Status;
use tributary_host::shared_data::{HostSharedData, SharedData};

use super::{load, save};

/// The key under which the keys of counters are stored; each of them ends with a line feed.
const COUNTER_KEYS: &str = "tributary.counters";

/// The last aggregated batch of a producer. It is stored as three 64-bit numbers, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerPosition {
    /// The producer.
    pub producer: u64,
    /// The sequence number of the batch.
    pub sequence: u64,
    /// The number of observations in all batches of the producer up to and including this batch.
    pub observations: u64,
}

/// Returns the keys of the counters in shared data, in order of registration, unchecked.
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
    /// Reads the position from a slot; each producer has one slot. `None` means that it was never written.
    ///
    /// # Errors
    /// Envoy withholds the value, or the value is not a position, such as the value of another plugin.
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
