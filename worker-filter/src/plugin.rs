//! What a plugin is, by its configuration: a filter or access logger that measures, the receiver of a log
//! stream, or the console.

use log::error;
use proxy_wasm::types::Status;
#[cfg(feature = "full")]
use proxy_wasm::types::{Action, BufferType};
#[cfg(feature = "full")]
use tributary_console::console::Console;
#[cfg(feature = "full")]
use tributary_host::headers;
use tributary_host::random::{self, Hasher};
use tributary_host::stream::ContextId;
use tributary_host::{attributes, buffer, capability, clock};
use tributary_plan::config::WorkerConfig;
#[cfg(feature = "full")]
use tributary_plan::{config::Role, log_schema::LogSchema};
use tributary_proto::config::quoted;
use tributary_proto::limits::CONFIGURATION_BYTES_MAX;

#[cfg(feature = "full")]
use crate::log_stream::LogStream;
use crate::reading::BadExpression;
use crate::worker::Worker;

/// One plugin in one worker.
#[derive(Debug)]
pub enum Plugin {
    /// It measures the streams that Envoy calls it for.
    Filter(Box<Worker<Hasher>>),
    /// It measures the requests that Envoy's own access logger sends it.
    #[cfg(feature = "full")]
    LogStream(Box<LogStream>),
    /// It answers the requests of its listener.
    #[cfg(feature = "full")]
    Console(Console),
}

impl Plugin {
    /// The plugin of a root context, by its configuration; what is wrong with that is logged.
    pub fn configure(root: ContextId) -> Option<Self> {
        let config = config()?;
        if !may_run(root, &config) {
            return None;
        }
        #[cfg(feature = "full")]
        match config.role {
            Role::Filter => {}
            Role::LogStream => {
                let wanted = LogSchema::new(&config.plan);
                return Some(Self::LogStream(Box::new(LogStream::new(worker(config)?, wanted))));
            }
            Role::Console => return Some(Self::Console(Console::new(config.flush.interval))),
        }
        worker(config).map(Box::new).map(Self::Filter)
    }

    /// The period of ticks has passed.
    pub fn on_tick(&mut self) {
        match self {
            Self::Filter(worker) => worker.tick(),
            #[cfg(feature = "full")]
            Self::LogStream(log) => log.worker().tick(),
            #[cfg(feature = "full")]
            Self::Console(console) => console.tick(),
        }
    }

    /// A stream is logged: the plugin is an access logger.
    pub fn on_log_entry(&mut self) {
        match self {
            Self::Filter(worker) => worker.log_entry(),
            #[cfg(feature = "full")]
            Self::LogStream(log) => log.misattached(),
            #[cfg(feature = "full")]
            Self::Console(console) => console.misattached(),
        }
    }

    /// A stream of a filter begins.
    pub fn on_stream_create(&mut self) {
        if let Some(worker) = self.filter() {
            worker.stream_created();
        }
    }

    /// A TCP connection of a filter is open.
    pub fn on_new_connection(&mut self, stream: ContextId) {
        match self {
            Self::Filter(worker) => worker.connection_opened(stream),
            #[cfg(feature = "full")]
            Self::LogStream(_) => {}
            #[cfg(feature = "full")]
            Self::Console(console) => console.misattached(),
        }
    }

    /// A stream of a filter has ended: once for each.
    pub fn on_stream_end(&mut self, stream: ContextId, is_connection: bool) {
        match self {
            Self::Filter(worker) => worker.stream_ended(stream, is_connection),
            #[cfg(feature = "full")]
            Self::LogStream(log) => log.stream_ended(stream, is_connection),
            #[cfg(feature = "full")]
            Self::Console(console) => console.stream_ended(stream),
        }
    }

    /// The plugin ends: what a worker has, it hands over.
    pub fn finish(&mut self) {
        match self {
            Self::Filter(worker) => worker.finish(),
            #[cfg(feature = "full")]
            Self::LogStream(log) => log.worker().finish(),
            #[cfg(feature = "full")]
            Self::Console(_) => {}
        }
    }

