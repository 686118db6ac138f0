//! Envoy in memory, for native tests: each thread has one. `abi` defines the functions that the SDK and `raw` import, and
//! [`vm`] calls the callbacks that the SDK exports, so that tests run the code that ships.
//!
//! It keeps to the real host's semantics where they surprise: any write creates an absent key, each enqueue is one notice
//! to whoever registered last, an item may be empty, an absent attribute fails a whole expression.

mod abi;
mod cel;
pub mod queues;
pub mod store;
pub mod streams;
pub mod vm;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proxy_wasm::types::{LogLevel, MapType, Status};

use queues::Queues;
use store::Store;
use streams::Streams;

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
    pub log: Vec<(LogLevel, String)>,
    /// The level that Envoy logs at, by the host's number: 0 is `trace`, 6 is `off`.
    pub log_level: u32,
    /// The host functions that `capability_restriction_config` withholds.
    pub withheld: BTreeSet<&'static str>,
    /// The ticks that were asked for.
    pub tick_period: Option<Duration>,
    /// Headers of the current stream, by the number of their map.
    headers: BTreeMap<u32, Vec<(String, String)>>,
    /// If set, what all headers of any map are, in the host's wire form.
    pub wire_headers: Option<Vec<u8>>,
    /// Requests that were answered here: status and body.
    pub responses: Vec<(u16, String)>,
    /// The headers of the last of them.
    pub response_headers: Vec<(String, String)>,
    /// Bytes that pass through the current stream.
    pub bytes: Vec<u8>,
    /// Calls that were sent.
    pub posts: Vec<FakePost>,
    /// If set, what a call is refused with.
    pub refuse_calls: Option<Status>,
    /// The answer whose callback is running.
    pub answer: Option<FakeAnswer>,
    /// Whether the plugin that runs has trapped: what it calls does nothing.
    is_cut_off: bool,
    stats: BTreeMap<String, u64>,
    stat_names: Vec<String>,
    randomness: u64,
}

/// A call that a module sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FakePost {
    /// The token by which its answer comes.
    pub token: u32,
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
    /// The SDK's dispatcher outlives a [`reset`], and takes no token twice.
    static CALLS: Cell<u32> = const { Cell::new(0) };
}

/// Looks at or changes this thread's host.
pub fn with<T>(look: impl FnOnce(&mut FakeHost) -> T) -> T {
    HOST.with(|host| look(&mut host.borrow_mut()))
}

fn next_call_token() -> u32 {
    CALLS.replace(CALLS.get().wrapping_add(1)).wrapping_add(1)
}

/// Starts over with a new process.
pub fn reset() {
    with(|host| *host = FakeHost::default());
}

impl FakeHost {
    /// The headers of one map of the current stream.
    pub fn headers(&self, map: MapType) -> &[(String, String)] {
        self.headers.get(&(map as u32)).map(Vec::as_slice).unwrap_or_default()
    }

    /// Sets the headers of one map of the current stream.
    pub fn set_headers(&mut self, map: MapType, headers: Vec<(String, String)>) {
        self.headers.insert(map as u32, headers);
    }

    /// The value of the statistic `wasmcustom.NAME`; 0 if nobody wrote it.
    pub fn stat(&self, name: &str) -> u64 {
        self.stats.get(name).copied().unwrap_or(0)
    }

    /// What was logged at this level, in order.
    pub fn logged(&self, level: LogLevel) -> Vec<&str> {
        self.log.iter().filter(|(at, _)| *at == level).map(|(_, message)| message.as_str()).collect()
    }
}
