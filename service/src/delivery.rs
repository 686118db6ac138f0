//! The state of one destination: when to send, from where in the table, and what an answer changes. It has no clock and
//! sends nothing; it is told the time and what happened.
//!
//! A cycle sends the whole table in slices, one call in flight. [`due`](Delivery::due) says whether and from where to send;
//! then exactly one of [`sent`](Delivery::sent), [`unsendable`](Delivery::unsendable) and
//! [`skipped`](Delivery::skipped) is called, and after `sent` exactly one of [`answered`](Delivery::answered)
//! and, if no answer ever comes, a later `due` that gives up on it.
//!
//! The table keeps what did not arrive, so there is no backlog: a slice that is sent again is encoded again, with what came since.

use std::time::Duration;

use crate::answer::Verdict;
use crate::attempt::Attempt;
use crate::backoff::Backoff;
use crate::table::Cursor;

/// How much longer than its timeout a call may go without an answer. Envoy answers for the collector at the timeout, so
/// this passes only when an answer got lost.
const GRACE: Duration = Duration::from_secs(30);

/// One destination's progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    interval: Duration,
    timeout: Duration,
    backoff: Backoff,
    attempt: Attempt,
    /// Where the slice begins that is in flight or due.
    at: Cursor,
    /// Where the one after it begins, if it is in flight.
    next: Option<Cursor>,
    cycle_began_unix_nano: u64,
    failures: u32,
}

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The slice was taken, after so many failures in a row.
    Taken {
        /// Failures before.
        failures: u32,
    },
    /// The slice will be sent again, in so long.
    Again {
        /// Failures in a row.
        failures: u32,
        /// The wait.
        wait: Duration,
    },
    /// The slice will not be sent again; the next cycle brings its sums anew.
    GivenUp {
        /// The collector's status.
        status: u16,
    },
}

impl Delivery {
    /// The first cycle begins one interval from now.
    pub fn new(interval: Duration, timeout: Duration, backoff: Backoff, now_unix_nano: u64) -> Self {
        let attempt = Attempt::after(interval, now_unix_nano);
        let (at, next, cycle_began_unix_nano) = (Cursor::default(), None, now_unix_nano);
        Self { interval, timeout, backoff, attempt, at, next, cycle_began_unix_nano, failures: 0 }
    }

    /// Where to send from, if something is to be sent now.
    pub fn due(&mut self, now_unix_nano: u64) -> Option<Cursor> {
        if !self.attempt.has_come(now_unix_nano) {
            return None;
        }
        if self.at == Cursor::default() {
            self.cycle_began_unix_nano = now_unix_nano;
        }
        Some(self.at)
    }

    /// What waits for its time is due at once, were it for a backoff; what is on its way stays so.
    pub fn hasten(&mut self, now_unix_nano: u64) {
        if !self.attempt.is_awaited() {
            self.attempt.wait(Duration::ZERO, now_unix_nano);
        }
    }

    /// The slice is on its way; the one after it begins at `next`.
    pub fn sent(&mut self, now_unix_nano: u64, next: Option<Cursor>) {
        self.next = next;
        self.attempt.sent(self.timeout.saturating_add(GRACE), now_unix_nano);
    }

    /// The host refused to send: no such cluster yet, or none of its hosts.
    pub fn unsendable(&mut self, now_unix_nano: u64, jitter: u64) -> Outcome {
        self.again(now_unix_nano, None, jitter)
    }

    /// There was nothing to say in this slice; the one after it begins at `next`.
    pub fn skipped(&mut self, now_unix_nano: u64, next: Option<Cursor>) {
        self.go_on(now_unix_nano, next);
    }

    /// An answer came. None if nothing was in flight: an answer to a call that was given up.
    pub fn answered(&mut self, now_unix_nano: u64, verdict: &Verdict, jitter: u64) -> Option<Outcome> {
        if !self.attempt.is_awaited() {
            return None;
        }
        Some(match verdict {
            Verdict::Retry { after } => self.again(now_unix_nano, *after, jitter),
            Verdict::Taken { .. } => {
                let failures = std::mem::take(&mut self.failures);
                self.go_on(now_unix_nano, self.next);
                Outcome::Taken { failures }
            }
            Verdict::Refused { status } => {
                self.go_on(now_unix_nano, self.next);
                Outcome::GivenUp { status: *status }
            }
        })
    }

    /// After the backoff, or after what the collector asks for if that is longer.
    fn again(&mut self, now_unix_nano: u64, asked: Option<Duration>, jitter: u64) -> Outcome {
        self.failures = self.failures.saturating_add(1);
        let wait = self.backoff.wait(self.failures, jitter).max(asked.unwrap_or_default());
        self.attempt.wait(wait, now_unix_nano);
        Outcome::Again { failures: self.failures, wait }
    }

    /// The next slice at once; after the last, a new cycle one interval after this one began, or now if that has passed.
    fn go_on(&mut self, now_unix_nano: u64, next: Option<Cursor>) {
        self.at = next.unwrap_or_default();
        let wait = match next {
            Some(_) => Duration::ZERO,
            None => {
                let passed_ns = now_unix_nano.saturating_sub(self.cycle_began_unix_nano);
                self.interval.saturating_sub(Duration::from_nanos(passed_ns))
            }
        };
        self.attempt.wait(wait, now_unix_nano);
    }
}

#[cfg(test)]
mod tests;
