//! The plugin as Envoy sees it: the SDK's root context on the main thread.

use log::error;
use proxy_wasm::traits::{Context, RootContext, StreamContext};
use proxy_wasm::types::ContextType;
use tributary_host::http_call::Call;
use tributary_host::stream::ContextId;
use tributary_host::{buffer, callbacks, capability, clock, logging};
use tributary_proto::limits::CONFIGURATION_BYTES_MAX;

use crate::config::ServiceConfig;
use crate::service::{self, Service};

/// The callbacks that `service.wasm` exports. The build strips all others, and `tributary-check` asks for these where
/// capabilities are restricted.
pub const CALLBACKS: [&[&str]; 2] =
    [&callbacks::PLUGIN, &["proxy_on_http_call_response", "proxy_on_log", "proxy_on_queue_ready"]];

/// The one plugin of its VM.
#[derive(Debug)]
pub struct ServiceRoot {
    id: ContextId,
    service: Option<Service>,
}

/// A stream of a listener that the service was attached to by mistake: it passes.
#[derive(Debug)]
struct UnusedStream;

impl ServiceRoot {
    /// For the SDK, which makes a root context of each plugin.
    pub fn boxed(context_id: u32) -> Box<dyn RootContext> {
        Box::new(Self { id: ContextId::new(context_id), service: None })
    }
}

impl Context for ServiceRoot {
    fn on_http_call_response(&mut self, token_id: u32, headers: usize, _body_size: usize, _trailers: usize) {
        if let Some(service) = &mut self.service {
            service.answered(Call::from_token(token_id), headers > 0);
        }
    }
}

impl RootContext for ServiceRoot {
    /// Envoy runs this first in a canary VM that it then throws away, so it may only do what can be done twice: in particular it
    /// takes nothing out of the queues.
    fn on_configure(&mut self, _size: usize) -> bool {
        logging::install();
        self.service = start(self.id);
        self.service.is_some()
    }

    fn on_tick(&mut self) {
        if let Some(service) = &mut self.service {
            service.tick();
        }
    }

    fn on_queue_ready(&mut self, _queue_id: u32) {
        if let Some(service) = &mut self.service {
            service.drain();
        }
    }

    /// Envoy logs streams only where the service is an access logger, which it cannot be.
    fn on_log(&mut self) {
        misattached();
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::StreamContext)
    }

    /// Envoy makes a context for a stream only where the service is a filter, which it cannot be.
    fn create_stream_context(&self, _context_id: u32) -> Option<Box<dyn StreamContext>> {
        misattached();
        Some(Box::new(UnusedStream))
    }
}

/// The SDK drops the root context in `proxy_on_delete`. Takes over what the workers handed over while they ended, and sends
/// nothing: at this point a call crashes Envoy 1.40.
impl Drop for ServiceRoot {
    fn drop(&mut self) {
        if let Some(service) = &mut self.service {
            service.finish();
        }
    }
}

impl Context for UnusedStream {}
impl StreamContext for UnusedStream {}

/// Logs once that the service sees streams, to which it does nothing.
fn misattached() {
    static SAID: std::sync::Once = std::sync::Once::new();
    SAID.call_once(|| {
        error!(
            "service.wasm is attached as a filter or an access logger, where it does nothing: attach it as \
             envoy.bootstrap.wasm or envoy.stat_sinks.wasm, and worker_filter.wasm here (said once)"
        );
    });
}

/// A service by its configuration; what is wrong with that is logged.
fn start(root: ContextId) -> Option<Service> {
    // One byte past the limit, so that a configuration that is too long is seen to be.
    let bytes = match buffer::plugin_configuration(CONFIGURATION_BYTES_MAX + 1) {
        Ok(bytes) => bytes,
        Err(status) => {
            error!(
                "the host withholds the configuration of the service ({status:?}): does \
                 capability_restriction_config allow proxy_get_buffer_bytes?"
            );
            return None;
        }
    };
    let config = match ServiceConfig::parse(&bytes) {
        Ok(config) => config,
        Err(problems) => {
            problems.iter().for_each(|problem| error!("configuration of the service: {problem}"));
            return None;
        }
    };
    let is_allowed = capability::are_allowed(&[
        ("proxy_get_current_time_nanoseconds", clock::probe(), "no time is known"),
        // The SDK enters the root context before it passes an answer on, and panics if it may not.
        ("proxy_set_effective_context", root.enter(), "no answer of a collector can be read"),
        ("proxy_set_tick_period_milliseconds", clock::tick_every(service::TICK), "nothing is ever sent"),
    ]);
    if !is_allowed {
        return None;
    }
    Service::new(config)
        .inspect_err(|_| capability::log_withheld("proxy_register_shared_queue", "nothing can be taken over"))
        .ok()
}

#[cfg(test)]
mod tests;
