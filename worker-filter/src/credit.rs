//! Whether the service keeps up: the host's queue has no bound and never says that it is full.

use tributary_host::shared_data::SharedData;
use tributary_host::stats::Counter;
use tributary_proto::heartbeat;

/// Batches that wait in the queue, of all workers together, at which they keep theirs: a few seconds' worth for the largest
/// Envoys, and 64 MiB at the most.
pub const BATCHES_MAX: u64 = 512;

/// The same between two ticks, which may be minutes apart: of a request each there are many at times, and they are small.
pub const BATCHES_BETWEEN_MAX: u64 = 16 * BATCHES_MAX;

/// Batches that a worker puts in before it looks again, if no tick comes in between.
const BATCHES_BLIND: u64 = 1_024;

/// What a worker knows of the service.
#[derive(Debug)]
pub struct Credit {
    /// A service under another `vm_id` has shared data of its own: its heartbeat is not heard. Statistics are of the process.
    is_heard: bool,
    enqueued: Counter,
    taken: Counter,
    standing: Standing,
    /// Batches that this worker put in since it looked.
    spent: u64,
}

/// Whether batches may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The service keeps up.
    Good,
    /// The queue holds more than it should.
    Behind,
    /// The service has not said for a while that it is alive.
    Silent,
}

impl Credit {
    /// Of a service with the same `vm_id` or another one. The counters are those of batches that were put into the queue and
    /// taken out of it, by all workers.
    pub fn new(is_heard: bool, enqueued: Counter, taken: Counter) -> Self {
        Self { is_heard, enqueued, taken, standing: Standing::Good, spent: 0 }
    }

    /// Looks at the service: three host calls, once per tick.
    pub fn refresh(&mut self, data: &mut impl SharedData, now_unix_nano: u64) {
        self.look(data, now_unix_nano, BATCHES_MAX);
    }

    /// The same between two ticks, where [`is_spent`](Self::is_spent) says so.
    pub fn refresh_between(&mut self, data: &mut impl SharedData, now_unix_nano: u64) {
        self.look(data, now_unix_nano, BATCHES_BETWEEN_MAX);
    }

    fn look(&mut self, data: &mut impl SharedData, now_unix_nano: u64, batches_max: u64) {
        self.spent = 0;
        // Without a heartbeat there never was a service, and so no queue either.
        let beat = if self.is_heard { data.get(heartbeat::KEY).ok().flatten() } else { None };
        let is_silent = beat.is_some_and(|(bytes, _)| heartbeat::is_silent(&bytes, now_unix_nano));
        let waiting = self.enqueued.value().saturating_sub(self.taken.value());
        self.standing = match () {
            () if is_silent => Standing::Silent,
            () if waiting >= batches_max => Standing::Behind,
            () => Standing::Good,
        };
    }

    /// From here on batches may go whatever the service does: for a worker that ends, who would lose what it keeps.
    pub fn waive(&mut self) {
        (self.standing, self.spent) = (Standing::Good, 0);
    }

    /// So many batches were put in.
    pub fn spend(&mut self, batches: u64) {
        self.spent = self.spent.saturating_add(batches);
    }

    /// Whether so many were put in that what the last look showed says nothing any more.
    pub fn is_spent(&self) -> bool {
        self.spent >= BATCHES_BLIND
    }

    /// Whether batches may go, as of the last look.
    pub fn standing(&self) -> Standing {
        self.standing
    }
}

#[cfg(test)]
mod tests {
    use tributary_host::fake;
    use tributary_host::shared_data::HostSharedData;

    use super::*;

    fn credit() -> Credit {
        fake::reset();
        Credit::new(true, Counter::define("enqueued"), Counter::define("taken"))
    }

    fn standing(credit: &mut Credit, now: u64) -> Standing {
        credit.refresh(&mut HostSharedData, now);
        credit.standing()
    }

    #[test]
    fn a_silent_service_has_no_credit_until_it_speaks_again() {
        let mut credit = credit();
        assert_eq!(standing(&mut credit, 1), Standing::Good, "nobody spoke yet");
        let beat =
            |now: u64| fake::with(|host| host.store.set(heartbeat::KEY, &heartbeat::encode(now), 0)).unwrap();
        beat(5);
        assert_eq!(standing(&mut credit, 5), Standing::Good);
        assert_eq!(standing(&mut credit, 5 + heartbeat::SILENCE_NS), Standing::Silent);
        beat(6 + heartbeat::SILENCE_NS);
        assert_eq!(standing(&mut credit, 7 + heartbeat::SILENCE_NS), Standing::Good);
    }

    #[test]
    fn a_service_that_is_behind_has_no_credit_until_it_has_caught_up() {
        let mut credit = credit();
        credit.enqueued.add(BATCHES_MAX + 5);
        credit.taken.add(6);
        assert_eq!(standing(&mut credit, 1), Standing::Good);
        credit.enqueued.add(1);
        assert_eq!(standing(&mut credit, 1), Standing::Behind);
        credit.taken.add(100);
        assert_eq!(standing(&mut credit, 1), Standing::Good);
    }

    #[test]
    fn a_look_is_good_for_some_batches_and_a_worker_that_ends_needs_none() {
        let mut credit = credit();
        credit.spend(BATCHES_BLIND - 1);
        assert!(!credit.is_spent());
        credit.spend(1);
        assert!(credit.is_spent());
        assert_eq!((standing(&mut credit, 1), credit.is_spent()), (Standing::Good, false));
        credit.spend(BATCHES_BLIND);
        credit.waive();
        assert!(!credit.is_spent());
    }

    #[test]
    fn of_a_service_under_another_vm_id_only_the_heartbeat_is_unknown() {
        let mut credit = Credit { is_heard: false, ..credit() };
        let beat = heartbeat::encode(1);
        fake::with(|host| host.store.set(heartbeat::KEY, &beat, 0)).unwrap();
        credit.enqueued.add(BATCHES_MAX - 1);
        assert_eq!(standing(&mut credit, u64::MAX), Standing::Good, "that is another service's");
        credit.enqueued.add(1);
        assert_eq!(standing(&mut credit, u64::MAX), Standing::Behind, "statistics have no vm_id");
    }
}
