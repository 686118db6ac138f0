//! The plugin as Envoy sees it: the SDK's root context, and a context for each stream of a filter.
//!
//! The SDK needs the kind of a stream at its start. `worker_filter.wasm` has no callbacks during requests,
//! so all its streams are [`StreamContext`]s: for an HTTP stream Envoy then calls nothing but
//! `on_log`. In the full module ([`IS_FULL`]) the first callback of a stream decides ([`kind`]), because
//! one root context serves both kinds where an HTTP filter and a network filter have the same configuration,
//! and because a callback of the other kind would make the SDK panic.

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

/// The callbacks that `worker_filter.wasm` exports; each costs an entry into the VM wherever it is called.
/// The build strips all others, and `tributary-check` asks for these where capabilities are restricted.
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

/// The plugin, shared with its streams; absent before `on_configure` and after `proxy_on_delete`.
type SharedPlugin = Rc<RefCell<Option<Plugin>>>;

/// One plugin in one VM.
#[derive(Debug)]
pub struct WorkerRoot {
    id: ContextId,
    plugin: SharedPlugin,
}

/// A stream of a filter.
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
        // Nothing calls the host back while it is here, so nothing has borrowed the plugin.
        if let Ok(mut shared) = self.plugin.try_borrow_mut() {
            *shared = plugin;
        }
        accepted
    }

    fn on_tick(&mut self) {
        with(&self.plugin, |plugin| plugin.worker().tick());
    }

    /// Handles an access log entry: the plugin is an access logger.
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

/// The SDK drops a root context in `proxy_on_delete`, its last callback. An export of `proxy_on_done` would
/// be an entry into the VM for each stream, too.
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

/// On HTTP/3, Envoy never calls a filter's `on_log` (1.40). A stream that was not logged ends when the SDK
/// drops it in `proxy_on_delete`, where its attributes can still be read.
impl Drop for FilterStream {
    fn drop(&mut self) {
        if !kind::is_changing() {
            self.end();
        }
    }
}

/// Calls the plugin, if there is one. Envoy re-enters a VM only for memory, so it is never borrowed already.
fn with<T>(plugin: &SharedPlugin, act: impl FnOnce(&mut Plugin) -> T) -> Option<T> {
    plugin.try_borrow_mut().ok()?.as_mut().map(act)
}

/// Calls the worker of a plugin that is a filter.
fn with_filter<T>(plugin: &SharedPlugin, act: impl FnOnce(&mut Worker<Hasher>) -> T) -> Option<T> {
    with(plugin, |plugin| plugin.filter().map(act)).flatten()
}

#[cfg(test)]
mod tests;
