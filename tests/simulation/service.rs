//! The service on the simulated main thread.

use tributary_host::fake;
use tributary_host::fake::vm::Vm;
use tributary_proto::heartbeat;
use tributary_service::root::ServiceRoot;

/// How long one read of the clock takes while the main thread is slow: the time budget of a callback.
pub(crate) const SLOW_NS: u64 = 1_000_000;

/// All encodings and temporalities, few series, and a short idle time.
const CONFIG: &str = r#"{"interval": "500ms", "limits": {"series": 6, "idle": "3s"}, "destinations": [
    {"cluster": "cumulative", "compression": "gzip", "timeout": "1s", "retry": {"initial_interval": "100ms", "max_interval": "2s"}},
    {"cluster": "delta", "temporality": "delta", "timeout": "1s", "retry": {"initial_interval": "100ms", "max_interval": "2s"}},
    {"cluster": "json", "encoding": "otlp_json", "max_bytes": 16384, "timeout": "1s", "retry": {"max_interval": "1s"}}]}"#;

/// The running VM of the service.
pub(crate) struct ServiceVm {
    pub(crate) vm: Vm,
    next_tick: u64,
    pub(crate) is_slow: bool,
    /// Whether it was restarted after a trap.
    pub(crate) is_restarted: bool,
}

impl ServiceVm {
    /// Starts a service, which then receives from the queues of the previous one.
    pub(crate) fn begin(now: u64) -> Self {
        fake::with(|host| host.vm = "service".to_owned());
        let vm = Vm::start(ServiceRoot::boxed, CONFIG.as_bytes()).expect("the configuration is valid");
        let is_restarted = fake::with(|host| host.store.get(heartbeat::KEY).is_ok());
        Self { vm, next_tick: now + tick_period(), is_slow: false, is_restarted }
    }

    /// Delivers pending queue notifications, and a tick if it is due.
    pub(crate) fn run(&mut self, now: u64) {
        self.vm.deliver_notifications();
        if now >= self.next_tick {
            self.vm.tick();
            self.next_tick = now + tick_period();
        }
    }
}

/// The period that the service has set, in nanoseconds.
fn tick_period() -> u64 {
    let period = fake::with(|host| host.tick_period);
    u64::try_from(period.unwrap_or_default().as_nanos()).unwrap()
}
