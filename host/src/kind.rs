//! Whether a stream is an HTTP stream or a TCP connection, for a module that takes both.
//!
//! The SDK asks this when Envoy creates the stream's context, and panics on a callback of the other kind. No attribute answers it
//! reliably at that time: a connection of HTTP/3 has a protocol like a request, and a tunnel of TCP through an upstream HTTP filter
//! has none, like a connection (Envoy 1.36.4, 1.40.0). So each stream starts as an HTTP stream. A network filter is called
//! first with `proxy_on_new_connection`: then `raw` has the SDK create the context again, as that of a connection.

use std::cell::Cell;

use proxy_wasm::types::ContextType;

use crate::raw;
use crate::stream::ContextId;

thread_local! {
    /// The stream whose context was created last, and its root context.
    static LAST: Cell<Option<(ContextId, ContextId)>> = const { Cell::new(None) };
    static IS_CHANGING: Cell<bool> = const { Cell::new(false) };
    static HAS_CONNECTIONS: Cell<bool> = const { Cell::new(false) };
}

/// The kind of the stream whose context is being created: the answer to `get_type`.
pub fn of_new_stream() -> ContextType {
    if IS_CHANGING.get() { ContextType::StreamContext } else { ContextType::HttpContext }
}

/// Remembers an HTTP stream, which may turn out to be a connection.
pub fn created(stream: ContextId, root: ContextId) {
    LAST.set(Some((stream, root)));
}

/// Whether the context of a stream is being replaced by one of the other kind: the stream neither begins nor ends.
pub fn is_changing() -> bool {
    IS_CHANGING.get()
}

/// Makes a stream a connection, in its first callback.
pub(crate) fn connection_opened(stream: ContextId) {
    HAS_CONNECTIONS.set(true);
    if let Some((last, root)) = LAST.take()
        && last == stream
    {
        IS_CHANGING.set(true);
        raw::create_context_again(stream, root);
        IS_CHANGING.set(false);
    }
}

/// Whether data of connections can be taken: not where `capability_restriction_config` withholds `proxy_on_new_connection`.
pub(crate) fn has_connections() -> bool {
    HAS_CONNECTIONS.get()
}
