//! A plugin in a VM of its own, driven as Envoy drives it: through the callbacks that the SDK exports.
//!
//! All VMs of a thread share the SDK's dispatcher, which keeps their contexts apart by number; numbers are never given twice.
#![allow(unsafe_code)]

use std::cell::Cell;

use proxy_wasm::types::{Action, NewRootContext};

use super::{FakeAnswer, with};
use crate::raw;

unsafe extern "C" {
    safe fn proxy_on_context_create(context_id: u32, root_context_id: u32);
    safe fn proxy_on_configure(context_id: u32, configuration_size: usize) -> bool;
    safe fn proxy_on_tick(context_id: u32);
    safe fn proxy_on_queue_ready(context_id: u32, queue_id: u32);
    safe fn proxy_on_log(context_id: u32);
    safe fn proxy_on_delete(context_id: u32);
    safe fn proxy_on_request_headers(context_id: u32, headers: usize, end_of_stream: bool) -> Action;
    safe fn proxy_on_request_body(context_id: u32, size: usize, end_of_stream: bool) -> Action;
    safe fn proxy_on_response_headers(context_id: u32, headers: usize, end_of_stream: bool) -> Action;
    safe fn proxy_on_response_body(context_id: u32, size: usize, end_of_stream: bool) -> Action;
    safe fn proxy_on_http_call_response(
        context_id: u32,
        token_id: u32,
        headers: usize,
        body_size: usize,
        trailers: usize,
    );
}

thread_local! {
    static CONTEXTS: Cell<u32> = const { Cell::new(0) };
}

/// One plugin, by its root context. Dropping it is a trap: what the plugin does from then on reaches nobody.
#[derive(Debug)]
pub struct Vm(u32);

/// One HTTP stream or TCP connection of a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream(u32);

impl Vm {
    /// A plugin without a configuration yet.
    pub fn new(new_root: NewRootContext) -> Self {
        proxy_wasm::set_root_context(new_root);
        let vm = Self(next_context());
        proxy_on_context_create(vm.0, 0);
        vm
    }

    /// A plugin with this configuration; none if it refuses that.
    pub fn start(new_root: NewRootContext, configuration: &[u8]) -> Option<Self> {
        Some(Self::new(new_root)).filter(|vm| vm.configure(configuration))
    }

    /// Configures the plugin; false if it refuses.
    pub fn configure(&self, configuration: &[u8]) -> bool {
        with(|host| {
            host.streams.roots.insert(self.0);
            host.configuration = configuration.to_vec();
        });
        proxy_on_configure(self.0, configuration.len())
    }

    /// The period of ticks has passed.
    pub fn tick(&self) {
        proxy_on_tick(self.0);
    }

    /// An item was put into a queue that the plugin registered.
    pub fn queue_ready(&self) {
        proxy_on_queue_ready(self.0, 0);
    }

    /// An access log entry is written.
    pub fn log(&self) {
        proxy_on_log(self.0);
    }

    /// The answer to a call came; none if it broke off after its beginning.
    pub fn answer(&self, token: u32, answer: Option<FakeAnswer>) {
        let (headers, body) =
            answer.as_ref().map_or((0, 0), |answer| (answer.headers.len(), answer.body.len()));
        with(|host| host.answer = answer);
        proxy_on_http_call_response(self.0, token, headers, body, 0);
        with(|host| host.answer = None);
    }

    /// A filter of the plugin sees a new HTTP stream.
    pub fn http_stream(&self) -> Stream {
        with(|host| host.streams.attributes.insert("request.protocol".to_owned(), b"HTTP/1.1".to_vec()));
        self.stream()
    }

    /// A filter of the plugin sees a new TCP connection, which has no protocol.
    pub fn connection(&self) -> Stream {
        with(|host| host.streams.attributes.remove("request.protocol"));
        self.stream()
    }

    /// A filter of the plugin sees a new connection of HTTP/3, which has a protocol.
    pub fn quic_connection(&self) -> Stream {
        with(|host| host.streams.attributes.insert("request.protocol".to_owned(), b"HTTP/3".to_vec()));
        self.stream()
    }

    /// An upstream HTTP filter of the plugin sees the tunnel of a TCP connection, which has no protocol.
    pub fn tunnel(&self) -> Stream {
        self.connection()
    }

    fn stream(&self) -> Stream {
        let stream = next_context();
        with(|host| host.streams.open.insert(stream, host.streams.attributes.clone()));
        proxy_on_context_create(stream, self.0);
        Stream(stream)
    }

    /// Ends the plugin in order.
    pub fn delete(self) {
        proxy_on_delete(self.0);
        with(|host| host.streams.roots.remove(&self.0));
        std::mem::forget(self);
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        with(|host| {
            host.streams.roots.remove(&self.0);
            host.is_cut_off = true;
        });
        proxy_on_delete(self.0);
        with(|host| host.is_cut_off = false);
    }
}

impl Stream {
    /// The host's number of the stream.
    pub fn context(self) -> u32 {
        self.0
    }

    /// A TCP connection is open.
    pub fn new_connection(self) -> Action {
        raw::tributary_on_new_connection(self.0)
    }

    /// Bytes of a TCP connection came from the client; they are [`super::FakeHost::bytes`].
    pub fn downstream_data(self, size: usize) -> Action {
        raw::tributary_on_downstream_data(self.0, size, false)
    }

    /// Bytes of a TCP connection came from the upstream.
    pub fn upstream_data(self, size: usize) -> Action {
        raw::tributary_on_upstream_data(self.0, size, false)
    }

    /// The headers of an HTTP request came.
    pub fn request_headers(self) -> Action {
        proxy_on_request_headers(self.0, 1, false)
    }

    /// Bytes of the body of an HTTP request came.
    pub fn request_body(self, size: usize) -> Action {
        proxy_on_request_body(self.0, size, false)
    }

    /// The headers of an HTTP response came.
    pub fn response_headers(self) -> Action {
        proxy_on_response_headers(self.0, 1, false)
    }

    /// Bytes of the body of an HTTP response came.
    pub fn response_body(self, size: usize) -> Action {
        proxy_on_response_body(self.0, size, false)
    }

    /// The stream has ended, and is logged.
    pub fn log(self) {
        proxy_on_log(self.0);
    }

    /// The host forgets the stream: the last callback, and on HTTP/3 the only one at its end.
    pub fn delete(self) {
        proxy_on_delete(self.0);
        with(|host| host.streams.open.remove(&self.0));
    }
}

fn next_context() -> u32 {
    CONTEXTS.replace(CONTEXTS.get().wrapping_add(1)).wrapping_add(1)
}
