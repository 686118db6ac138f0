//! What a plugin of `worker_filter_full.wasm` is: a filter, or the console.

use tributary_console::console::Console;
use tributary_host::plugin::Plugin;
use tributary_host::stream::{Bytes, StreamId, Verdict};
use tributary_plan::config::Role;
use tributary_plan::wanted::Wanted;

use crate::log_stream::LogStream;
use crate::root::{self, WorkerPlugin};

/// One plugin in one worker.
#[derive(Debug)]
pub enum RolePlugin {
    /// It measures.
    Filter(Box<WorkerPlugin>),
    /// It measures what a log tells of.
    LogStream(Box<LogStream>),
    /// It shows what was measured.
    Console(Console),
}

impl Plugin for RolePlugin {
    fn configured() -> Option<Self> {
        let config = root::config()?;
        match config.role {
            Role::Filter => WorkerPlugin::new(config).map(Box::new).map(Self::Filter),
            Role::LogStream => {
                let wanted = Wanted::new(&config.plan);
                let worker = WorkerPlugin::new(config)?.into_worker();
                Some(Self::LogStream(Box::new(LogStream::new(worker, wanted))))
            }
            Role::Console => Some(Self::Console(Console::new(config.flush.interval))),
        }
    }

    fn tick(&mut self) {
        match self {
            Self::Filter(filter) => filter.tick(),
            Self::LogStream(log) => log.worker().tick(),
            Self::Console(console) => console.tick(),
        }
    }

    fn log_entry(&mut self) {
        self.filter(WorkerPlugin::log_entry);
    }

    fn stream_created(&mut self, stream: StreamId) {
        self.filter(|filter| filter.stream_created(stream));
    }

    fn request_headers(&mut self, stream: StreamId) -> Verdict {
        match self {
            Self::Filter(filter) => filter.request_headers(stream),
            Self::LogStream(_) => Verdict::Continue,
            Self::Console(console) => console.request(stream),
        }
    }

    fn response_headers(&mut self, stream: StreamId) {
        self.filter(|filter| filter.response_headers(stream));
    }

    fn bytes(&mut self, stream: StreamId, bytes: Bytes, size: u32) {
        match self {
            Self::Filter(filter) => filter.bytes(stream, bytes, size),
            Self::LogStream(log) if bytes == Bytes::FromClient => log.bytes(stream, size),
            Self::LogStream(_) | Self::Console(_) => {}
        }
    }

    fn connection_opened(&mut self, stream: StreamId) {
        self.filter(|filter| filter.connection_opened(stream));
    }

    fn stream_ended(&mut self, stream: StreamId) {
        match self {
            Self::Filter(filter) => filter.stream_ended(stream),
            Self::LogStream(log) => log.closed(stream),
            Self::Console(console) => console.stream_ended(stream),
        }
    }

    fn ended(&mut self) {
        match self {
            Self::Filter(filter) => filter.ended(),
            Self::LogStream(log) => log.worker().finish(),
            Self::Console(_) => {}
        }
    }
}

impl RolePlugin {
    /// What only a filter does.
    fn filter(&mut self, act: impl FnOnce(&mut WorkerPlugin)) {
        if let Self::Filter(filter) = self {
            act(filter);
        }
    }
}
