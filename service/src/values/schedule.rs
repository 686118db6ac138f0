//! When a value is fetched: a state machine without a clock of its own.

use std::time::Duration;

use tributary_proto::duration::as_ns;

use crate::attempt::Attempt;
use crate::backoff::Backoff;

/// Between a fetch and the next one at the least, whatever a token says of its expiry.
const LEAST: Duration = Duration::from_secs(1);

/// An answer that did not come this long after its timeout never will: the host answers timeouts itself.
const GRACE: Duration = Duration::from_secs(5);

/// When one value is fetched.
#[derive(Clone, Debug)]
pub struct Schedule {
    every: Duration,
    timeout: Duration,
    refresh_before: Duration,
    keep_on_failure: Duration,
    backoff: Backoff,
    attempt: Attempt,
    failures: u32,
    /// When the value was fetched last, or found.
    good_unix_nano: Option<u64>,
}

/// How a schedule is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// From one fetch to the next, unless the value expires before.
    pub every: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How long before its expiry a value is fetched anew.
    pub refresh_before: Duration,
    /// How long a value stays while fetching fails, since it was fetched last.
    pub keep_on_failure: Duration,
    /// How long to wait after failures.
    pub backoff: Backoff,
}

impl Schedule {
    /// A schedule that begins at once.
    pub fn new(pace: Pace, now_unix_nano: u64) -> Self {
        let Pace { every, timeout, refresh_before, keep_on_failure, backoff } = pace;
        let attempt = Attempt::after(Duration::ZERO, now_unix_nano);
        Self {
            every,
            timeout,
            refresh_before,
            keep_on_failure,
            backoff,
            attempt,
            failures: 0,
            good_unix_nano: None,
        }
    }

    /// A value is there that was fetched at a time unknown.
    pub fn found(&mut self, now_unix_nano: u64) {
        self.good_unix_nano = Some(now_unix_nano);
    }

    /// Whether to fetch now. An answer that never came is a failure, after which it waits.
    pub fn is_due(&mut self, now_unix_nano: u64, jitter: u64) -> bool {
        // If the clock went back, it was good until now.
        self.good_unix_nano = self.good_unix_nano.map(|good| good.min(now_unix_nano));
        if !self.attempt.has_come(now_unix_nano) {
            return false;
        }
        let is_lost = self.attempt.is_awaited();
        if is_lost {
            self.failed(now_unix_nano, jitter);
        }
        !is_lost
    }

    /// The request is under way.
    pub fn sent(&mut self, now_unix_nano: u64) {
        self.attempt.sent(self.timeout.saturating_add(GRACE), now_unix_nano);
    }

