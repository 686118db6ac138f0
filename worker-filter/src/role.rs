//! What a plugin of `worker_filter_full.wasm` is: a filter, or the console.

use tributary_console::console::Console;
use tributary_host::plugin::Plugin;
use tributary_host::stream::{Bytes, StreamId, Verdict};
use tributary_plan::config::Role;

use crate::root::{self, WorkerPlugin};

/// One plugin in one worker.
#[derive(Debug)]
pub enum RolePlugin {
    /// It measures.
    Filter(Box<WorkerPlugin>),
    /// It shows what was measured.
    Console(Console),
}

impl Plugin for RolePlugin {
    fn configured() -> Option<Self> {
        let config = root::config()?;
        match config.role {
            Role::Filter => WorkerPlugin::new(config).map(Box::new).map(Self::Filter),
            Role::Console => Some(Self::Console(Console::new(config.flush.interval))),
        }
    }

    fn tick(&mut self) {
        match self {
            Self::Filter(filter) => filter.tick(),
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
            Self::Console(console) => console.request(stream),
        }
    }

    fn response_headers(&mut self, stream: StreamId) {
        self.filter(|filter| filter.response_headers(stream));
    }

    fn bytes(&mut self, stream: StreamId, bytes: Bytes, size: u32) {
        self.filter(|filter| filter.bytes(stream, bytes, size));
    }

    fn connection_opened(&mut self, stream: StreamId) {
        self.filter(|filter| filter.connection_opened(stream));
    }

    fn stream_ended(&mut self, stream: StreamId) {
        match self {
            Self::Filter(filter) => filter.stream_ended(stream),
            Self::Console(console) => console.stream_ended(stream),
        }
    }

    fn ended(&mut self) {
        self.filter(WorkerPlugin::ended);
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
