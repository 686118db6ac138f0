//! The schedule of fetching a value: a state machine without a clock.

use std::time::Duration;

use tributary_proto::duration::as_ns;

use crate::export::Backoff;
use crate::export::attempt::Attempt;

/// The minimum time between two fetches, which limits the fetches of values that expire soon.
const INTERVAL_MIN: Duration = Duration::from_secs(1);

/// How long after the timeout of a call the schedule stops waiting for its response. Envoy itself
/// responds at the timeout, so this happens only if a response gets lost.
const GRACE: Duration = Duration::from_secs(5);

/// The schedule of one value.
#[derive(Clone, Debug)]
pub struct FetchSchedule {
    policy: FetchPolicy,
    attempt: Attempt,
    failures: u32,
    /// When the value was last fetched or, if it was already stored, when this service started.
    fetched_unix_nano: Option<u64>,
}

/// When a value is fetched, and for how long it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchPolicy {
    /// The time from one fetch to the next, unless the value expires earlier.
    pub every: Duration,
    /// The time that a response may take.
    pub timeout: Duration,
    /// How long before its expiry a value is fetched again.
    pub refresh_before: Duration,
    /// How long a value is kept after its last fetch while fetching fails.
    pub keep_on_failure: Duration,
    /// The waits after failures.
    pub backoff: Backoff,
}

impl FetchSchedule {
    /// Creates a schedule whose first fetch is due. A value that a previous service has fetched counts as
    /// fetched now.
    pub fn new(policy: FetchPolicy, is_stored: bool, now_unix_nano: u64) -> Self {
        let attempt = Attempt::after(Duration::ZERO, now_unix_nano);
        Self { policy, attempt, failures: 0, fetched_unix_nano: is_stored.then_some(now_unix_nano) }
    }

    /// Returns whether to fetch now. A response that did not arrive in time is a failure with a backoff.
    pub fn is_due(&mut self, now_unix_nano: u64, jitter: u64) -> bool {
        // If the clock was set back, the value counts as fetched now.
        self.fetched_unix_nano = self.fetched_unix_nano.map(|fetched| fetched.min(now_unix_nano));
        if !self.attempt.is_due(now_unix_nano) {
            return false;
        }
        let is_lost = self.attempt.is_in_flight();
        if is_lost {
            self.failed(now_unix_nano, jitter);
        }
        !is_lost
    }

    /// Records that the request was sent.
    pub fn sent(&mut self, now_unix_nano: u64) {
        self.attempt.sent(self.policy.timeout.saturating_add(GRACE), now_unix_nano);
    }

