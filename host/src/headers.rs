//! Headers of the current stream, as bytes: a value need not be UTF-8.

use proxy_wasm::types::{MapType, Status};
use tributary_proto::pairs::Pairs;

use crate::raw;
pub use crate::raw::{append_header as append, remove_header as remove, respond, set_header as set};

/// Returns at most `headers_max` headers of a map; none in a callback without the map.
pub fn all(map: MapType, headers_max: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    let wire = raw::headers(map).unwrap_or_default();
    let pairs = Pairs::read(&wire).into_iter().flatten().take(headers_max);
    pairs.map(|(name, value)| (name.to_vec(), value.to_vec())).collect()
}

/// Tests whether headers can be read; other errors depend on the context.
///
/// # Errors
/// [`Status::InternalFailure`] if Envoy withholds them.
pub fn probe() -> Result<(), Status> {
    raw::headers(MapType::HttpRequestHeaders).map(drop)
}

/// Tests in a root context whether responses can be sent. Envoy does nothing there (1.36.4, 1.40.0).
///
/// # Errors
/// [`Status::InternalFailure`] if Envoy withholds them.
pub fn probe_respond() -> Result<(), Status> {
    respond(200, &[], b"", "")
}
