//! The state of one destination: when to send, from where in the table, and what a response changes. It has
//! no clock and sends nothing: callers pass the time and the events.
//!
//! A cycle sends the whole table in slices, with one call in flight. [`due`](Delivery::due) returns whether
//! and from where to send. Then exactly one of [`sent`](Delivery::sent), [`unsendable`](Delivery::unsendable)
//! and [`proceed`](Delivery::proceed) is called. After `sent` follows exactly one of
//! [`handle_response`](Delivery::handle_response) and, if no response arrives, a later `due` that gives it
//! up.
//!
//! The table keeps what was not confirmed, so there is no backlog: a retried slice is encoded again, with
//! newer data.

use std::time::Duration;

use super::attempt::Attempt;
use super::backoff::Backoff;
use super::response::ResponseClass;
use crate::aggregate::Cursor;

/// How long after its timeout a call is given up. Envoy responds at the timeout itself, so this happens only
/// if a response gets lost.
const GRACE: Duration = Duration::from_secs(30);

/// The progress of one destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    interval: Duration,
    timeout: Duration,
    backoff: Backoff,
    attempt: Attempt,
    /// Where the slice starts that is in flight or due.
    at: Cursor,
    /// Where the next slice starts, while this one is in flight.
    next: Option<Cursor>,
    cycle_start_unix_nano: u64,
    failures: u32,
}

/// The result of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The slice was accepted.
    Accepted {
        /// Failures in a row before.
        failures: u32,
    },
    /// The slice is sent again.
    Retry {
        /// Failures in a row.
        failures: u32,
        /// The time until then.
        wait: Duration,
    },
    /// The slice is not sent again. Its sums are in the next cycle.
    Dropped {
        /// The status of the response.
        status: u16,
    },
}

impl Delivery {
    /// Creates a delivery whose first cycle starts one interval from now.
    pub fn new(interval: Duration, timeout: Duration, backoff: Backoff, now_unix_nano: u64) -> Self {
        let attempt = Attempt::after(interval, now_unix_nano);
        let (at, next, cycle_start_unix_nano) = (Cursor::default(), None, now_unix_nano);
        Self { interval, timeout, backoff, attempt, at, next, cycle_start_unix_nano, failures: 0 }
    }

    /// Returns where to send from, if it is time to send.
    pub fn due(&mut self, now_unix_nano: u64) -> Option<Cursor> {
        if !self.attempt.is_due(now_unix_nano) {
            return None;
        }
        if self.at == Cursor::default() {
            self.cycle_start_unix_nano = now_unix_nano;
        }
        Some(self.at)
    }

    /// Schedules the next attempt now, even during a backoff. A call in flight is not affected.
    pub fn schedule_now(&mut self, now_unix_nano: u64) {
        if !self.attempt.is_in_flight() {
            self.attempt.schedule(Duration::ZERO, now_unix_nano);
        }
    }

    /// Records that the slice was sent; the next one starts at `next`.
    pub fn sent(&mut self, now_unix_nano: u64, next: Option<Cursor>) {
        self.next = next;
        self.attempt.sent(self.timeout.saturating_add(GRACE), now_unix_nano);
    }

    /// Records that Envoy refused the call.
    pub fn unsendable(&mut self, now_unix_nano: u64, jitter: u64) -> Outcome {
        self.retry(now_unix_nano, None, jitter)
    }

    /// Records a response. Returns `None` if nothing was in flight: the call was given up before.
    pub fn handle_response(
        &mut self,
        now_unix_nano: u64,
        class: &ResponseClass,
        jitter: u64,
    ) -> Option<Outcome> {
        if !self.attempt.is_in_flight() {
            return None;
        }
        Some(match class {
            ResponseClass::Retryable { after } => self.retry(now_unix_nano, *after, jitter),
            ResponseClass::Accepted { .. } => {
                let failures = std::mem::take(&mut self.failures);
                self.proceed(now_unix_nano, self.next);
                Outcome::Accepted { failures }
            }
            ResponseClass::Rejected { status } => {
                self.proceed(now_unix_nano, self.next);
                Outcome::Dropped { status: *status }
            }
        })
    }

    /// Waits for the backoff, or for what the collector asked for if that is longer.
    fn retry(&mut self, now_unix_nano: u64, asked: Option<Duration>, jitter: u64) -> Outcome {
        self.failures = self.failures.saturating_add(1);
        let wait = self.backoff.wait(self.failures, jitter).max(asked.unwrap_or_default());
        self.attempt.schedule(wait, now_unix_nano);
        Outcome::Retry { failures: self.failures, wait }
    }

    /// Proceeds to the slice at `next` at once, or after the last to a new cycle, one interval after this one
    /// started. Called instead of [`sent`](Self::sent) if the slice was empty.
    pub fn proceed(&mut self, now_unix_nano: u64, next: Option<Cursor>) {
        self.at = next.unwrap_or_default();
        let wait = match next {
            Some(_) => Duration::ZERO,
            None => {
                let passed_ns = now_unix_nano.saturating_sub(self.cycle_start_unix_nano);
                self.interval.saturating_sub(Duration::from_nanos(passed_ns))
            }
        };
        self.attempt.schedule(wait, now_unix_nano);
    }
}

#[cfg(test)]
mod tests;
