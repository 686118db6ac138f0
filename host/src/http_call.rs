//! HTTP calls to a cluster of Envoy, and their answers.
//!
//! What the host does (Envoy 1.40): a timeout, a refused connection and a reset before the headers come back as answers
//! with status 504 or 503 that Envoy made itself; a reset after the headers comes back with no headers at all; a cluster
//! without hosts refuses the call at once and never answers.

use std::time::Duration;

use proxy_wasm::hostcalls;
use proxy_wasm::types::{BufferType, Status};

use crate::{buffer, raw};

/// A call under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call(u32);

impl Call {
    /// The call that an answer with this token belongs to.
    pub fn from_token(token_id: u32) -> Self {
        Self(token_id)
    }
}

/// A request to be sent.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The cluster's name.
    pub cluster: &'a str,
    /// The `:method`.
    pub method: &'a str,
    /// The `:path`.
    pub path: &'a str,
    /// The `:authority`.
    pub authority: &'a str,
    /// Further headers; names in lower case.
    pub headers: &'a [(String, String)],
    /// The body.
    pub body: &'a [u8],
    /// After this Envoy answers 504 itself. Must not be zero, which means for ever.
    pub timeout: Duration,
}

/// Sends a request; the answer comes to `on_http_call_response` of the current root context.
///
/// Never call this while the service ends: Envoy 1.40 crashes.
///
/// # Errors
/// [`Status::BadArgument`]: no such cluster (yet). [`Status::InternalFailure`]: a cluster without a host, with its circuit
/// breaker open, or a host that withholds calls. Neither is ever answered.
pub fn send(request: &Request<'_>) -> Result<Call, Status> {
    let Request { method, path, authority, .. } = request;
    let fixed = [(":method", *method), (":path", *path), (":authority", *authority)];
    let more = request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let headers = fixed.into_iter().chain(more).collect();
    hostcalls::dispatch_http_call(request.cluster, headers, Some(request.body), Vec::new(), request.timeout)
        .map(Call)
}

/// A header of the answer; only in the callback that brings it, and only if it has headers.
pub fn answer_header(name: &str) -> Option<Vec<u8>> {
    raw::http_call_header(name).ok()
}

/// At most `bytes_max` bytes of the answer's body; only in the callback that brings it.
pub fn answer_body(bytes_max: usize) -> Vec<u8> {
    buffer::read(BufferType::HttpCallResponseBody, 0, bytes_max)
}
