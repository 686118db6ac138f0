//! Headers of the current stream, as bytes: a value need not be UTF-8.

use proxy_wasm::types::{MapType, Status};
use tributary_proto::pairs::Pairs;

use crate::raw;

/// All headers of a map, at most `headers_max`; none in a phase that does not have the map.
pub fn all(map: MapType, headers_max: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    let wire = raw::headers(map).unwrap_or_default();
    let pairs = Pairs::read(&wire).into_iter().flatten().take(headers_max);
    pairs.map(|(name, value)| (name.to_vec(), value.to_vec())).collect()
}

/// Tries whether headers can be read; what there is depends on the context.
///
/// # Errors
/// [`Status::InternalFailure`]: the host withholds them.
pub fn probe() -> Result<(), Status> {
    raw::headers(MapType::HttpRequestHeaders).map(drop)
}

/// Adds a header beside others of its name.
pub fn append(map: MapType, name: &str, value: &[u8]) -> Result<(), Status> {
    raw::append_header(map, name, value)
}

/// Sets a header in place of all others of its name.
pub fn set(map: MapType, name: &str, value: &[u8]) -> Result<(), Status> {
    raw::set_header(map, name, value)
}

/// Removes all headers of a name.
pub fn remove(map: MapType, name: &str) -> Result<(), Status> {
    raw::remove_header(map, name)
}

/// Answers the request in place of the upstream; Envoy's access log shows `details` as `%RESPONSE_CODE_DETAILS%`.
pub fn respond(status: u16, headers: &[(&str, &str)], body: &[u8], details: &str) -> Result<(), Status> {
    raw::respond(status, headers, body, details)
}

/// Tries whether requests can be answered, in a root context, which has none: there the host does nothing (Envoy 1.36.4, 1.40.0).
///
/// # Errors
/// [`Status::InternalFailure`]: the host withholds it.
pub fn probe_respond() -> Result<(), Status> {
    respond(200, &[], b"", "")
}
