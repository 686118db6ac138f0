//! Buffers of the current callback: bodies, TCP data, responses to calls, and the plugin's configuration.

use proxy_wasm::types::{BufferType, Status};

pub use crate::raw::drain_buffer as drain;
use crate::{raw, status};

/// Reads at most `bytes_max` bytes of a buffer from `start`. Returns an empty list if the current callback
/// does not have this buffer.
pub fn read(buffer: BufferType, start: usize, bytes_max: usize) -> Vec<u8> {
    raw::buffer(buffer, start, bytes_max).unwrap_or_default()
}

/// Reads at most `bytes_max` bytes of the plugin's configuration, in `on_configure`. Returns an empty list
/// for a plugin without a configuration.
///
/// # Errors
/// Envoy withholds buffers.
pub fn plugin_configuration(bytes_max: usize) -> Result<Vec<u8>, Status> {
    let read = raw::buffer(BufferType::PluginConfiguration, 0, bytes_max);
    // A plugin without a configuration has no buffer (Envoy 1.40).
    status::optional(read, Status::NotFound).map(Option::unwrap_or_default)
}
