//! The callbacks of the plugin: the SDK's root context, and a context for each stream of a filter.
//!
//! When Envoy creates a stream, the SDK needs to know whether it is an HTTP stream or a TCP connection.
//! `worker_filter.wasm` exports no callbacks during HTTP requests, so all its streams are
//! [`StreamContext`]s; for an HTTP stream, Envoy then calls only `on_log`. In the full module
//! ([`IS_FULL`]), the first callback of a stream decides its kind ([`kind`]). One root context can have
//! streams of both kinds, because an HTTP filter and a network filter can have the same configuration. The
//! SDK panics if it gets a callback of the other kind.

use std::cell::RefCell;
use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext, StreamContext};
use proxy_wasm::types::{Action, BufferType, ContextType};
use tributary_host::random::Hasher;
use tributary_host::stream::ContextId;
use tributary_host::{callbacks, kind, logging};
use tributary_plan::IS_FULL;

use crate::plugin::Plugin;
use crate::worker::Worker;

/// The callbacks that `worker_filter.wasm` exports. The build strips all others, because Envoy enters the
/// VM for each callback that is exported. `tributary-check` requires these callbacks in configurations that
/// restrict capabilities.
pub const CALLBACKS: [&[&str]; 2] =
    [&callbacks::PLUGIN, &["proxy_on_downstream_data", "proxy_on_log", "proxy_on_new_connection"]];

/// The additional callbacks that `worker_filter_full.wasm` exports.
pub const CALLBACKS_FULL: &[&str] = &[
    "proxy_on_request_body",
    "proxy_on_request_headers",
    "proxy_on_response_body",
    "proxy_on_response_headers",
    "proxy_on_upstream_data",
];

/// The plugin, shared with its streams; `None` before `on_configure` and after `proxy_on_delete`.
type SharedPlugin = Rc<RefCell<Option<Plugin>>>;

/// The root context of one plugin in one VM.
#[derive(Debug)]
pub struct WorkerRoot {
    id: ContextId,
    plugin: SharedPlugin,
}

/// The context of one stream of a filter.
#[derive(Debug)]
struct FilterStream {
    id: ContextId,
    plugin: SharedPlugin,
    is_connection: bool,
    has_ended: bool,
}

impl WorkerRoot {
    /// Creates the root context of a plugin, for the SDK.
    pub fn boxed(context_id: u32) -> Box<dyn RootContext> {
        Box::new(Self { id: ContextId::new(context_id), plugin: SharedPlugin::default() })
    }

    fn stream(&self, context_id: u32) -> Box<FilterStream> {
        if !kind::is_changing() {
            with_filter(&self.plugin, Worker::stream_created);
        }
        let (id, plugin) = (ContextId::new(context_id), Rc::clone(&self.plugin));
        Box::new(FilterStream { id, plugin, is_connection: false, has_ended: false })
    }
}

impl Context for WorkerRoot {}

impl RootContext for WorkerRoot {
    fn on_configure(&mut self, _size: usize) -> bool {
        logging::install();
        let plugin = Plugin::configure();
        let accepted = plugin.is_some();
        // The plugin is not borrowed here, because Envoy calls no other callback during this callback.
        if let Ok(mut shared) = self.plugin.try_borrow_mut() {
            *shared = plugin;
        }
        accepted
    }

    fn on_tick(&mut self) {
        with(&self.plugin, |plugin| plugin.worker().tick());
    }

    /// Handles an access log entry. Envoy calls this if the plugin is an access logger.
    fn on_log(&mut self) {
        with(&self.plugin, Plugin::on_log_entry);
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(if IS_FULL { kind::of_new_stream() } else { ContextType::StreamContext })
    }

    fn create_http_context(&self, context_id: u32) -> Option<Box<dyn HttpContext>> {
        if !IS_FULL {
            return None;
        }
        kind::created(ContextId::new(context_id), self.id);
        Some(self.stream(context_id))
    }

    fn create_stream_context(&self, context_id: u32) -> Option<Box<dyn StreamContext>> {
        Some(self.stream(context_id))
    }
}

/// Flushes for the last time. The SDK drops a root context in `proxy_on_delete`, its last callback. The
/// module does not export `proxy_on_done` for this, because Envoy would also enter the VM for each stream.
impl Drop for WorkerRoot {
    fn drop(&mut self) {
        let plugin = self.plugin.try_borrow_mut().ok().and_then(|mut plugin| plugin.take());
        if let Some(mut plugin) = plugin {
            plugin.worker().finish();
        }
    }
}

impl FilterStream {
    fn end(&mut self) {
        if !std::mem::replace(&mut self.has_ended, true) {
            with(&self.plugin, |plugin| plugin.on_stream_end(self.id, self.is_connection));
        }
    }
}

impl Context for FilterStream {}

impl StreamContext for FilterStream {
    fn on_new_connection(&mut self) -> Action {
        self.is_connection = true;
        with_filter(&self.plugin, |worker| worker.connection_opened(self.id));
        Action::Continue
    }

    fn on_downstream_data(&mut self, size: usize, _end_of_stream: bool) -> Action {
        with(&self.plugin, |plugin| plugin.on_data(self.id, BufferType::DownstreamData, size));
        Action::Continue
    }

    fn on_upstream_data(&mut self, size: usize, _end_of_stream: bool) -> Action {
        with(&self.plugin, |plugin| plugin.on_data(self.id, BufferType::UpstreamData, size));
        Action::Continue
    }

    fn on_log(&mut self) {
        self.end();
    }
}

impl HttpContext for FilterStream {
    fn on_http_request_headers(&mut self, _headers: usize, _end_of_stream: bool) -> Action {
        with_filter(&self.plugin, |worker| worker.request_headers(self.id)).unwrap_or(Action::Continue)
    }

    fn on_http_request_body(&mut self, size: usize, _end_of_stream: bool) -> Action {
        with(&self.plugin, |plugin| plugin.on_data(self.id, BufferType::HttpRequestBody, size));
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _headers: usize, _end_of_stream: bool) -> Action {
        with_filter(&self.plugin, |worker| worker.response_headers(self.id));
        Action::Continue
    }

    fn on_http_response_body(&mut self, size: usize, _end_of_stream: bool) -> Action {
        with(&self.plugin, |plugin| plugin.on_data(self.id, BufferType::HttpResponseBody, size));
        Action::Continue
    }

    fn on_log(&mut self) {
        self.end();
    }
}

/// Ends a stream for which Envoy did not call `on_log`. On HTTP/3, Envoy calls it only for some streams
/// (1.40). The SDK drops the stream in `proxy_on_delete`, where its attributes can still be read.
impl Drop for FilterStream {
    fn drop(&mut self) {
        if !kind::is_changing() {
            self.end();
        }
    }
}

/// Calls `act` with the plugin, if there is one. The plugin is never borrowed already, because Envoy
/// re-enters a VM only to allocate memory.
fn with<T>(plugin: &SharedPlugin, act: impl FnOnce(&mut Plugin) -> T) -> Option<T> {
    plugin.try_borrow_mut().ok()?.as_mut().map(act)
}

/// Calls `act` with the worker, unless the plugin receives a log stream.
fn with_filter<T>(plugin: &SharedPlugin, act: impl FnOnce(&mut Worker<Hasher>) -> T) -> Option<T> {
    with(plugin, |plugin| plugin.filter().map(act)).flatten()
}

#[cfg(test)]
mod tests;
