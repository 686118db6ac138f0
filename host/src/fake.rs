//! Envoy in memory, for native tests: each thread has one, and the crate's calls go to it.
//!
//! It keeps to the real host's semantics where they surprise: any write creates an absent key, each enqueue is one notice
//! to whoever registered last, an item may be empty, an absent attribute fails a whole expression.

mod cel;
pub mod queues;
pub mod store;
pub mod streams;

pub(crate) mod calls;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use queues::Queues;
use store::Store;
use streams::Streams;

use crate::headers::Side;
use crate::logging::Level;

/// A process of Envoy with all its shared state.
#[derive(Debug, Default)]
pub struct FakeHost {
    /// Shared data.
    pub store: Store,
    /// Shared queues.
    pub queues: Queues,
    /// Attributes of the current stream, and compiled expressions.
    pub streams: Streams,
    /// The VM that is running: the consumer of what it registers.
    pub vm: String,
    /// What `on_configure` reads.
    pub configuration: Vec<u8>,
    /// The wall clock.
    pub now_unix_nano: u64,
    /// How far the wall clock goes on each time somebody looks at it.
    pub clock_step_ns: u64,
    /// What was logged.
    pub log: Vec<(Level, String)>,
    /// The ticks that were asked for.
    pub tick_period: Option<Duration>,
    /// Headers of the current stream.
    pub headers: BTreeMap<Side, Vec<(String, String)>>,
    /// If set, what all headers of either side are said to be, in the host's wire form.
    pub wire_headers: Option<Vec<u8>>,
    /// Requests that were answered here: status and body.
    pub responses: Vec<(u16, String)>,
    /// The headers of the last of them.
    pub response_headers: Vec<(String, String)>,
    /// Bytes that pass through the current stream.
    pub bytes: Vec<u8>,
    /// Calls that were sent, by their number from 1.
    pub posts: Vec<FakePost>,
    /// If set, what a call is refused with.
    pub refuse_calls: Option<crate::Status>,
    /// The answer whose callback is running.
    pub answer: Option<FakeAnswer>,
    stats: BTreeMap<String, u64>,
    stat_names: Vec<String>,
    randomness: u64,
}

/// A call that a module sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FakePost {
    /// The cluster.
    pub cluster: String,
    /// All headers, in order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// The timeout.
    pub timeout: Duration,
}

/// An answer to a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FakeAnswer {
    /// Headers by lower-case name.
    pub headers: BTreeMap<String, Vec<u8>>,
    /// The body.
    pub body: Vec<u8>,
}

thread_local! {
    static HOST: RefCell<FakeHost> = RefCell::default();
}

/// Looks at or changes this thread's host.
pub fn with<T>(look: impl FnOnce(&mut FakeHost) -> T) -> T {
    HOST.with(|host| look(&mut host.borrow_mut()))
}

/// Starts over with a new process.
pub fn reset() {
    with(|host| *host = FakeHost::default());
}

impl FakeHost {
    /// The value of the statistic `wasmcustom.NAME`; 0 if nobody wrote it.
    pub fn stat(&self, name: &str) -> u64 {
        self.stats.get(name).copied().unwrap_or(0)
    }

    /// What was logged at this level, in order.
    pub fn logged(&self, level: Level) -> Vec<&str> {
        self.log.iter().filter(|(at, _)| *at == level).map(|(_, message)| message.as_str()).collect()
    }
}
