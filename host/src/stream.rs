//! A stream of a filter, by the host's number for it.

use crate::raw;

/// One stream of the current VM: an HTTP stream or a TCP connection that a filter sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(u32);

impl StreamId {
    /// The stream with the host's number.
    pub fn new(number: u32) -> Self {
        Self(number)
    }

    /// Makes this the stream whose attributes are read, until the callback that is running returns. False if the host does
    /// not know it.
    pub fn enter(self) -> bool {
        raw::set_effective_context(self.0).is_ok()
    }
}

/// Who closed a TCP connection (`proxy_peer_type_t`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClosedBy {
    /// Nobody said.
    Unknown,
    /// Envoy.
    Local,
    /// The client.
    Remote,
}

impl ClosedBy {
    /// From the ABI's number.
    pub fn from_number(number: u32) -> Self {
        match number {
            1 => Self::Local,
            2 => Self::Remote,
            _ => Self::Unknown,
        }
    }
}
