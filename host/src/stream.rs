//! A stream of a filter: the host's number for it, what passes through it, and what becomes of it.

use crate::raw;
use crate::status::Status;

/// One stream of the current VM: an HTTP stream or a TCP connection that a filter sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(u32);

impl StreamId {
    /// The stream with the host's number.
    pub fn new(number: u32) -> Self {
        Self(number)
    }

    /// Makes this the stream whose attributes are read and that is answered, until the callback that is running returns. False if the host does
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

/// Bytes that pass through a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bytes {
    /// Of a request's body.
    RequestBody,
    /// Of a response's body.
    ResponseBody,
    /// Of a TCP connection, from the client.
    FromClient,
    /// Of a TCP connection, from the upstream.
    FromUpstream,
}

impl Bytes {
    /// The first of them, at most `bytes_max`; only in the callback that tells of them.
    pub fn read(self, bytes_max: usize) -> Vec<u8> {
        self.read_from(0, bytes_max)
    }

    /// The same, past the first `start`.
    pub fn read_from(self, start: usize, bytes_max: usize) -> Vec<u8> {
        raw::bytes_under_way(self, start, bytes_max).unwrap_or_default()
    }

    /// Takes the first `size` away: whoever is behind the filter does not see them. Only in the callback that tells of them.
    pub fn remove(self, size: usize) -> Result<(), Status> {
        raw::remove_bytes(self, size)
    }

    /// The ABI's number for them (`proxy_buffer_type_t`).
    #[cfg_attr(not(target_arch = "wasm32"), expect(dead_code, reason = "the fake has one buffer"))]
    pub(crate) fn buffer(self) -> u32 {
        match self {
            Self::RequestBody => 0,
            Self::ResponseBody => 1,
            Self::FromClient => 2,
            Self::FromUpstream => 3,
        }
    }
}

/// What becomes of a stream after a callback (`proxy_action_t`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Continue,
    /// It was answered here.
    Answered,
    /// It waits, until it is answered in a later callback.
    Waits,
}

impl Verdict {
    /// The ABI's number for it.
    pub fn number(self) -> u32 {
        match self {
            Self::Continue => 0,
            Self::Answered | Self::Waits => 1,
        }
    }
}
