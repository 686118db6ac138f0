//! State that survives a trap of the service, in Envoy's shared data: a restarted service continues from it.
//!
//! - [`Instance`]: the identity of the process and when it started.
//! - [`EXPORT_TIME`]: the latest exported time, because times must not decrease. It is saved before a request
//!   is sent.
//! - [`ExportCheckpoint`]: how much of each counter a destination with delta temporality has. It is saved
//!   after each response; what was in flight when the service trapped is exported again, as after any
//!   response that gets lost.
//! - [`ProducerPosition`] and [`COUNTER_KEYS`]: which batches were aggregated, and the counters that they
//!   named.
//!
//! The table itself is not saved: ARCHITECTURE.md has the reason. The host cannot delete keys, so they are
//! few.

pub mod exports;
pub mod instance;
pub mod intake;

use std::borrow::Cow;
use std::marker::PhantomData;

use tributary_host::Status;
use tributary_host::shared_data::{HostSharedData, SharedData, Version};

pub use exports::{CounterBaselines, EXPORT_TIME, ExportCheckpoint};
pub use instance::{Instance, is_plausible};
pub use intake::{COUNTER_KEYS, CounterKeys, ProducerPosition};

/// A value with a wire form.
pub trait Record: Sized {
    /// Returns the wire form.
    fn encode(&self) -> Vec<u8>;

    /// Reads a wire form; `None` if it is invalid.
    fn decode(bytes: &[u8]) -> Option<Self>;
}

/// A key in shared data, with the type of its value.
#[derive(Debug)]
pub struct Key<R> {
    name: Cow<'static, str>,
    record: PhantomData<fn() -> R>,
}

/// What is stored at a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored<R> {
    /// Nothing.
    Absent,
    /// Something else, such as the value of another plugin, or the host withholds it.
    Invalid,
    /// A value.
    Valid(R),
}

impl<R: Record> Key<R> {
    const fn new(name: &'static str) -> Self {
        Self { name: Cow::Borrowed(name), record: PhantomData }
    }

    fn with_suffix(prefix: &str, suffix: &str) -> Self {
        Self { name: Cow::Owned(format!("{prefix}.{suffix}")), record: PhantomData }
    }

    /// Reads the value.
    pub fn load(&self) -> Stored<R> {
        match HostSharedData.get(&self.name) {
            Ok(None) => Stored::Absent,
            Ok(Some((bytes, _))) => R::decode(&bytes).map_or(Stored::Invalid, Stored::Valid),
            Err(_) => Stored::Invalid,
        }
    }

    /// Writes the value.
    ///
    /// # Errors
    /// The status of the host, if it refuses. Callers write again with the next change.
    pub fn save(&self, record: &R) -> Result<(), Status> {
        HostSharedData.set(&self.name, &record.encode(), Version::ANY)
    }
}

impl<R> Stored<R> {
    /// Returns the value, if it is valid.
    pub fn valid(self) -> Option<R> {
        if let Self::Valid(record) = self { Some(record) } else { None }
    }
}

/// A time in Unix nanoseconds: 8 bytes little-endian.
impl Record for u64 {
    fn encode(&self) -> Vec<u8> {
        self.to_le_bytes().to_vec()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        Some(Self::from_le_bytes(bytes.try_into().ok()?))
    }
}
