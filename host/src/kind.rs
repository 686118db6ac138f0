//! Distinguishes HTTP streams from TCP connections in a module that handles both.
//!
//! The SDK needs the kind when Envoy creates the context of a stream, and panics on a callback of the other
//! kind. No attribute is reliable at that time: an HTTP/3 connection has a protocol, like a request; a TCP
//! tunnel through an upstream HTTP filter has no protocol, like a connection (Envoy 1.36.4, 1.40.0). So
//! each stream starts as an HTTP stream. The first callback of a network filter is
//! `proxy_on_new_connection`; then `raw` makes the SDK create the context again, as a connection.

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

/// Returns the kind of the context that is being created, for `get_type`.
pub fn of_new_stream() -> ContextType {
    if IS_CHANGING.get() { ContextType::StreamContext } else { ContextType::HttpContext }
}

/// Records a new HTTP stream. It can turn out to be a TCP connection later.
pub fn created(stream: ContextId, root: ContextId) {
    LAST.set(Some((stream, root)));
}

/// Returns whether the context of a stream is being replaced. The stream neither starts nor ends during this.
pub fn is_changing() -> bool {
    IS_CHANGING.get()
}

/// Turns a stream into a TCP connection, in its first callback.
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

/// Returns whether TCP data can be handled. It cannot if `capability_restriction_config` withholds
/// `proxy_on_new_connection`.
pub(crate) fn has_connections() -> bool {
    HAS_CONNECTIONS.get()
}