    /// No value came; gives how long to the next try.
    pub fn failed(&mut self, now_unix_nano: u64, jitter: u64) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let wait = self.backoff.wait(self.failures, jitter);
        self.attempt.wait(wait, now_unix_nano);
        wait
    }

    /// A value came, which expires at a time, if that is known. The next fetch is up to a tenth earlier, so that not all Envoys
    /// ask at once.
    pub fn fetched(&mut self, now_unix_nano: u64, expires_unix_nano: Option<u64>, jitter: u64) {
        self.failures = 0;
        self.good_unix_nano = Some(now_unix_nano);
        let lives = expires_unix_nano.map(|at| Duration::from_nanos(at.saturating_sub(now_unix_nano)));
        let wait =
            lives.map_or(self.every, |lives| lives.saturating_sub(self.refresh_before).min(self.every));
        let tenth_ns = as_ns(wait) / 10;
        let early = Duration::from_nanos(jitter.checked_rem(tenth_ns).unwrap_or(0));
        let wait = wait.saturating_sub(early).max(LEAST);
        self.attempt.wait(wait, now_unix_nano);
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Whether fetching has failed for so long that the value is to be taken back.
    pub fn is_stale(&self, now_unix_nano: u64) -> bool {
        let is_over = |good| now_unix_nano.saturating_sub(good) >= as_ns(self.keep_on_failure);
        self.failures > 0 && self.good_unix_nano.is_some_and(is_over)
    }

    /// The value was taken back.
    pub fn taken_back(&mut self) {
        self.good_unix_nano = None;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn schedule() -> Schedule {
        let pace = Pace {
            every: Duration::from_secs(60),
            timeout: Duration::from_secs(5),
            refresh_before: Duration::from_secs(10),
            keep_on_failure: Duration::from_secs(100),
            backoff: Backoff::new(Duration::from_secs(1), Duration::from_secs(30)),
        };
        Schedule::new(pace, 0)
    }

    /// The first second, from `from` on, at which it is due.
    fn due(schedule: &mut Schedule, from: u64) -> Option<u64> {
        (from..from + 1_000).find(|second| schedule.is_due(second * SECOND, 0))
    }

    #[test]
    fn a_value_is_fetched_at_once_and_then_at_its_interval_or_before_it_expires() {
        let mut schedule = schedule();
        assert_eq!(due(&mut schedule, 0), Some(0));
        schedule.sent(0);
        assert!(!schedule.is_due(SECOND, 0), "one fetch at a time");
        schedule.fetched(0, None, 0);
        assert_eq!(due(&mut schedule, 0), Some(60));
        schedule.fetched(0, Some(30 * SECOND), 0);
        assert_eq!(due(&mut schedule, 0), Some(20));
        schedule.fetched(0, Some(5 * SECOND), 0);
        assert_eq!(due(&mut schedule, 0), Some(1), "not without a pause");
        schedule.fetched(0, None, u64::MAX);
        assert!(due(&mut schedule, 0) >= Some(54));
    }

    #[test]
    fn failures_wait_longer_and_an_answer_that_never_comes_is_one() {
        let mut schedule = schedule();
        schedule.sent(0);
        assert_eq!(due(&mut schedule, 0), Some(11), "10 s of timeout and grace, 1 s of backoff");
        assert_eq!(schedule.failures(), 1);
        assert_eq!(schedule.failed(0, 0), Duration::from_secs(2));
    }

    #[test]
    fn the_last_good_value_stays_for_as_long_as_it_may() {
        let mut schedule = schedule();
        schedule.fetched(0, None, 0);
        assert!(!schedule.is_stale(500 * SECOND), "nothing failed");
        schedule.failed(60 * SECOND, 0);
        assert!(!schedule.is_stale(99 * SECOND));
        assert!(schedule.is_stale(100 * SECOND));
        schedule.taken_back();
        assert!(!schedule.is_stale(200 * SECOND), "once");
    }

    #[test]
    fn a_clock_that_goes_back_holds_up_no_fetch() {
        const AHEAD: u64 = 3_600;
        let mut schedule = schedule();
        schedule.fetched(AHEAD * SECOND, None, 0);
        assert_eq!(due(&mut schedule, 5), Some(5), "who knows for how long it was good");
        schedule.failed(AHEAD * SECOND, 0);
        assert_eq!(due(&mut schedule, 6), Some(6));
        schedule.sent(AHEAD * SECOND);
        assert_eq!(due(&mut schedule, 7), Some(19), "10 s of timeout and grace, 2 s of backoff");
        assert!(!schedule.is_stale(104 * SECOND) && schedule.is_stale(105 * SECOND));
    }

    #[test]
    fn a_clock_that_leaps_forward_gives_up_no_answer() {
        let mut schedule = schedule();
        schedule.sent(0);
        assert!(!schedule.is_due(3_600 * SECOND, 0));
        assert_eq!(schedule.failures(), 0, "it may still come");
        assert_eq!(due(&mut schedule, 3_601), Some(3_611));
    }

    proptest! {
        #[test]
        fn it_always_fetches_again(
            steps in prop::collection::vec((0u8..4, any::<u64>(), prop::option::of(any::<u64>())), 0..30),
        ) {
            let mut schedule = schedule();
            let mut now = 0_u64;
            for (what, jitter, expires) in steps {
                match what {
                    0 => schedule.sent(now),
                    1 => { schedule.failed(now, jitter); }
                    2 => schedule.fetched(now, expires, jitter),
                    _ => now = now.saturating_add(jitter % (100 * SECOND)),
                }
            }
            let from = now / SECOND + 1;
            let first = due(&mut schedule, from);
            // The longest of interval, backoff, and timeout with grace and backoff.
            prop_assert!(first.is_some_and(|first| first <= from + 61), "{first:?} from {from} on");
        }
    }
}
