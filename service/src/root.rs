//! The plugin on the main thread: Envoy's callbacks, and what the service does with each.

use log::error;
use tributary_host::clock;
use tributary_host::http_call::Call;
use tributary_host::plugin::{self, Plugin};
use tributary_proto::limits::CONFIGURATION_BYTES_MAX;

use crate::config::ServiceConfig;
use crate::service::{self, Service};

/// The one plugin of its VM.
#[derive(Debug)]
pub struct ServicePlugin(Service);

impl Plugin for ServicePlugin {
    /// Envoy runs this first in a canary VM that it then throws away, so it may only do what can be done twice: in
    /// particular it takes nothing out of the queues.
    fn configured() -> Option<Self> {
        // One byte past the limit, so that a configuration that is too long is seen to be.
        let json = plugin::configuration(CONFIGURATION_BYTES_MAX + 1).unwrap_or_default();
        let config = match ServiceConfig::parse(&json) {
            Ok(config) => config,
            Err(problems) => {
                problems.iter().for_each(|problem| error!("configuration of the service: {problem}"));
                return None;
            }
        };
        let started = Service::new(config).and_then(|service| {
            clock::tick_every(service::TICK)?;
            Ok(service)
        });
        match started {
            Ok(service) => Some(Self(service)),
            Err(status) => {
                error!("the host gives no queues or ticks ({status:?}): nothing can be taken over");
                None
            }
        }
    }

    fn queue_ready(&mut self) {
        self.0.drain();
    }

    fn answered(&mut self, call: Call, with_headers: bool) {
        self.0.answered(call, with_headers);
    }

    fn tick(&mut self) {
        self.0.tick();
    }

    /// Takes over what the workers handed over while they ended. Sends nothing: at this point a call crashes Envoy 1.40.
    fn ended(&mut self) {
        self.0.finish();
    }
}
