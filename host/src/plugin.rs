//! What Envoy's configuration says of this plugin.

use crate::raw;
use crate::status::Status;

/// The plugin's configuration, at most `bytes_max` bytes of it; empty if it has none. Only in `on_configure`.
pub fn configuration(bytes_max: usize) -> Result<Vec<u8>, Status> {
    match raw::plugin_configuration(bytes_max) {
        // A plugin without a configuration has no buffer (Envoy 1.40).
        Err(Status::NotFound) => Ok(Vec::new()),
        other => other,
    }
}