    /// Records a failure. Returns the wait before the next fetch.
    pub fn failed(&mut self, now_unix_nano: u64, jitter: u64) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let wait = self.policy.backoff.wait(self.failures, jitter);
        self.attempt.schedule(wait, now_unix_nano);
        wait
    }

    /// Records a fetched value and its expiry, if known. The wait for the next fetch is up to a tenth
    /// shorter, so that Envoys do not all fetch at once. Returns the number of failures in a row before
    /// this fetch.
    pub fn fetched(&mut self, now_unix_nano: u64, expires_unix_nano: Option<u64>, jitter: u64) -> u32 {
        self.fetched_unix_nano = Some(now_unix_nano);
        let FetchPolicy { every, refresh_before, .. } = self.policy;
        let lifetime = expires_unix_nano.map(|at| Duration::from_nanos(at.saturating_sub(now_unix_nano)));
        let wait = lifetime.map_or(every, |lifetime| lifetime.saturating_sub(refresh_before).min(every));
        let tenth_ns = as_ns(wait) / 10;
        let early = Duration::from_nanos(jitter.checked_rem(tenth_ns).unwrap_or(0));
        let wait = wait.saturating_sub(early).max(INTERVAL_MIN);
        self.attempt.schedule(wait, now_unix_nano);
        std::mem::take(&mut self.failures)
    }

    /// Returns true once, when fetching has failed for so long that the value must be removed.
    pub fn take_stale(&mut self, now_unix_nano: u64) -> bool {
        let keep_ns = as_ns(self.policy.keep_on_failure);
        let is_over = |fetched: &mut u64| now_unix_nano.saturating_sub(*fetched) >= keep_ns;
        self.failures > 0 && self.fetched_unix_nano.take_if(is_over).is_some()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn schedule() -> FetchSchedule {
        let policy = FetchPolicy {
            every: Duration::from_secs(60),
            timeout: Duration::from_secs(5),
            refresh_before: Duration::from_secs(10),
            keep_on_failure: Duration::from_secs(100),
            backoff: Backoff::new(Duration::from_secs(1), Duration::from_secs(30)),
        };
        FetchSchedule::new(policy, false, 0)
    }

    /// Returns the first second from `from` on at which the fetch is due.
    fn due(schedule: &mut FetchSchedule, from: u64) -> Option<u64> {
        (from..from + 1_000).find(|second| schedule.is_due(second * SECOND, 0))
    }

    #[test]
    fn a_value_is_fetched_at_once_at_its_interval_and_before_it_expires() {
        let mut schedule = schedule();
        assert_eq!(due(&mut schedule, 0), Some(0));
        schedule.sent(0);
        assert!(!schedule.is_due(SECOND, 0), "one fetch at a time");
        schedule.fetched(0, None, 0);
        assert_eq!(due(&mut schedule, 0), Some(60));
        schedule.fetched(0, Some(30 * SECOND), 0);
        assert_eq!(due(&mut schedule, 0), Some(20));
        schedule.fetched(0, Some(5 * SECOND), 0);
        assert_eq!(due(&mut schedule, 0), Some(1), "the minimum interval");
        schedule.fetched(0, None, u64::MAX);
        assert!(due(&mut schedule, 0) >= Some(54));
    }

    #[test]
    fn waits_grow_with_failures_and_a_missing_response_is_a_failure() {
        let mut schedule = schedule();
        schedule.sent(0);
        assert_eq!(due(&mut schedule, 0), Some(11), "10 s of timeout and grace, 1 s of backoff");
        assert_eq!(schedule.failures, 1);
        assert_eq!(schedule.failed(0, 0), Duration::from_secs(2));
    }

    #[test]
    fn the_last_good_value_is_kept_for_a_limited_time() {
        let mut schedule = schedule();
        schedule.fetched(0, None, 0);
        assert!(!schedule.take_stale(500 * SECOND), "nothing failed");
        schedule.failed(60 * SECOND, 0);
        assert!(!schedule.take_stale(99 * SECOND));
        assert!(schedule.take_stale(100 * SECOND));
        assert!(!schedule.take_stale(200 * SECOND), "once");
    }

    #[test]
    fn a_clock_that_goes_back_delays_no_fetch() {
        const AHEAD: u64 = 3_600;
        let mut schedule = schedule();
        schedule.fetched(AHEAD * SECOND, None, 0);
        assert_eq!(due(&mut schedule, 5), Some(5), "its age is unknown");
        schedule.failed(AHEAD * SECOND, 0);
        assert_eq!(due(&mut schedule, 6), Some(6));
        schedule.sent(AHEAD * SECOND);
        assert_eq!(due(&mut schedule, 7), Some(19), "10 s of timeout and grace, 2 s of backoff");
        assert!(!schedule.take_stale(104 * SECOND) && schedule.take_stale(105 * SECOND));
    }

    #[test]
    fn a_clock_that_leaps_forward_gives_up_no_response() {
        let mut schedule = schedule();
        schedule.sent(0);
        assert!(!schedule.is_due(3_600 * SECOND, 0));
        assert_eq!(schedule.failures, 0, "the response may still arrive");
        assert_eq!(due(&mut schedule, 3_601), Some(3_611));
    }

    proptest! {
        #[test]
        fn every_schedule_fetches_again(
            steps in prop::collection::vec((0u8..4, any::<u64>(), prop::option::of(any::<u64>())), 0..30),
        ) {
            let mut schedule = schedule();
            let mut now = 0_u64;
            for (what, jitter, expires) in steps {
                match what {
                    0 => schedule.sent(now),
                    1 => { schedule.failed(now, jitter); }
                    2 => { schedule.fetched(now, expires, jitter); }
                    _ => now = now.saturating_add(jitter % (100 * SECOND)),
                }
            }
            let from = now / SECOND + 1;
            let first = due(&mut schedule, from);
            // The limit is the longest of three times: the interval, the backoff, and the sum of timeout,
            // grace and backoff.
            prop_assert!(first.is_some_and(|first| first <= from + 61), "{first:?} from {from} on");
        }
    }
}
