//! Envoy's numbers of contexts.

use proxy_wasm::types::Status;

use crate::raw;

/// A context of the current VM: an HTTP stream or TCP connection of a filter, or the root context of a
/// plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContextId(u32);

impl ContextId {
    /// Creates the id of the context with Envoy's number.
    pub fn new(number: u32) -> Self {
        Self(number)
    }

    /// Returns Envoy's number.
    pub(crate) fn number(self) -> u32 {
        self.0
    }

    /// Makes this the current context until the running callback returns. Attributes are read from the
    /// current context, and responses are sent to it.
    ///
    /// # Errors
    /// [`Status::BadArgument`] if the context does not exist (any more). [`Status::InternalFailure`] if Envoy
    /// withholds the call.
    pub fn enter(self) -> Result<(), Status> {
        raw::set_effective_context(self.0)
    }
}
