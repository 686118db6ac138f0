//! The plugin's root context on the main thread.

use log::error;
use proxy_wasm::traits::{Context, RootContext};
use tributary_host::http_call::Call;
use tributary_host::{clock, logging, plugin};
use tributary_proto::limits::CONFIGURATION_BYTES_MAX;

use crate::config::ServiceConfig;
use crate::service::{self, Service};

/// The root context of the service; without a service until it is configured.
#[derive(Default)]
pub struct ServiceRoot {
    service: Option<Service>,
}

impl Context for ServiceRoot {
    fn on_http_call_response(&mut self, token: u32, headers: usize, _: usize, _: usize) {
        if let Some(service) = &mut self.service {
            service.answered(Call::from_token(token), headers > 0);
        }
    }

    /// Takes over what the workers handed over while they ended. Sends nothing: at this point a call crashes Envoy 1.40.
    fn on_done(&mut self) -> bool {
        if let Some(service) = &mut self.service {
            service.finish();
        }
        true
    }
}

impl RootContext for ServiceRoot {
    fn on_vm_start(&mut self, _: usize) -> bool {
        logging::install();
        true
    }

    /// Envoy runs this first in a canary VM that it then throws away, so it may only do what can be done twice: in
    /// particular it takes nothing out of the queues.
    fn on_configure(&mut self, _: usize) -> bool {
        // One byte past the limit, so that a configuration that is too long is seen to be.
        let json = plugin::configuration(CONFIGURATION_BYTES_MAX + 1).unwrap_or_default();
        let config = match ServiceConfig::parse(&json) {
            Ok(config) => config,
            Err(problems) => {
                problems.iter().for_each(|problem| error!("configuration of the service: {problem}"));
                return false;
            }
        };
        let started = Service::new(config).and_then(|service| {
            clock::tick_every(service::TICK)?;
            Ok(service)
        });
        match started {
            Ok(service) => self.service = Some(service),
            Err(status) => {
                error!("the host gives no queues or ticks ({status:?}): nothing can be taken over")
            }
        }
        self.service.is_some()
    }

    fn on_queue_ready(&mut self, _: u32) {
        if let Some(service) = &mut self.service {
            service.drain();
        }
    }

    fn on_tick(&mut self) {
        if let Some(service) = &mut self.service {
            service.tick();
        }
    }
}
