//! Shared data: values by key within a `vm_id`. All threads of the process can use them.
//!
//! In proxy-wasm-cpp-host (f2db56af, `src/shared_data.cc`), a write with the version of the last read fails
//! if the value was written since, a write without a version always succeeds, and **any** write creates an
//! absent key, with any version. Keys cannot be deleted or listed, so they must be few and fixed.

use proxy_wasm::types::Status;

use crate::{raw, status};

/// The version of a shared value, which changes with each write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version(pub(crate) u32);

impl Version {
    /// A version that no value has. A write with this version succeeds only if the key is absent.
    ///
    /// Versions count up from 1 over all keys of the process. After four billion writes a value can have this
    /// version, and then a write with it replaces the value.
    pub const ABSENT: Version = Version(u32::MAX);

    /// Any version: a write with it always succeeds.
    pub const ANY: Version = Version(0);
}

/// A store of values with compare-and-set. It is a trait so that tests can simulate races.
pub trait SharedData {
    /// Returns the value and its version, or `None` if the key is absent.
    fn get(&mut self, key: &str) -> Result<Option<(Vec<u8>, Version)>, Status>;

    /// Writes the value if the key still has the version.
    ///
    /// # Errors
    /// [`Status::CasMismatch`] if the value was written since it was read.
    fn set(&mut self, key: &str, value: &[u8], version: Version) -> Result<(), Status>;
}

/// The shared data of Envoy.
#[derive(Clone, Copy, Debug)]
pub struct HostSharedData;

impl SharedData for HostSharedData {
    fn get(&mut self, key: &str) -> Result<Option<(Vec<u8>, Version)>, Status> {
        let found = status::optional(raw::shared_data(key), Status::NotFound)?;
        Ok(found.map(|(value, version)| (value, Version(version))))
    }

    fn set(&mut self, key: &str, value: &[u8], version: Version) -> Result<(), Status> {
        raw::set_shared_data(key, value, version.0)
    }
}
