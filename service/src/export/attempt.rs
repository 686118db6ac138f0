//! The time of the next attempt to send a request, or the time until which its response is awaited. Both
//! times are adjusted if the wall clock is set.

use std::time::Duration;

use tributary_proto::duration::as_ns;

/// The longest plausible time between two readings of the clock. Each tick reads the clock. If two readings
/// differ by more, the clock was set forward or the process stood still: no response can have arrived in
/// that time.
const LEAP: Duration = Duration::from_secs(10);

/// An attempt to send something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    phase: Phase,
    until_unix_nano: u64,
    /// The start of the phase. If the clock shows an earlier time, it was set back.
    since_unix_nano: u64,
    /// The last reading of the clock.
    seen_unix_nano: u64,
}

/// What an attempt waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The attempt waits for its scheduled time.
    Scheduled,
    /// The attempt waits for its response.
    Sent,
}

impl Attempt {
    /// Schedules an attempt after `wait`.
    pub fn after(wait: Duration, now_unix_nano: u64) -> Self {
        let until_unix_nano = after(now_unix_nano, wait);
        let (since_unix_nano, seen_unix_nano) = (now_unix_nano, now_unix_nano);
        Self { phase: Phase::Scheduled, until_unix_nano, since_unix_nano, seen_unix_nano }
    }

    /// Returns whether the request was sent and its response is awaited.
    pub fn is_in_flight(&self) -> bool {
        self.phase == Phase::Sent
    }

    /// Schedules the next attempt after `wait`.
    pub fn schedule(&mut self, wait: Duration, now_unix_nano: u64) {
        self.phase = Phase::Scheduled;
        (self.until_unix_nano, self.since_unix_nano) = (after(now_unix_nano, wait), now_unix_nano);
    }

    /// Records that the request was sent, and that its response is awaited for `patience`.
    pub fn sent(&mut self, patience: Duration, now_unix_nano: u64) {
        self.schedule(patience, now_unix_nano);
        self.phase = Phase::Sent;
    }

    /// Returns whether it is time to send the request, or to stop waiting for its response.
    pub fn is_due(&mut self, now_unix_nano: u64) -> bool {
        self.follow_clock(now_unix_nano);
        now_unix_nano >= self.until_unix_nano
    }

    /// Adapts to a clock that was set.
    ///
    /// - If it was set back, a scheduled attempt is due now, because its time may be years ahead. A sent
    ///   attempt gets its whole `patience` again.
    /// - If it was set forward, a sent attempt waits longer by the same time. If it was sent again while
    ///   its response may still come, a destination with delta temporality would count it twice.
    fn follow_clock(&mut self, now_unix_nano: u64) {
        let seen = std::mem::replace(&mut self.seen_unix_nano, now_unix_nano).max(self.since_unix_nano);
        let unseen_ns = now_unix_nano.saturating_sub(seen);
        let back_ns = self.since_unix_nano.saturating_sub(now_unix_nano);
        self.until_unix_nano = match self.phase {
            Phase::Sent if unseen_ns > as_ns(LEAP) => self.until_unix_nano.saturating_add(unseen_ns),
            _ if back_ns == 0 => return,
            Phase::Sent => self.until_unix_nano.saturating_sub(back_ns),
            Phase::Scheduled => now_unix_nano,
        };
        self.since_unix_nano = now_unix_nano;
    }
}

fn after(now_unix_nano: u64, wait: Duration) -> u64 {
    now_unix_nano.saturating_add(as_ns(wait))
}
