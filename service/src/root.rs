//! The callbacks of the plugin on Envoy's main thread: the root context of the SDK.

use log::error;
use proxy_wasm::traits::{Context, RootContext, StreamContext};
use proxy_wasm::types::ContextType;
use tributary_host::http_call::{self, Call, Request};
use tributary_host::stream::ContextId;
use tributary_host::{callbacks, capability, clock, configuration, logging};

use crate::config::ServiceConfig;
use crate::http_calls::{CallError, HttpCalls};
use crate::service::{self, Service};

/// The callbacks that `service.wasm` exports. The build strips all other callbacks, and `tributary check`
/// requires these if capabilities are restricted.
pub const CALLBACKS: [&[&str]; 2] =
    [&callbacks::PLUGIN, &["proxy_on_http_call_response", "proxy_on_log", "proxy_on_queue_ready"]];

/// The root context of the plugin, which is the only plugin in its VM.
#[derive(Debug)]
pub struct ServiceRoot {
    id: ContextId,
    service: Option<Service>,
}

/// A stream of a listener to which the service is attached by mistake. The stream passes unchanged.
#[derive(Debug)]
struct UnusedStream;

impl ServiceRoot {
    /// Creates a root context for the SDK.
    pub fn boxed(context_id: u32) -> Box<dyn RootContext> {
        Box::new(Self { id: ContextId::new(context_id), service: None })
    }
}

/// The permission to send. The callbacks of ticks and responses lend it to the service; `Drop` does not.
struct Dispatcher;

impl HttpCalls for Dispatcher {
    fn send(&self, request: &Request<'_>) -> Result<Call, CallError> {
        Ok(http_call::send(request)?)
    }
}

impl Context for ServiceRoot {
    fn on_http_call_response(&mut self, token_id: u32, headers: usize, _body_size: usize, _trailers: usize) {
        if let Some(service) = &mut self.service {
            service.on_http_call_response(&Dispatcher, Call::from_token(token_id), headers > 0);
        }
    }
}

impl RootContext for ServiceRoot {
    /// Envoy runs this first in a canary VM, which it discards. So this must do nothing that cannot be
    /// repeated: it takes no items out of the queues.
    fn on_configure(&mut self, _size: usize) -> bool {
        logging::install();
        self.service = configure(self.id);
        self.service.is_some()
    }

    fn on_tick(&mut self) {
        if let Some(service) = &mut self.service {
            service.on_tick(&Dispatcher);
        }
    }

    fn on_queue_ready(&mut self, _queue_id: u32) {
        if let Some(service) = &mut self.service {
            service.on_queue_ready();
        }
    }

    /// Envoy logs streams only if the service is attached as an access logger, which does not work.
    fn on_log(&mut self) {
        log_misattached();
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::StreamContext)
    }

    /// Envoy creates a stream context only if the service is attached as a filter, which does not work.
    fn create_stream_context(&self, _context_id: u32) -> Option<Box<dyn StreamContext>> {
        log_misattached();
        Some(Box::new(UnusedStream))
    }
}

/// The SDK drops the root context in `proxy_on_delete`. By then, workers have enqueued their last batches.
impl Drop for ServiceRoot {
    fn drop(&mut self) {
        if let Some(service) = &mut self.service {
            service.shut_down();
        }
    }
}

impl Context for UnusedStream {}
impl StreamContext for UnusedStream {}

/// Logs once that the service is attached as a filter or an access logger, which does not work.
fn log_misattached() {
    static LOGGED: std::sync::Once = std::sync::Once::new();
    LOGGED.call_once(|| {
        error!(
            "service.wasm is attached as a filter or an access logger, where it counts nothing: attach it as \
             envoy.bootstrap.wasm or envoy.stat_sinks.wasm, and attach worker_filter.wasm here (logged once)"
        );
    });
}

/// Creates the service from its configuration; logs all problems and returns `None` if it is invalid.
fn configure(root: ContextId) -> Option<Service> {
    let config = configuration::read("service", ServiceConfig::parse)?;
    let is_allowed = capability::are_allowed(&[
        ("proxy_get_current_time_nanoseconds", clock::probe(), "the time is unknown"),
        // Before the callback of a response, the SDK enters the root context. It panics if Envoy withholds
        // this function.
        ("proxy_set_effective_context", root.enter(), "no response can be handled"),
        ("proxy_set_tick_period_milliseconds", clock::tick_every(service::TICK), "nothing can be exported"),
    ]);
    if !is_allowed {
        return None;
    }
    Service::new(config)
        .inspect_err(|_| capability::log_withheld("proxy_register_shared_queue", "no batch can be received"))
        .ok()
}

#[cfg(test)]
mod tests;
