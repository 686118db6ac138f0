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

use tributary_proto::duration::as_ns;

use crate::answer::Verdict;
use crate::backoff::Backoff;
use crate::table::Cursor;

/// How much longer than its timeout a call may go without an answer. Envoy answers for the collector at the timeout, so
/// this passes only when an answer got lost.
const GRACE: Duration = Duration::from_secs(30);

/// Looks at the clock come with ticks. If two lie further apart than this, the clock was set forward or the process stood
/// still: no answer can have come for so long, however late it is now.
const LEAP: Duration = Duration::from_secs(10);

/// One destination's progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    interval: Duration,
    timeout: Duration,
    backoff: Backoff,
    state: State,
    /// When it came to that. A time before it shows that the wall clock went back.
    since_unix_nano: u64,
    /// When it was last asked what is due.
    seen_unix_nano: u64,
    /// Where the slice begins that is in flight or due.
    at: Cursor,
    cycle_began_unix_nano: u64,
    failures: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting { until_unix_nano: u64 },
    InFlight { next: Option<Cursor>, give_up_unix_nano: u64 },
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
        let (at, cycle_began_unix_nano) = (Cursor::default(), now_unix_nano);
        let state = State::Waiting { until_unix_nano: after(now_unix_nano, interval) };
        let (since_unix_nano, seen_unix_nano) = (now_unix_nano, now_unix_nano);
        Self {
            interval,
            timeout,
            backoff,
            state,
            since_unix_nano,
            seen_unix_nano,
            at,
            cycle_began_unix_nano,
            failures: 0,
        }
    }

    /// Where to send from, if something is to be sent now.
    pub fn due(&mut self, now_unix_nano: u64) -> Option<Cursor> {
        self.follow_clock(now_unix_nano);
        let until = match self.state {
            State::Waiting { until_unix_nano } => until_unix_nano,
            State::InFlight { give_up_unix_nano, .. } => give_up_unix_nano,
        };
        if now_unix_nano < until {
            return None;
        }
        if self.at == Cursor::default() {
            self.cycle_began_unix_nano = now_unix_nano;
        }
        Some(self.at)
    }

    /// What waits for its time is due at once, were it for a backoff; what is on its way stays so.
    pub fn hasten(&mut self, now_unix_nano: u64) {
        if let State::Waiting { .. } = self.state {
            self.come_to(State::Waiting { until_unix_nano: now_unix_nano }, now_unix_nano);
        }
    }

    /// The slice is on its way; the one after it begins at `next`.
    pub fn sent(&mut self, now_unix_nano: u64, next: Option<Cursor>) {
        let give_up_unix_nano = after(now_unix_nano, self.timeout.saturating_add(GRACE));
        self.come_to(State::InFlight { next, give_up_unix_nano }, now_unix_nano);
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
        let State::InFlight { next, .. } = self.state else { return None };
        Some(match verdict {
            Verdict::Retry { after } => self.again(now_unix_nano, *after, jitter),
            Verdict::Taken { .. } => {
                let failures = std::mem::take(&mut self.failures);
                self.go_on(now_unix_nano, next);
                Outcome::Taken { failures }
            }
            Verdict::Refused { status } => {
                self.go_on(now_unix_nano, next);
                Outcome::GivenUp { status: *status }
            }
        })
    }

    /// After the backoff, or after what the collector asks for if that is longer.
    fn again(&mut self, now_unix_nano: u64, asked: Option<Duration>, jitter: u64) -> Outcome {
        self.failures = self.failures.saturating_add(1);
        let wait = self.backoff.wait(self.failures, jitter).max(asked.unwrap_or_default());
        self.come_to(State::Waiting { until_unix_nano: after(now_unix_nano, wait) }, now_unix_nano);
        Outcome::Again { failures: self.failures, wait }
    }

    /// The next slice at once; after the last, a new cycle one interval after this one began, or now if that has passed.
    fn go_on(&mut self, now_unix_nano: u64, next: Option<Cursor>) {
        self.at = next.unwrap_or_default();
        let until_unix_nano = match next {
            Some(_) => now_unix_nano,
            None => {
                let began_unix_nano = self.cycle_began_unix_nano.min(now_unix_nano);
                after(began_unix_nano, self.interval).max(now_unix_nano)
            }
        };
        self.come_to(State::Waiting { until_unix_nano }, now_unix_nano);
    }

    fn come_to(&mut self, state: State, now_unix_nano: u64) {
        (self.state, self.since_unix_nano) = (state, now_unix_nano);
    }

    /// If the wall clock went back, what waits is due, and what is on its way gets all its time anew: to wait for the time that was
    /// meant could take for ever. If it leapt forward, what is on its way gets that time too: to send it again while its answer
    /// may come would have a destination of deltas count it twice.
    fn follow_clock(&mut self, now_unix_nano: u64) {
        let seen = std::mem::replace(&mut self.seen_unix_nano, now_unix_nano).max(self.since_unix_nano);
        let unseen_ns = now_unix_nano.saturating_sub(seen);
        if let State::InFlight { give_up_unix_nano, .. } = &mut self.state
            && unseen_ns > as_ns(LEAP)
        {
            *give_up_unix_nano = give_up_unix_nano.saturating_add(unseen_ns);
            self.since_unix_nano = now_unix_nano;
        }
        let Some(back_ns) = self.since_unix_nano.checked_sub(now_unix_nano).filter(|back_ns| *back_ns > 0)
        else {
            return;
        };
        match &mut self.state {
            State::Waiting { until_unix_nano } => *until_unix_nano = now_unix_nano,
            State::InFlight { give_up_unix_nano, .. } => {
                *give_up_unix_nano = give_up_unix_nano.saturating_sub(back_ns);
            }
        }
        self.since_unix_nano = now_unix_nano;
    }
}

fn after(unix_nano: u64, wait: Duration) -> u64 {
    unix_nano.saturating_add(as_ns(wait))
}

#[cfg(test)]
mod tests;
