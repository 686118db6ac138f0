//! HTTP calls to a cluster, and their responses.
//!
//! In Envoy 1.40, a timeout gives a response with status 504. A failed connection, or a reset before the
//! response headers, gives a response with status 503. A reset after the response headers gives a response
//! without headers. A call to a cluster without hosts fails at once, without a response.

use std::time::Duration;

use proxy_wasm::hostcalls;
use proxy_wasm::types::{BufferType, Status};

use crate::{buffer, raw};

/// A call that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call(u32);

impl Call {
    /// Returns the call to which a response with this token belongs.
    pub fn from_token(token_id: u32) -> Self {
        Self(token_id)
    }
}

/// A request to send.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The name of the cluster.
    pub cluster: &'a str,
    /// The `:method`.
    pub method: &'a str,
    /// The `:path`.
    pub path: &'a str,
    /// The `:authority`.
    pub authority: &'a str,
    /// Additional headers, with names in lower case.
    pub headers: &'a [(String, String)],
    /// The body.
    pub body: &'a [u8],
    /// The time after which Envoy gives a response with status 504. Zero means no timeout.
    pub timeout: Duration,
}

/// Sends a request. The current root context receives the response in `on_http_call_response`.
///
/// Must not be called while the service shuts down: Envoy 1.40 crashes.
///
/// # Errors
/// [`Status::BadArgument`] if the cluster does not exist (yet). [`Status::InternalFailure`] if the cluster
/// has no host, its circuit breaker is open, or Envoy withholds calls. After an error there is no response.
pub fn send(request: &Request<'_>) -> Result<Call, Status> {
    let Request { method, path, authority, .. } = request;
    let required = [(":method", *method), (":path", *path), (":authority", *authority)];
    let more = request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let headers = required.into_iter().chain(more).collect();
    hostcalls::dispatch_http_call(request.cluster, headers, Some(request.body), Vec::new(), request.timeout)
        .map(Call)
}

/// Returns a header of the response. Works only in the callback of the response, and only if that has
/// headers.
pub fn response_header(name: &str) -> Option<Vec<u8>> {
    raw::http_call_header(name).ok()
}

/// Returns at most `bytes_max` bytes of the body of the response. Works only in the callback of the response.
pub fn response_body(bytes_max: usize) -> Vec<u8> {
    buffer::read(BufferType::HttpCallResponseBody, 0, bytes_max)
}
