//! The callbacks of the plugin: the SDK's root context, and a context for each request.
//!
//! If the console is attached as a network filter by mistake, its streams are TCP connections. The SDK
//! would panic in their callbacks if they had an HTTP context. So the first callback of a stream decides
//! its kind ([`kind`]).

use std::cell::RefCell;
use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext, StreamContext};
use proxy_wasm::types::{Action, ContextType};
use tributary_host::stream::ContextId;
use tributary_host::{callbacks, capability, clock, configuration, headers, kind, logging};

use crate::config::ConsoleConfig;
use crate::console::Console;

/// The callbacks that `console.wasm` exports. The build strips all other callbacks, and `tributary check`
/// requires these if capabilities are restricted.
pub const CALLBACKS: [&[&str]; 2] =
    [&callbacks::PLUGIN, &["proxy_on_log", "proxy_on_new_connection", "proxy_on_request_headers"]];

/// The console of a root context and its streams; absent until a configuration was accepted.
type SharedConsole = Rc<RefCell<Option<Console>>>;

/// The root context of one console in one VM.
#[derive(Debug)]
pub struct ConsoleRoot {
    id: ContextId,
    console: SharedConsole,
}

/// The context of a request; or of a connection, if the console is attached as a network filter by mistake.
#[derive(Debug)]
struct ConsoleStream {
    id: ContextId,
    console: SharedConsole,
}

impl ConsoleRoot {
    /// Creates the root context of a plugin, for the SDK.
    pub fn boxed(context_id: u32) -> Box<dyn RootContext> {
        Box::new(Self { id: ContextId::new(context_id), console: SharedConsole::default() })
    }

    fn stream(&self, context_id: u32) -> Box<ConsoleStream> {
        Box::new(ConsoleStream { id: ContextId::new(context_id), console: Rc::clone(&self.console) })
    }
}

impl Context for ConsoleRoot {}

impl RootContext for ConsoleRoot {
    fn on_configure(&mut self, _size: usize) -> bool {
        logging::install();
        let console = configure(self.id);
        let accepted = console.is_some();
        if let Ok(mut shared) = self.console.try_borrow_mut() {
            *shared = console;
        }
        accepted
    }

    fn on_tick(&mut self) {
        with(&self.console, Console::tick);
    }

    /// Envoy calls this only if the console is attached as an access logger by mistake.
    fn on_log(&mut self) {
        with(&self.console, Console::misattached);
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(kind::of_new_stream())
    }

    fn create_http_context(&self, context_id: u32) -> Option<Box<dyn HttpContext>> {
        kind::created(ContextId::new(context_id), self.id);
        Some(self.stream(context_id))
    }

    fn create_stream_context(&self, context_id: u32) -> Option<Box<dyn StreamContext>> {
        Some(self.stream(context_id))
    }
}

impl Context for ConsoleStream {}

impl HttpContext for ConsoleStream {
    fn on_http_request_headers(&mut self, _headers: usize, _end_of_stream: bool) -> Action {
        with(&self.console, |console| console.request(self.id)).unwrap_or(Action::Continue)
    }

    fn on_log(&mut self) {
        with(&self.console, |console| console.stream_ended(self.id));
    }
}

impl StreamContext for ConsoleStream {
    fn on_new_connection(&mut self) -> Action {
        with(&self.console, Console::misattached);
        Action::Continue
    }
}

/// The SDK drops a stream in `proxy_on_delete`, the only callback at the end of an HTTP/3 request (Envoy
/// 1.40).
impl Drop for ConsoleStream {
    fn drop(&mut self) {
        with(&self.console, |console| console.stream_ended(self.id));
    }
}

/// Calls `act` with the console, if a configuration was accepted. While a callback runs, Envoy enters the
/// VM again only to allocate memory, so the console is never borrowed twice.
fn with<T>(console: &SharedConsole, act: impl FnOnce(&mut Console) -> T) -> Option<T> {
    console.try_borrow_mut().ok()?.as_mut().map(act)
}

/// Creates the console of a root context. Logs the problems and returns `None` if it cannot run.
fn configure(root: ContextId) -> Option<Console> {
    let config = configuration::read("console", ConsoleConfig::parse)?;
    let is_allowed = capability::are_allowed(&[
        ("proxy_get_current_time_nanoseconds", clock::probe(), "the time is unknown"),
        (
            "proxy_set_tick_period_milliseconds",
            clock::tick_every(config.flush_interval),
            "no waiting request gets a response",
        ),
        ("proxy_get_header_map_pairs", headers::probe(), "no request can be read"),
        ("proxy_send_local_response", headers::probe_respond(), "no request gets a response"),
        ("proxy_set_effective_context", root.enter(), "no waiting request gets a response"),
    ]);
    is_allowed.then(|| Console::new(config.flush_interval))
}

#[cfg(test)]
mod tests;
