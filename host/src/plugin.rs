//! What a plugin does when Envoy calls, and what Envoy's configuration says of it.

use crate::http_call::Call;
use crate::raw;
use crate::status::Status;
use crate::stream::{Bytes, ClosedBy, StreamId, Verdict};

/// What one plugin does when Envoy calls: each method stands for one callback, and does nothing by default.
pub trait Plugin: Sized {
    /// Begins, from the plugin's configuration; none refuses it, and then so does Envoy.
    fn configured() -> Option<Self>;

    /// The period that was asked for has passed.
    fn tick(&mut self) {}

    /// An item was put into a queue that this plugin registered.
    fn queue_ready(&mut self) {}

    /// An answer to a call came; `with_headers` is false where it broke off.
    fn answered(&mut self, _call: Call, _with_headers: bool) {}

    /// A stream that another module reports to an access logger has ended.
    fn log_entry(&mut self) {}

    /// A stream of a filter begins.
    fn stream_created(&mut self, _stream: StreamId) {}

    /// The headers of the stream's request came.
    fn request_headers(&mut self, _stream: StreamId) -> Verdict {
        Verdict::Continue
    }

    /// The headers of the stream's response came.
    fn response_headers(&mut self, _stream: StreamId) {}

    /// Bytes of the stream came, `size` of them.
    fn bytes(&mut self, _stream: StreamId, _bytes: Bytes, _size: u32) {}

    /// The stream is a TCP connection, which is open now.
    fn connection_opened(&mut self, _stream: StreamId) {}

    /// The TCP connection was closed on the client's side of Envoy.
    fn connection_closed(&mut self, _stream: StreamId, _by: ClosedBy) {}

    /// The stream has ended and its attributes are complete: once for each.
    fn stream_ended(&mut self, _stream: StreamId) {}

    /// The end of the plugin.
    fn ended(&mut self) {}
}

/// The plugin's configuration, at most `bytes_max` bytes of it; empty if it has none. Only in [`Plugin::configured`].
pub fn configuration(bytes_max: usize) -> Result<Vec<u8>, Status> {
    match raw::plugin_configuration(bytes_max) {
        // A plugin without a configuration has no buffer (Envoy 1.40).
        Err(Status::NotFound) => Ok(Vec::new()),
        other => other,
    }
}
