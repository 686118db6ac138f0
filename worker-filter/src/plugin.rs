//! The plugin of a root context. Its configuration decides whether it measures streams as a filter or
//! access logger, or receives a log stream.

use log::error;
use proxy_wasm::types::{BufferType, Status};
use tributary_host::random::{self, Hasher};
use tributary_host::stream::ContextId;
use tributary_host::{attributes, capability, clock, configuration};
use tributary_plan::IS_FULL;
use tributary_plan::config::WorkerConfig;
use tributary_plan::log_schema::LogSchema;
use tributary_proto::config::quoted;

use crate::log_stream::LogStream;
use crate::reading::BadExpression;
use crate::worker::Worker;

/// One plugin in one worker.
#[derive(Debug)]
pub enum Plugin {
    /// The plugin measures the streams for which Envoy calls it.
    Filter(Box<Worker<Hasher>>),
    /// The plugin measures the requests that Envoy's own access logger sends to it.
    LogStream(Box<LogStream>),
}

impl Plugin {
    /// Creates the plugin from the configuration of the current root context. If Envoy must reject the
    /// configuration, logs the reason and returns `None`.
    pub fn configure() -> Option<Self> {
        let config = config()?;
        let (time, ticks) = (clock::probe(), clock::tick_every(config.flush.interval));
        let is_allowed = capability::are_allowed(&[
            ("proxy_get_current_time_nanoseconds", time, "the time is unknown"),
            ("proxy_set_tick_period_milliseconds", ticks, "nothing can be flushed"),
        ]);
        if !is_allowed {
            return None;
        }
        if config.log_stream {
            let schema = LogSchema::new(&config.plan);
            return Some(Self::LogStream(Box::new(LogStream::new(worker(config)?, schema))));
        }
        worker(config).map(Box::new).map(Self::Filter)
    }

    /// Handles an access log entry: Envoy calls this if the plugin is an access logger.
    pub fn on_log_entry(&mut self) {
        match self {
            Self::Filter(worker) => worker.log_entry(),
            Self::LogStream(log) => log.misattached(),
        }
    }

    /// Handles `size` bytes of a body or a connection.
    pub fn on_data(&mut self, stream: ContextId, buffer: BufferType, size: usize) {
        match self {
            // Ignores empty chunks: Envoy 1.40 calls once more at the end of a stream.
            Self::Filter(worker) if IS_FULL && size > 0 => worker.data(stream, buffer),
            Self::LogStream(log) if buffer == BufferType::DownstreamData => log.data(stream, size),
            Self::Filter(_) | Self::LogStream(_) => {}
        }
    }

    /// Handles the end of a filter's stream; called once for each stream. `is_connection` is false for an
    /// HTTP stream.
    pub fn on_stream_end(&mut self, stream: ContextId, is_connection: bool) {
        match self {
            Self::Filter(worker) => worker.stream_ended(stream, is_connection),
            Self::LogStream(log) => log.stream_ended(stream, is_connection),
        }
    }

    /// Returns the worker, or `None` if the plugin receives a log stream.
    pub fn filter(&mut self) -> Option<&mut Worker<Hasher>> {
        match self {
            Self::Filter(worker) => Some(worker),
            Self::LogStream(_) => None,
        }
    }

    /// Returns the worker, also if the plugin receives a log stream.
    pub fn worker(&mut self) -> &mut Worker<Hasher> {
        match self {
            Self::Filter(worker) => worker,
            Self::LogStream(log) => log.worker(),
        }
    }
}

fn config() -> Option<WorkerConfig> {
    let node = |path: &str| {
        let value = attributes::property(format!("xds\0node\0{path}").as_bytes()).ok()?;
        Some(String::from_utf8_lossy(&value).into_owned())
    };
    configuration::read("worker filter", |json| WorkerConfig::parse_for(json, &node))
}

/// Creates a worker with this configuration. If Envoy rejects an expression in it, logs the expression and
/// returns `None`.
fn worker(config: WorkerConfig) -> Option<Worker<Hasher>> {
    let producers = [0, 1, 2].map(|at| random::number().unwrap_or_else(|_| clock::now_unix_nano() ^ at));
    let BadExpression { source, status } = match Worker::new(config, producers, random::hasher()) {
        Ok(worker) => return Some(worker),
        Err(error) => error,
    };
    if status == Status::InternalFailure {
        capability::log_withheld("proxy_call_foreign_function", "no CEL expression can be evaluated");
    } else {
        error!(
            "configuration of the worker filter: Envoy cannot compile the CEL expression {}: search this log for \
             the reason",
            quoted(source.written())
        );
    }
    None
}
