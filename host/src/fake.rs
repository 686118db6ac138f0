//! An in-memory Envoy for native tests. Each thread has its own in-memory Envoy. `abi` defines the
//! functions that the SDK and `raw` import, and [`vm`] calls the callbacks that the SDK exports, so tests
//! run the same code as Envoy. [`main_thread`] has further functions for tests of the service.
//!
//! It has Envoy's surprising semantics: any write creates an absent key; each enqueue sends one notification,
//! to the VM that registered last; an item can be empty; an absent attribute fails a whole expression; and a
//! hot restart passes on statistics, but neither queues nor shared data.

mod abi;
mod cel;
pub mod main_thread;
pub mod queues;
pub mod stats;
pub mod store;
pub mod streams;
pub mod vm;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proxy_wasm::types::{LogLevel, MapType, Status};

use queues::FakeQueues;
use stats::FakeStats;
use store::FakeStore;
use streams::FakeStreams;

/// An Envoy process with all its shared state.
#[derive(Debug, Default)]
pub struct FakeHost {
    /// Shared data.
    pub store: FakeStore,
    /// Shared queues.
    pub queues: FakeQueues,
    /// The attributes of streams, and compiled expressions.
    pub streams: FakeStreams,
    /// The `vm_id` of the running VM. Shared data and queues belong to it.
    pub vm_id: String,
    /// The running VM, which becomes the consumer of the queues that it registers.
    pub vm: String,
    /// The configuration that `on_configure` reads.
    pub configuration: Vec<u8>,
    /// The time of the wall clock, in Unix nanoseconds.
    pub now_unix_nano: u64,
    /// The time by which each reading advances the wall clock, in nanoseconds.
    pub clock_step_ns: u64,
    /// The messages in Envoy's log, with their levels.
    pub log: Vec<(LogLevel, String)>,
    /// Envoy's log level by its number: 0 is `trace`, 6 is `off`.
    pub log_level: u32,
    /// The functions that `capability_restriction_config` withholds.
    pub withheld: BTreeSet<&'static str>,
    /// The tick period, if one was set.
    pub tick_period: Option<Duration>,
    /// The headers of the current stream, by the number of their header map.
    headers: BTreeMap<u32, Vec<(String, String)>>,
    /// If set, the headers in all header maps, in the wire format.
    pub wire_headers: Option<Vec<u8>>,
    /// The responses of plugins: status and body.
    pub responses: Vec<(u16, String)>,
    /// The headers of the last response.
    pub response_headers: Vec<(String, String)>,
    /// The bytes of all buffers of the current stream.
    pub bytes: Vec<u8>,
    /// The calls that were sent.
    pub posts: Vec<FakePost>,
    /// The number of calls in `posts` that [`main_thread::next_post`] has returned.
    delivered: usize,
    /// The tokens of the calls that have no response yet.
    calls_in_flight: BTreeSet<u32>,
    /// If set, the status with which calls fail.
    pub reject_calls: Option<Status>,
    /// The response to a call whose callback is running.
    pub response: Option<FakeResponse>,
    /// Whether the running plugin has trapped. The calls of a trapped plugin have no effect.
    is_cut_off: bool,
    /// Envoy's statistics.
    pub stats: FakeStats,
    randomness: u64,
}

/// A call that a module sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FakePost {
    /// The token of the response.
    pub token: u32,
    /// The name of the cluster.
    pub cluster: String,
    /// All headers, in order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// The timeout of the call.
    pub timeout: Duration,
}

/// A response to a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FakeResponse {
    /// Headers by lower-case name.
    pub headers: BTreeMap<String, Vec<u8>>,
    /// The body.
    pub body: Vec<u8>,
}

thread_local! {
    static HOST: RefCell<FakeHost> = RefCell::default();
    /// The counter that gives calls their tokens. [`reset`] keeps it, because the SDK's dispatcher is not
    /// reset and accepts each token once.
    static CALLS: Cell<u32> = const { Cell::new(0) };
}

/// Reads or changes this thread's host.
pub fn with<T>(access: impl FnOnce(&mut FakeHost) -> T) -> T {
    HOST.with(|host| access(&mut host.borrow_mut()))
}

fn next_call_token() -> u32 {
    CALLS.replace(CALLS.get().wrapping_add(1)).wrapping_add(1)
}

/// Replaces this thread's host by a new Envoy process.
pub fn reset() {
    with(|host| *host = FakeHost::default());
}

impl FakeHost {
    /// Returns a name within the `vm_id` of the running VM.
    pub fn scoped(&self, name: String) -> String {
        if self.vm_id.is_empty() { name } else { format!("{}/{name}", self.vm_id) }
    }

    /// Returns the headers of a map of the current stream.
    pub fn headers(&self, map: MapType) -> &[(String, String)] {
        self.headers.get(&(map as u32)).map(Vec::as_slice).unwrap_or_default()
    }

    /// Sets the headers of a map of the current stream.
    pub fn set_headers(&mut self, map: MapType, headers: Vec<(String, String)>) {
        self.headers.insert(map as u32, headers);
    }

    /// Returns the value of the statistic `wasmcustom.NAME`; 0 if it does not exist.
    pub fn stat(&self, name: &str) -> u64 {
        self.stats.value(name)
    }

    /// Returns the messages at a log level, in order.
    pub fn logged(&self, level: LogLevel) -> Vec<&str> {
        self.log.iter().filter(|(at, _)| *at == level).map(|(_, message)| message.as_str()).collect()
    }
}
