//! Reading JSON, in one place: the reader is generic, and each place that named it would have a copy in the module.

use serde_json::Value;

/// The value that `bytes` write, or why they write none. Nesting is bounded by the reader, to 128 levels.
pub fn read(bytes: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}
