//! The service's VM on the main thread: there, not there, slow or dead.

use tributary_host::fake::vm::Vm;
use tributary_host::fake::{self, FakeAnswer};
use tributary_proto::heartbeat;
use tributary_service::root::ServiceRoot;

use crate::ledger::Ledger;

/// What one look at the clock takes while the main thread is slow: a callback's whole budget.
const SLOW_NS: u64 = 1_000_000;

/// Encodings and temporalities of all kinds, few series, a short patience with idle ones.
const CONFIG: &str = r#"{"interval": "500ms", "limits": {"series": 6, "idle": "3s"}, "destinations": [
    {"cluster": "cumulative", "compression": "gzip", "timeout": "1s", "retry": {"initial_interval": "100ms", "max_interval": "2s"}},
    {"cluster": "delta", "temporality": "delta", "timeout": "1s", "retry": {"initial_interval": "100ms", "max_interval": "2s"}},
    {"cluster": "json", "encoding": "otlp_json", "max_bytes": 16384, "timeout": "1s", "retry": {"max_interval": "1s"}}]}"#;

/// The service's VM, while there is one.
pub(crate) struct ServiceVm {
    vm: Vm,
    pub(crate) next_tick: u64,
    pub(crate) is_slow: bool,
    /// Whether there was another one before it.
    goes_on: bool,
}

impl ServiceVm {
    /// A service that begins now, and takes over the queues of the one before it.
    pub(crate) fn begin(now: u64) -> Self {
        fake::with(|host| host.vm = "service".to_owned());
        let vm = Vm::start(ServiceRoot::boxed, CONFIG.as_bytes()).expect("the configuration is taken");
        let goes_on = fake::with(|host| host.store.get(heartbeat::KEY).is_ok());
        let mut service = Self { vm, next_tick: now, is_slow: false, goes_on };
        service.pace(now);
        service
    }

    /// Notices that wait, and a tick if it is time for one.
    pub(crate) fn run(&mut self, now: u64, ledger: &mut Ledger) {
        while fake::with(|host| host.queues.next_notice()).is_some() {
            self.call(ledger, Vm::queue_ready);
        }
        if now >= self.next_tick {
            self.call(ledger, Vm::tick);
            self.pace(now);
        }
    }

    /// An answer to a call.
    pub(crate) fn answer(&mut self, call: u32, answer: FakeAnswer, with_headers: bool, ledger: &mut Ledger) {
        self.call(ledger, |vm| vm.answer(call, with_headers.then_some(answer)));
    }

    /// Ends in order.
    pub(crate) fn end(self, ledger: &mut Ledger) {
        fake::with(|host| host.queues.taken = Some(Vec::new()));
        ledger.goes_on = self.goes_on;
        self.vm.delete();
        ledger.took_all();
    }

    fn pace(&mut self, now: u64) {
        let period = fake::with(|host| host.tick_period);
        self.next_tick = now + u64::try_from(period.unwrap_or_default().as_nanos()).unwrap();
    }

    /// Calls into the VM, and notes what it took out of the queue.
    fn call(&mut self, ledger: &mut Ledger, act: impl FnOnce(&Vm)) {
        fake::with(|host| {
            host.queues.taken = Some(Vec::new());
            host.clock_step_ns = if self.is_slow { SLOW_NS } else { 0 };
        });
        ledger.goes_on = self.goes_on;
        act(&self.vm);
        fake::with(|host| host.clock_step_ns = 0);
        ledger.took_all();
    }
}
