//! The plugin in one worker: Envoy's callbacks, and what the worker does with each.

use log::error;
use tributary_host::plugin::{self, Plugin};
use tributary_host::random::{self, Hasher};
use tributary_host::stream::{Bytes, StreamId, Verdict};
use tributary_host::{attributes, clock};
use tributary_proto::config::quoted;
use tributary_proto::limits::CONFIGURATION_BYTES_MAX;

use crate::pipe::BadExpression;
use crate::worker::Worker;
use tributary_plan::config::WorkerConfig;

/// One plugin in one worker.
#[derive(Debug)]
pub struct WorkerPlugin(Worker<Hasher>);

/// The configuration of the plugin that begins; what is wrong with it is logged.
pub fn config() -> Option<WorkerConfig> {
    // One byte past the limit, so that a configuration that is too long is seen to be.
    let json = plugin::configuration(CONFIGURATION_BYTES_MAX + 1).unwrap_or_default();
    let node = |path: &str| {
        let value = attributes::property(format!("xds\0node\0{path}").as_bytes()).ok()?;
        Some(String::from_utf8_lossy(&value).into_owned())
    };
    match WorkerConfig::parse_for(&json, &node) {
        Ok(config) => Some(config),
        Err(problems) => {
            problems.iter().for_each(|problem| error!("configuration of the worker filter: {problem}"));
            None
        }
    }
}

impl WorkerPlugin {
    /// One with this configuration; none if the host refuses what it needs.
    pub fn new(config: WorkerConfig) -> Option<Self> {
        if let Err(status) = clock::tick_every(config.flush.interval) {
            error!("the host gives no ticks ({status:?}): nothing could ever be handed over");
            return None;
        }
        let producers = [0, 1, 2].map(|at| random::number().unwrap_or_else(|_| clock::now_unix_nano() ^ at));
        match Worker::new(config, producers, random::hasher()) {
            Ok(worker) => Some(Self(worker)),
            Err(BadExpression { source, status }) => {
                error!(
                    "configuration of the worker filter: found {}, allowed: a CEL expression that Envoy compiles; it \
                     answered {status:?}",
                    quoted(source.written())
                );
                None
            }
        }
    }
}

#[cfg(feature = "full")]
impl WorkerPlugin {
    /// The worker, for who tells it of streams in another way.
    pub fn into_worker(self) -> Worker<Hasher> {
        self.0
    }
}

impl Plugin for WorkerPlugin {
    fn configured() -> Option<Self> {
        Self::new(config()?)
    }

    fn tick(&mut self) {
        self.0.tick();
    }

    fn log_entry(&mut self) {
        self.0.log_entry();
    }

    fn stream_created(&mut self, _: StreamId) {
        self.0.stream_created();
    }

    fn request_headers(&mut self, stream: StreamId) -> Verdict {
        self.0.request_headers(stream)
    }

    fn response_headers(&mut self, stream: StreamId) {
        self.0.response_headers(stream);
    }

    fn bytes(&mut self, stream: StreamId, bytes: Bytes, size: u32) {
        // Of nothing there is nothing to see.
        if size > 0 {
            self.0.bytes(stream, bytes);
        }
    }

    fn connection_opened(&mut self, stream: StreamId) {
        self.0.connection_opened(stream);
    }

    fn stream_ended(&mut self, stream: StreamId) {
        self.0.stream_ended(stream);
    }

    /// The last fold. The module need not export `proxy_on_done` for it, which would be an entry into the VM for each
    /// stream.
    fn ended(&mut self) {
        self.0.finish();
    }
}
