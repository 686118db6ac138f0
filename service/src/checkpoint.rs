//! State that survives a trap of the service, in Envoy's shared data: a restarted service continues from it.
//!
//! - [`Instance`]: the identity of the process and when it started.
//! - [`export_time`]: the latest exported time, which is needed because times must not decrease. It is
//!   saved before a request is sent.
//! - [`ExportCheckpoint`]: the value of each counter that a destination with delta temporality has
//!   confirmed. It is saved after each response; a request in flight when the service trapped is exported
//!   again, like any request whose response gets lost.
//! - [`ProducerPosition`] and [`counter_keys`]: which batches were aggregated, and the keys of the
//!   counters that these batches named.
//! - [`LedgerCount`]: how many observations were aggregated, exported and dropped.
//!
//! The table itself is not saved: ARCHITECTURE.md has the reason. The host cannot delete keys, so the
//! service uses few keys.

pub mod exports;
pub mod instance;
pub mod intake;
pub mod ledger;

use tributary_host::shared_data::{HostSharedData, SharedData, Version};

pub use exports::{CounterBaselines, ExportCheckpoint, export_time, save_export_time};
pub use instance::{Instance, is_plausible};
pub use intake::{ProducerPosition, counter_keys, save_counter_keys};
pub use ledger::LedgerCount;

/// Reads a value from shared data; `None` if nothing is stored, or if Envoy withholds the value.
fn load(key: &str) -> Option<Vec<u8>> {
    HostSharedData.get(key).ok().flatten().map(|(bytes, _)| bytes)
}

/// Writes a value to shared data, and returns whether Envoy accepted it. Callers retry with the next change.
fn save(key: &str, value: &[u8]) -> bool {
    HostSharedData.set(key, value, Version::ANY).is_ok()
}
