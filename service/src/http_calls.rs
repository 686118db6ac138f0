//! The permission to send HTTP calls.
//!
//! Code that sends a call needs a reference to [`HttpCalls`]. The only implementation is private to
//! `root.rs`, which lends it to ticks and responses. The shutdown of the service does not get a
//! reference: a call at that point crashes Envoy 1.40.

use std::fmt;

use tributary_host::Status;
use tributary_host::http_call::{Call, Request};

/// The permission to send HTTP calls.
pub trait HttpCalls {
    /// Sends a request.
    ///
    /// # Errors
    /// Envoy rejects the call. No response follows in this case.
    fn send(&self, request: &Request<'_>) -> Result<Call, CallError>;
}

/// Why Envoy rejects a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallError {
    /// Envoy has no cluster of this name, or not yet.
    NoCluster,
    /// The cluster has no host, its circuit breaker is open, or Envoy withholds calls.
    Unavailable,
}

impl From<Status> for CallError {
    fn from(status: Status) -> Self {
        if matches!(status, Status::BadArgument) { Self::NoCluster } else { Self::Unavailable }
    }
}

impl std::error::Error for CallError {}

impl fmt::Display for CallError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::NoCluster => "Envoy rejects the call, because the cluster does not exist",
            Self::Unavailable => {
                "Envoy rejects the call, because the cluster has no host, its circuit breaker is open, or \
                 proxy_http_call is not allowed"
            }
        })
    }
}

/// Sends to the in-memory Envoy.
#[cfg(test)]
pub(crate) struct FakeCalls;

#[cfg(test)]
impl HttpCalls for FakeCalls {
    fn send(&self, request: &Request<'_>) -> Result<Call, CallError> {
        Ok(tributary_host::http_call::send(request)?)
    }
}
