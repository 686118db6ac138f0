//! Buffers of the current callback: bodies, data of TCP connections, the answer of a call, the plugin's configuration.

use proxy_wasm::types::{BufferType, Status};

use crate::raw;

/// At most `bytes_max` bytes of a buffer from `start` on; none in a phase that does not have the buffer.
pub fn read(buffer: BufferType, start: usize, bytes_max: usize) -> Vec<u8> {
    raw::buffer(buffer, start, bytes_max).unwrap_or_default()
}

/// Removes the first `size` bytes of a buffer, so that the filters behind do not see them.
pub fn drain(buffer: BufferType, size: usize) -> Result<(), Status> {
    raw::drain_buffer(buffer, size)
}

/// The plugin's configuration, at most `bytes_max` bytes of it; empty if it has none. Only in `on_configure`.
///
/// # Errors
/// The host withholds it.
pub fn plugin_configuration(bytes_max: usize) -> Result<Vec<u8>, Status> {
    match raw::buffer(BufferType::PluginConfiguration, 0, bytes_max) {
        // A plugin without a configuration has no buffer (Envoy 1.40).
        Err(Status::NotFound) => Ok(Vec::new()),
        other => other,
    }
}
