//! A plugin in its own VM. It is called as Envoy calls it, through the callbacks that the SDK exports.
//!
//! All VMs of a thread share the SDK's dispatcher, which distinguishes their contexts by number. Numbers are
//! never reused.
#![allow(unsafe_code)]

use std::cell::Cell;

use proxy_wasm::types::{Action, NewRootContext};

use super::{FakeResponse, with};
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

/// A plugin, identified by its root context. Dropping it simulates a trap: later calls have no effect.
#[derive(Debug)]
pub struct Vm(u32);

/// An HTTP stream or TCP connection of a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream(u32);

impl Vm {
    /// Creates a plugin that is not configured yet.
    pub fn new(new_root: NewRootContext) -> Self {
        proxy_wasm::set_root_context(new_root);
        let vm = Self(next_context());
        proxy_on_context_create(vm.0, 0);
        vm
    }

    /// Creates and configures a plugin. Returns `None` if it rejects the configuration.
    pub fn start(new_root: NewRootContext, configuration: &[u8]) -> Option<Self> {
        Some(Self::new(new_root)).filter(|vm| vm.configure(configuration))
    }

    /// Configures the plugin. Returns false if it rejects the configuration.
    pub fn configure(&self, configuration: &[u8]) -> bool {
        with(|host| {
            host.streams.roots.insert(self.0);
            host.configuration = configuration.to_vec();
        });
        proxy_on_configure(self.0, configuration.len())
    }

    /// Calls `on_tick`.
    pub fn tick(&self) {
        proxy_on_tick(self.0);
    }

    /// Calls `on_queue_ready`.
    pub fn queue_ready(&self) {
        proxy_on_queue_ready(self.0, 0);
    }

    /// Calls `on_log` of an access logger.
    pub fn log(&self) {
        proxy_on_log(self.0);
    }

    /// Calls `on_http_call_response`. `None` is a response that was reset after its headers. Does nothing if
    /// the call already has a response, because Envoy gives each call one response.
    pub fn respond(&self, token: u32, response: Option<FakeResponse>) {
        if !with(|host| host.calls_in_flight.remove(&token)) {
            return;
        }
        let (headers, body) =
            response.as_ref().map_or((0, 0), |response| (response.headers.len(), response.body.len()));
        with(|host| host.response = response);
        proxy_on_http_call_response(self.0, token, headers, body, 0);
        with(|host| host.response = None);
    }

    /// Creates an HTTP stream of a filter.
    pub fn http_stream(&self) -> Stream {
        with(|host| host.streams.attributes.insert("request.protocol".to_owned(), b"HTTP/1.1".to_vec()));
        self.stream()
    }

    /// Creates a TCP connection of a filter, which has no protocol.
    pub fn connection(&self) -> Stream {
        with(|host| host.streams.attributes.remove("request.protocol"));
        self.stream()
    }

    /// Creates an HTTP/3 connection of a network filter, which has a protocol.
    pub fn quic_connection(&self) -> Stream {
        with(|host| host.streams.attributes.insert("request.protocol".to_owned(), b"HTTP/3".to_vec()));
        self.stream()
    }

    /// Creates the TCP tunnel of an upstream HTTP filter, which has no protocol.
    pub fn tunnel(&self) -> Stream {
        self.connection()
    }

    fn stream(&self) -> Stream {
        let stream = next_context();
        with(|host| host.streams.open.insert(stream, host.streams.attributes.clone()));
        proxy_on_context_create(stream, self.0);
        Stream(stream)
    }

    /// Deletes the plugin through its callbacks, as Envoy deletes a plugin that has not trapped.
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
    /// Returns the number of the stream.
    pub fn context(self) -> u32 {
        self.0
    }

    /// Calls `on_new_connection`.
    pub fn new_connection(self) -> Action {
        raw::tributary_on_new_connection(self.0)
    }

    /// Calls `on_downstream_data` with [`super::FakeHost::bytes`].
    pub fn downstream_data(self, size: usize) -> Action {
        raw::tributary_on_downstream_data(self.0, size, false)
    }

    /// Calls `on_upstream_data`.
    pub fn upstream_data(self, size: usize) -> Action {
        raw::tributary_on_upstream_data(self.0, size, false)
    }

    /// Calls `on_http_request_headers`.
    pub fn request_headers(self) -> Action {
        proxy_on_request_headers(self.0, 1, false)
    }

    /// Calls `on_http_request_body`.
    pub fn request_body(self, size: usize) -> Action {
        proxy_on_request_body(self.0, size, false)
    }

    /// Calls `on_http_response_headers`.
    pub fn response_headers(self) -> Action {
        proxy_on_response_headers(self.0, 1, false)
    }

    /// Calls `on_http_response_body`.
    pub fn response_body(self, size: usize) -> Action {
        proxy_on_response_body(self.0, size, false)
    }

    /// Calls `on_log` of the stream, which has ended.
    pub fn log(self) {
        proxy_on_log(self.0);
    }

    /// Deletes the stream: the last callback, and the only one at the end of an HTTP/3 stream.
    pub fn delete(self) {
        proxy_on_delete(self.0);
        with(|host| host.streams.open.remove(&self.0));
    }
}

fn next_context() -> u32 {
    CONTEXTS.replace(CONTEXTS.get().wrapping_add(1)).wrapping_add(1)
}
