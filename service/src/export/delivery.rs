//! The delivery to one destination: it decides when to send, from which position in the table, and what a
//! response changes. A delivery reads no clock and sends nothing: callers pass the time and the events.
//!
//! A cycle sends the whole table in slices, with one call in flight. If it is time to send,
//! [`due`](Delivery::due) returns the position to send from. Then the caller calls exactly one of
//! [`sent`](Delivery::sent), [`failed`](Delivery::failed) and [`proceed`](Delivery::proceed). After `sent`,
//! the caller calls exactly one of [`accepted`](Delivery::accepted), [`failed`](Delivery::failed),
//! [`dropped`](Delivery::dropped) and, for a rejected slice, [`proceed`](Delivery::proceed). If no response
//! arrives, a later `due` returns the same slice.
//!
//! No requests are queued, because the table keeps all data that was not confirmed: a retried slice is
//! encoded again, with newer data.

use std::time::Duration;

use super::attempt::Attempt;
use super::backoff::Backoff;
use crate::aggregate::Cursor;

/// How long after the timeout of a call the delivery stops waiting for its response. Envoy itself
/// responds at the timeout, so this happens only if a response gets lost.
const GRACE: Duration = Duration::from_secs(30);

/// The progress of one destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    interval: Duration,
    timeout: Duration,
    backoff: Backoff,
    attempt: Attempt,
    /// The start of the slice that is in flight or due.
    at: Cursor,
    cycle_start_unix_nano: u64,
    failures: u32,
}

impl Delivery {
    /// Creates a delivery whose first cycle starts one interval from now.
    pub fn new(interval: Duration, timeout: Duration, backoff: Backoff, now_unix_nano: u64) -> Self {
        let attempt = Attempt::after(interval, now_unix_nano);
        let (at, cycle_start_unix_nano) = (Cursor::default(), now_unix_nano);
        Self { interval, timeout, backoff, attempt, at, cycle_start_unix_nano, failures: 0 }
    }

    /// Returns the position to send from; `None` if it is not time to send.
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

    /// Records that the slice was sent.
    pub fn sent(&mut self, now_unix_nano: u64) {
        self.attempt.sent(self.timeout.saturating_add(GRACE), now_unix_nano);
    }

    /// Records that the slice was accepted; the next slice starts at `next`. Returns the number of
    /// failures in a row before this success.
    pub fn accepted(&mut self, now_unix_nano: u64, next: Option<Cursor>) -> u32 {
        self.proceed(now_unix_nano, next);
        std::mem::take(&mut self.failures)
    }

    /// Records that the slice must be sent again, because Envoy rejected the call or the collector asks for
    /// a retry. Returns the number of failures in a row and the wait before the retry: the backoff, or the
    /// time that the collector asked for if that is longer.
    pub fn failed(&mut self, now_unix_nano: u64, asked: Option<Duration>, jitter: u64) -> (u32, Duration) {
        self.failures = self.failures.saturating_add(1);
        let wait = self.backoff.wait(self.failures, jitter).max(asked.unwrap_or_default());
        self.attempt.schedule(wait, now_unix_nano);
        (self.failures, wait)
    }

    /// Records that the slice was dropped after a failure, and schedules the slice at `next` after the same
    /// wait as [`failed`](Self::failed). If the dropped slice was the last one, the wait is at least the rest
    /// of the interval.
    pub fn dropped(
        &mut self,
        now_unix_nano: u64,
        next: Option<Cursor>,
        asked: Option<Duration>,
        jitter: u64,
    ) -> (u32, Duration) {
        self.at = next.unwrap_or_default();
        let rest = next.is_none().then(|| self.rest_of_interval(now_unix_nano));
        self.failed(now_unix_nano, asked.max(rest), jitter)
    }

    /// Schedules the slice at `next` now or, if this was the last, a new cycle one interval after the
    /// start of this cycle. Callers use it for a slice that was empty or rejected.
    pub fn proceed(&mut self, now_unix_nano: u64, next: Option<Cursor>) {
        self.at = next.unwrap_or_default();
        let wait = match next {
            Some(_) => Duration::ZERO,
            None => self.rest_of_interval(now_unix_nano),
        };
        self.attempt.schedule(wait, now_unix_nano);
    }

    /// Returns the time until the next cycle is due.
    fn rest_of_interval(&self, now_unix_nano: u64) -> Duration {
        let passed_ns = now_unix_nano.saturating_sub(self.cycle_start_unix_nano);
        self.interval.saturating_sub(Duration::from_nanos(passed_ns))
    }
}

#[cfg(test)]
mod tests;
