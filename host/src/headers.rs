//! Headers of the current stream. Values are bytes, because they need not be UTF-8.

use proxy_wasm::types::{MapType, Status};
use tributary_proto::pairs::Pairs;

use crate::raw;
pub use crate::raw::{append_header as append, remove_header as remove, respond, set_header as set};

/// Returns at most `headers_max` headers of a map, or an empty list if the current callback does not have
/// this map.
pub fn all(map: MapType, headers_max: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    let wire = raw::headers(map).unwrap_or_default();
    let pairs = Pairs::read(&wire).into_iter().flatten().take(headers_max);
    pairs.map(|(name, value)| (name.to_vec(), value.to_vec())).collect()
}

/// Tests whether headers can be read. Ignores other errors, because they depend on the context.
///
/// # Errors
/// [`Status::InternalFailure`] if Envoy withholds the function.
pub fn probe() -> Result<(), Status> {
    raw::headers(MapType::HttpRequestHeaders).map(drop)
}

/// Tests in a root context whether responses can be sent. There the call has no effect (Envoy 1.36.4,
/// 1.40.0).
///
/// # Errors
/// [`Status::InternalFailure`] if Envoy withholds the function.
pub fn probe_respond() -> Result<(), Status> {
    respond(200, &[], b"", "")
}
