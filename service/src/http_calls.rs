//! The permission to send HTTP calls.
//!
//! Whoever sends a call needs a reference to [`HttpCalls`]. Its only implementation is private to `root.rs`,
//! which lends it to ticks and responses. The shutdown of the service does not get it: a call at that point
//! crashes Envoy 1.40.

use tributary_host::Status;
use tributary_host::http_call::{Call, Request};

/// The permission to send HTTP calls.
pub trait HttpCalls {
    /// Sends a request.
    ///
    /// # Errors
    /// If Envoy refuses the call; it never gets a response then.
    fn send(&self, request: &Request<'_>) -> Result<Call, Status>;
}

/// Returns why Envoy refused a call: it has no such cluster (yet), or it cannot or may not send.
pub fn refusal(status: Status) -> &'static str {
    match status {
        Status::BadArgument => "Envoy refuses the call, because the cluster does not exist",
        _ => "Envoy refuses the call, because the cluster has no host or its circuit breaker is open",
    }
}

/// Sends to the in-memory Envoy.
#[cfg(test)]
pub(crate) struct FakeCalls;

#[cfg(test)]
impl HttpCalls for FakeCalls {
    fn send(&self, request: &Request<'_>) -> Result<Call, Status> {
        tributary_host::http_call::send(request)
    }
}
