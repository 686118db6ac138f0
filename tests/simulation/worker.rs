//! A worker's VM, and what it should know.

use tributary_host::fake;
use tributary_host::fake::vm::Vm;
use tributary_proto::counter::shared_key;
use tributary_proto::limits::QUEUE_HTTP;
use tributary_worker_filter::root::WorkerRoot;

use crate::ledger::{Ledger, items};

/// How the workers of one simulation are configured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    /// Whether they keep a counter in shared data.
    pub(crate) counts: bool,
    /// Whether they send a message for each request.
    pub(crate) sends_each: bool,
}

impl Kind {
    /// So few series that there is an overflow.
    fn config(self) -> String {
        let flush = if self.sends_each { r#", "max_requests": 1"# } else { "" };
        let counters = if self.counts { r#"[{"key": "requests"}]"# } else { "[]" };
        format!(
            r#"{{"flush": {{"interval": "200ms"{flush}}}, "limits": {{"series": 4}}, "counters": {counters}}}"#
        )
    }
}

/// From one tick to the next, as the configuration says.
pub(crate) const TICK_NS: u64 = 200_000_000;

/// A worker's VM, and what it should know.
pub(crate) struct Worker {
    /// None once it has ended.
    vm: Option<Vm>,
    /// Requests that it saw.
    pub(crate) seen: u64,
    /// Those of them that it put into the queue.
    pub(crate) handed_over: u64,
    /// Those of them that are in the counter in shared data.
    pub(crate) counted: u64,
    pub(crate) next_tick: u64,
}

impl Worker {
    /// One that begins now.
    pub(crate) fn begin(kind: Kind, now: u64) -> Self {
        let vm = Vm::start(WorkerRoot::boxed, kind.config().as_bytes());
        assert!(vm.is_some(), "the configuration is taken");
        Self { vm, seen: 0, handed_over: 0, counted: 0, next_tick: now + TICK_NS }
    }

    /// Sees a request to its end.
    pub(crate) fn request(&mut self, route: &str, duration_ns: i64, ledger: &mut Ledger) {
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

    pub(crate) fn tick(&mut self, now: u64, ledger: &mut Ledger) {
        self.call(ledger, |vm| vm.as_ref().unwrap().tick());
        self.next_tick = now + TICK_NS;
    }

    /// Ends in order: what it has, it hands over.
    pub(crate) fn end(mut self, ledger: &mut Ledger) -> Self {
        self.call(ledger, |vm| vm.take().unwrap().delete());
        self
    }

    /// What it saw and still has.
    pub(crate) fn pending(&self) -> u64 {
        self.seen - self.handed_over
    }

    /// Calls into the VM, and notes what that changed outside.
    fn call(&mut self, ledger: &mut Ledger, act: impl FnOnce(&mut Option<Vm>)) {
        let (in_queue, counted) = (fake::with(|host| host.queues.len(QUEUE_HTTP)), counter());
        act(&mut self.vm);
        for item in items(in_queue) {
            self.handed_over += ledger.put(&item);
        }
        self.counted += counter() - counted;
    }
}

/// The counter of all workers in shared data.
pub(crate) fn counter() -> u64 {
    let value = fake::with(|host| host.store.get(&shared_key("requests"))).map(|(value, _)| value);
    value.map_or(0, |value| u64::from_le_bytes(value.try_into().unwrap()))
}
