//! The number by which the host knows a stream.

use proxy_wasm::types::Status;

use crate::raw;

/// A context of the current VM: an HTTP stream or a TCP connection that a filter sees, or the root context of a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContextId(u32);

impl ContextId {
    /// The context with the host's number.
    pub fn new(number: u32) -> Self {
        Self(number)
    }

    /// The host's number.
    pub(crate) fn number(self) -> u32 {
        self.0
    }

    /// Makes this the context whose attributes are read and that is answered, until the callback that is running returns.
    ///
    /// # Errors
    /// [`Status::BadArgument`]: the host does not know the context (any more). [`Status::InternalFailure`]: the host withholds
    /// the call.
    pub fn enter(self) -> Result<(), Status> {
        raw::set_effective_context(self.0)
    }
}
