//! Backpressure from the service to the workers: Envoy's shared queues are unbounded and never report that
//! they are full.

use tributary_host::shared_data::SharedData;
use tributary_host::stats::Counter;
use tributary_proto::heartbeat;

use crate::outbox::FlushBlocked;

/// The number of batches in the queue, from all workers, at which workers stop flushing on ticks. The
/// largest Envoys enqueue this many batches in a few seconds. This many batches have at most 64 MiB.
pub const BATCHES_MAX: u64 = 512;

/// The limit that applies instead of [`BATCHES_MAX`] between two ticks, which may be minutes apart. It is
/// higher because with `flush.max_requests` the queue has many small batches.
pub const BATCHES_BETWEEN_TICKS_MAX: u64 = 16 * BATCHES_MAX;

/// The number of batches that a worker enqueues between two ticks before it checks the service again.
const BATCHES_UNCHECKED_MAX: u64 = 1_024;

/// What a worker knows about the service.
#[derive(Debug)]
pub struct Backpressure {
    /// Whether the worker can read the heartbeat. It cannot read the heartbeat of a service with another
    /// `vm_id`, which has its own shared data.
    has_heartbeat: bool,
    /// The statistic of the batches that all workers have enqueued; `dequeued` is the statistic of the
    /// batches that the service has dequeued. Statistics do not depend on the `vm_id`.
    enqueued: Counter,
    dequeued: Counter,
    /// Why batches may not be enqueued, as of the last check.
    pub blocked: Option<FlushBlocked>,
    /// Batches that this worker enqueued since the last check.
    unchecked: u64,
}

impl Backpressure {
    /// Creates the state before the first check. `has_heartbeat` is false for a service under another
    /// `vm_id`.
    pub fn new(has_heartbeat: bool, enqueued: Counter, dequeued: Counter) -> Self {
        Self { has_heartbeat, enqueued, dequeued, blocked: None, unchecked: 0 }
    }

    /// Checks the state of the service with three host calls. The service is behind if at least
    /// `batches_max` batches are in the queue.
    pub fn check(&mut self, data: &mut impl SharedData, now_unix_nano: u64, batches_max: u64) {
        self.unchecked = 0;
        // If there is no heartbeat, no service has started, so the queue does not exist either.
        let beat = if self.has_heartbeat { data.get(heartbeat::KEY).ok().flatten() } else { None };
        let is_silent = beat.is_some_and(|(bytes, _)| heartbeat::is_silent(&bytes, now_unix_nano));
        let in_queue = self.enqueued.value().saturating_sub(self.dequeued.value());
        let is_behind = in_queue >= batches_max;
        self.blocked =
            if is_silent { Some(FlushBlocked::Silent) } else { is_behind.then_some(FlushBlocked::Behind) };
    }

    /// Allows batches until the next check, even if the service is behind. A worker that shuts down needs
    /// this, because it would lose the data that it keeps.
    pub fn bypass(&mut self) {
        (self.blocked, self.unchecked) = (None, 0);
    }

    /// Records that batches were enqueued.
    pub fn record_enqueued(&mut self, batches: u64) {
        self.unchecked = self.unchecked.saturating_add(batches);
    }

    /// Returns whether the result of the last check is outdated, because many batches were enqueued since
    /// then.
    pub fn is_outdated(&self) -> bool {
        self.unchecked >= BATCHES_UNCHECKED_MAX
    }
}

#[cfg(test)]
mod tests {
    use tributary_host::fake;
    use tributary_host::shared_data::HostSharedData;

    use super::*;

    fn backpressure() -> Backpressure {
        fake::reset();
        Backpressure::new(true, Counter::define("enqueued"), Counter::define("dequeued"))
    }

    fn check(backpressure: &mut Backpressure, now: u64) -> Option<FlushBlocked> {
        backpressure.check(&mut HostSharedData, now, BATCHES_MAX);
        backpressure.blocked
    }

    fn write_heartbeat(now: u64) {
        fake::with(|host| host.store.set(heartbeat::KEY, &heartbeat::encode(now), 0)).unwrap();
    }

    #[test]
    fn flushes_stop_while_the_heartbeat_is_too_old() {
        let mut backpressure = backpressure();
        assert_eq!(check(&mut backpressure, 1), None, "no heartbeat yet");
        write_heartbeat(5);
        assert_eq!(check(&mut backpressure, 5), None);
        assert_eq!(check(&mut backpressure, 5 + heartbeat::SILENCE_NS), Some(FlushBlocked::Silent));
        write_heartbeat(6 + heartbeat::SILENCE_NS);
        assert_eq!(check(&mut backpressure, 7 + heartbeat::SILENCE_NS), None);
    }

    #[test]
    fn flushes_stop_while_the_queue_has_too_many_batches() {
        let mut backpressure = backpressure();
        backpressure.enqueued.add(BATCHES_MAX + 5);
        backpressure.dequeued.add(6);
        assert_eq!(check(&mut backpressure, 1), None);
        backpressure.enqueued.add(1);
        assert_eq!(check(&mut backpressure, 1), Some(FlushBlocked::Behind));
        backpressure.dequeued.add(100);
        assert_eq!(check(&mut backpressure, 1), None);
    }

    #[test]
    fn a_check_is_outdated_after_some_batches_unless_it_is_bypassed() {
        let mut backpressure = backpressure();
        backpressure.record_enqueued(BATCHES_UNCHECKED_MAX - 1);
        assert!(!backpressure.is_outdated());
        backpressure.record_enqueued(1);
        assert!(backpressure.is_outdated());
        assert_eq!((check(&mut backpressure, 1), backpressure.is_outdated()), (None, false));
        backpressure.record_enqueued(BATCHES_UNCHECKED_MAX);
        backpressure.bypass();
        assert!(!backpressure.is_outdated());
    }

    #[test]
    fn without_a_heartbeat_the_length_of_the_queue_is_checked() {
        let mut backpressure = Backpressure { has_heartbeat: false, ..backpressure() };
        write_heartbeat(1);
        backpressure.enqueued.add(BATCHES_MAX - 1);
        assert_eq!(check(&mut backpressure, u64::MAX), None, "another service's heartbeat");
        backpressure.enqueued.add(1);
        assert_eq!(check(&mut backpressure, u64::MAX), Some(FlushBlocked::Behind));
    }
}
