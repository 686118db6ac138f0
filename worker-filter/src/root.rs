//! The plugin in one worker: Envoy's callbacks, and what the worker does with each.

use log::error;
use tributary_host::clock;
use tributary_host::plugin::{self, Plugin};
use tributary_host::random::{self, Hasher};
use tributary_host::stream::StreamId;
use tributary_proto::limits::CONFIGURATION_BYTES_MAX;

use crate::config::WorkerConfig;
use crate::worker::Worker;

/// One plugin in one worker.
#[derive(Debug)]
pub struct WorkerPlugin(Worker<Hasher>);

impl Plugin for WorkerPlugin {
    fn configured() -> Option<Self> {
        // One byte past the limit, so that a configuration that is too long is seen to be.
        let json = plugin::configuration(CONFIGURATION_BYTES_MAX + 1).unwrap_or_default();
        let config = match WorkerConfig::parse(&json) {
            Ok(config) => config,
            Err(problems) => {
                problems.iter().for_each(|problem| error!("configuration of the worker filter: {problem}"));
                return None;
            }
        };
        if let Err(status) = clock::tick_every(config.flush.interval) {
            error!("the host gives no ticks ({status:?}): nothing could ever be handed over");
            return None;
        }
        let producer = random::number().unwrap_or_else(|_| clock::now_unix_nano());
        Some(Self(Worker::new(config, producer, random::hasher())))
    }

    fn tick(&mut self) {
        self.0.flush();
    }

    fn log_entry(&mut self) {
        self.0.observe();
    }

    fn stream_ended(&mut self, _: StreamId) {
        self.0.observe();
    }

    /// The last fold. The module need not export `proxy_on_done` for it, which would be an entry into the VM for each
    /// stream.
    fn ended(&mut self) {
        self.0.flush();
    }
}