    fn filter(&mut self) -> Option<&mut Worker<Hasher>> {
        match self {
            Self::Filter(worker) => Some(worker),
            #[cfg(feature = "full")]
            Self::LogStream(_) | Self::Console(_) => None,
        }
    }
}

#[cfg(feature = "full")]
impl Plugin {
    /// The headers of an HTTP request came.
    pub fn on_request_headers(&mut self, stream: ContextId) -> Action {
        match self {
            Self::Filter(worker) => worker.request_headers(stream),
            Self::LogStream(_) => Action::Continue,
            Self::Console(console) => console.request(stream),
        }
    }

    /// The headers of an HTTP response came.
    pub fn on_response_headers(&mut self, stream: ContextId) {
        if let Some(worker) = self.filter() {
            worker.response_headers(stream);
        }
    }

    /// `size` bytes of a body or of a connection came.
    pub fn on_data(&mut self, stream: ContextId, buffer: BufferType, size: usize) {
        match self {
            // Ignores empty chunks: Envoy 1.40 calls once more at the end of a stream.
            Self::Filter(worker) if size > 0 => worker.data(stream, buffer),
            Self::LogStream(log) if buffer == BufferType::DownstreamData => log.data(stream, size),
            Self::Filter(_) | Self::LogStream(_) | Self::Console(_) => {}
        }
    }
}

fn config() -> Option<WorkerConfig> {
    // One byte past the limit, so that a configuration that is too long is seen to be.
    let bytes = match buffer::plugin_configuration(CONFIGURATION_BYTES_MAX + 1) {
        Ok(bytes) => bytes,
        Err(status) => {
            error!(
                "the host withholds the configuration of the worker filter ({status:?}): does \
                 capability_restriction_config allow proxy_get_buffer_bytes?"
            );
            return None;
        }
    };
    let node = |path: &str| {
        let value = attributes::property(format!("xds\0node\0{path}").as_bytes()).ok()?;
        Some(String::from_utf8_lossy(&value).into_owned())
    };
    match WorkerConfig::parse_for(&bytes, &node) {
        Ok(config) => Some(config),
        Err(problems) => {
            problems.iter().for_each(|problem| error!("configuration of the worker filter: {problem}"));
            None
        }
    }
}

/// Whether the host lets a plugin call what it cannot do without.
#[cfg_attr(
    not(feature = "full"),
    expect(unused_variables, reason = "a console answers from its root context")
)]
fn may_run(root: ContextId, config: &WorkerConfig) -> bool {
    #[cfg_attr(not(feature = "full"), expect(unused_mut, reason = "there are more in the full module"))]
    let mut probes = vec![
        ("proxy_get_current_time_nanoseconds", clock::probe(), "no time is known"),
        (
            "proxy_set_tick_period_milliseconds",
            clock::tick_every(config.flush.interval),
            "nothing is ever done",
        ),
    ];
    #[cfg(feature = "full")]
    if config.role == Role::Console {
        probes.extend([
            ("proxy_get_header_map_pairs", headers::probe(), "no request can be read"),
            ("proxy_send_local_response", headers::probe_respond(), "no request can be answered"),
            ("proxy_set_effective_context", root.enter(), "no request that waits can be answered"),
        ]);
    }
    capability::are_allowed(&probes)
}

/// A worker with this configuration; none if Envoy refuses an expression in it.
fn worker(config: WorkerConfig) -> Option<Worker<Hasher>> {
    let producers = [0, 1, 2].map(|at| random::number().unwrap_or_else(|_| clock::now_unix_nano() ^ at));
    match Worker::new(config, producers, random::hasher()) {
        Ok(worker) => Some(worker),
        Err(BadExpression { status: Status::InternalFailure, .. }) => {
            capability::log_withheld("proxy_call_foreign_function", "no CEL expression can be evaluated");
            None
        }
        Err(BadExpression { source, status }) => {
            error!(
                "configuration of the worker filter: found {}, allowed: a CEL expression that Envoy compiles; it answered \
                 {status:?}",
                quoted(source.written())
            );
            None
        }
    }
}
