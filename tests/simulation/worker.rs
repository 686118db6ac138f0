//! A worker's VM with the counts that it should have.

use tributary_host::fake;
use tributary_host::fake::vm::Vm;
use tributary_proto::counter::shared_key;
use tributary_proto::limits::QUEUE_HTTP;
use tributary_worker_filter::root::WorkerRoot;

use crate::ledger::{QueueLedger, items};

/// The configuration of a worker.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WorkerOptions {
    /// Whether the worker has a shared counter.
    pub(crate) counts: bool,
    /// Whether the worker flushes after each request.
    pub(crate) flushes_each: bool,
}

impl WorkerOptions {
    /// Formats the configuration, with a series limit so low that series overflow.
    fn config(self) -> String {
        let flush = if self.flushes_each { r#", "max_requests": 1"# } else { "" };
        let counters = if self.counts { r#"[{"key": "requests"}]"# } else { "[]" };
        format!(
            r#"{{"flush": {{"interval": "200ms"{flush}}}, "limits": {{"series": 4}}, "counters": {counters}}}"#
        )
    }
}

/// The tick period in nanoseconds, equal to the flush interval of the configuration.
pub(crate) const TICK_NS: u64 = 200_000_000;

/// A worker's VM with the counts that it should have.
pub(crate) struct SimulatedWorker {
    /// `None` once the worker has ended.
    vm: Option<Vm>,
    /// Requests that the worker observed.
    pub(crate) seen: u64,
    /// Observed requests that the worker enqueued.
    pub(crate) enqueued: u64,
    /// Observed requests that the worker added to the shared counter.
    pub(crate) counted: u64,
    pub(crate) next_tick: u64,
}

impl SimulatedWorker {
    /// Starts a worker.
    pub(crate) fn begin(options: WorkerOptions, now: u64) -> Self {
        let vm = Vm::start(WorkerRoot::boxed, options.config().as_bytes());
        assert!(vm.is_some(), "the configuration is valid");
        Self { vm, seen: 0, enqueued: 0, counted: 0, next_tick: now + TICK_NS }
    }

    /// Makes the worker observe a request.
    pub(crate) fn request(&mut self, route: &str, duration_ns: i64, ledger: &mut QueueLedger) {
        let number = |number: i64| number.to_le_bytes().to_vec();
        let attributes = [
            ("request.method", b"GET".to_vec()),
            ("response.code", number(200)),
            ("xds.route_name", route.as_bytes().to_vec()),
            ("request.scheme", b"http".to_vec()),
            ("request.duration", number(duration_ns)),
            ("response.flags", number(0)),
            ("request.size", number(10)),
            ("response.size", number(20)),
        ];
        fake::with(|host| host.streams.begin(attributes));
        self.seen += 1;
        self.call(ledger, |vm| vm.as_ref().unwrap().log());
    }

    pub(crate) fn tick(&mut self, now: u64, ledger: &mut QueueLedger) {
        self.call(ledger, |vm| vm.as_ref().unwrap().tick());
        self.next_tick = now + TICK_NS;
    }

    /// Shuts the worker down, which makes it flush.
    pub(crate) fn end(mut self, ledger: &mut QueueLedger) -> Self {
        self.call(ledger, |vm| vm.take().unwrap().delete());
        self
    }

    /// Counts the requests that the worker observed and has not enqueued.
    pub(crate) fn pending(&self) -> u64 {
        self.seen - self.enqueued
    }

    /// Calls into the VM, and records the changes of the queue and of the shared counter.
    fn call(&mut self, ledger: &mut QueueLedger, act: impl FnOnce(&mut Option<Vm>)) {
        let (in_queue, counted) = (fake::with(|host| host.queues.len(QUEUE_HTTP)), counter());
        act(&mut self.vm);
        for item in items(in_queue) {
            self.enqueued += ledger.put(&item);
        }
        self.counted += counter() - counted;
    }
}

/// Reads the shared counter of all workers.
pub(crate) fn counter() -> u64 {
    let value = fake::with(|host| host.store.get(&shared_key("requests"))).map(|(value, _)| value);
    value.map_or(0, |value| u64::from_le_bytes(value.try_into().unwrap()))
}
