//! Shared data: values by key within a `vm_id`, one store per process, seen from every thread.
//!
//! What the host does (proxy-wasm-cpp-host f2db56af, `src/shared_data.cc`): a write with the version of the last read fails
//! if somebody wrote in between, a write without one always succeeds, and **any** write creates an absent key, whatever
//! version it names. Nothing can be deleted or listed, so keys must be few and fixed.

use proxy_wasm::types::Status;

use crate::raw;

/// The version of a shared value, by which the host tells whether it was written since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version(pub(crate) u32);

impl Version {
    /// A version that no present value has: a write with it succeeds only if the key is absent.
    ///
    /// Versions count up from 1 over all keys of the process, so this one is reached after four billion writes; it then
    /// is no more than an ordinary version that somebody may have read.
    pub const ABSENT: Version = Version(u32::MAX);

    /// Any version: a write with it always succeeds.
    pub const ANY: Version = Version(0);
}

/// A store of values with compare-and-set, as the host gives it; a trait so that its races can be tested.
pub trait SharedData {
    /// The value and its version; none if the key is absent.
    fn get(&mut self, key: &str) -> Result<Option<(Vec<u8>, Version)>, Status>;

    /// Writes the value if the key still has that version; [`Status::CasMismatch`] if not.
    fn set(&mut self, key: &str, value: &[u8], version: Version) -> Result<(), Status>;
}

/// The store of this process.
#[derive(Clone, Copy, Debug)]
pub struct HostSharedData;

impl SharedData for HostSharedData {
    fn get(&mut self, key: &str) -> Result<Option<(Vec<u8>, Version)>, Status> {
        match raw::shared_data(key) {
            Ok((value, version)) => Ok(Some((value, Version(version)))),
            Err(Status::NotFound) => Ok(None),
            Err(status) => Err(status),
        }
    }

    fn set(&mut self, key: &str, value: &[u8], version: Version) -> Result<(), Status> {
        raw::set_shared_data(key, value, version.0)
    }
}
