//! The service on the simulated main thread.

use tributary_host::fake::vm::Vm;
use tributary_host::fake::{self, FakeAnswer};
use tributary_proto::heartbeat;
use tributary_service::root::ServiceRoot;

use crate::ledger::QueueLedger;

/// How long one read of the clock takes while the main thread is slow: the time budget of a callback.
const SLOW_NS: u64 = 1_000_000;

/// All encodings and temporalities, few series, and a short idle time.
const CONFIG: &str = r#"{"interval": "500ms", "limits": {"series": 6, "idle": "3s"}, "destinations": [
    {"cluster": "cumulative", "compression": "gzip", "timeout": "1s", "retry": {"initial_interval": "100ms", "max_interval": "2s"}},
    {"cluster": "delta", "temporality": "delta", "timeout": "1s", "retry": {"initial_interval": "100ms", "max_interval": "2s"}},
    {"cluster": "json", "encoding": "otlp_json", "max_bytes": 16384, "timeout": "1s", "retry": {"max_interval": "1s"}}]}"#;

/// The running VM of the service.
pub(crate) struct ServiceVm {
    vm: Vm,
    pub(crate) next_tick: u64,
    pub(crate) is_slow: bool,
    /// Whether it was restarted after a trap.
    is_restarted: bool,
}

impl ServiceVm {
    /// Starts a service, which takes over the queues of the previous one.
    pub(crate) fn begin(now: u64) -> Self {
        fake::with(|host| host.vm = "service".to_owned());
        let vm = Vm::start(ServiceRoot::boxed, CONFIG.as_bytes()).expect("the configuration is valid");
        let is_restarted = fake::with(|host| host.store.get(heartbeat::KEY).is_ok());
        let mut this = Self { vm, next_tick: now, is_slow: false, is_restarted };
        this.schedule_tick(now);
        this
    }

    /// Delivers pending queue notifications, and a tick if it is due.
    pub(crate) fn run(&mut self, now: u64, ledger: &mut QueueLedger) {
        while fake::with(|host| host.queues.next_notification()).is_some() {
            self.call(ledger, Vm::queue_ready);
        }
        if now >= self.next_tick {
            self.call(ledger, Vm::tick);
            self.schedule_tick(now);
        }
    }

    /// Delivers the answer to an HTTP call.
    pub(crate) fn answer(&mut self, call: u32, answer: Option<FakeAnswer>, ledger: &mut QueueLedger) {
        self.call(ledger, |vm| vm.answer(call, answer));
    }

    /// Shuts the service down.
    pub(crate) fn end(self, ledger: &mut QueueLedger) {
        fake::with(|host| host.queues.taken = Some(Vec::new()));
        ledger.is_restarted = self.is_restarted;
        self.vm.delete();
        ledger.took_all();
    }

    fn schedule_tick(&mut self, now: u64) {
        let period = fake::with(|host| host.tick_period);
        self.next_tick = now + u64::try_from(period.unwrap_or_default().as_nanos()).unwrap();
    }

    /// Calls into the VM, and records the items that it took from the queue.
    fn call(&mut self, ledger: &mut QueueLedger, act: impl FnOnce(&Vm)) {
        fake::with(|host| {
            host.queues.taken = Some(Vec::new());
            host.clock_step_ns = if self.is_slow { SLOW_NS } else { 0 };
        });
        ledger.is_restarted = self.is_restarted;
        act(&self.vm);
        fake::with(|host| host.clock_step_ns = 0);
        ledger.took_all();
    }
}
