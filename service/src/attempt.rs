//! When something is sent, and until when its answer is awaited, by a wall clock, which may be set.

use std::time::Duration;

use tributary_proto::duration::as_ns;

/// Looks at the clock come with ticks. If two lie further apart than this, the clock was set forward or the process stood
/// still: no answer can have come for so long, however late it is now.
const LEAP: Duration = Duration::from_secs(10);

/// An attempt to send something: it is waited for, or its answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Whether it was sent.
    is_awaited: bool,
    until_unix_nano: u64,
    /// When it came to that. A time before it shows that the wall clock went back.
    since_unix_nano: u64,
    /// When the clock was looked at last.
    seen_unix_nano: u64,
}

impl Attempt {
    /// One after `wait`.
    pub fn after(wait: Duration, now_unix_nano: u64) -> Self {
        let until_unix_nano = after(now_unix_nano, wait);
        let (since_unix_nano, seen_unix_nano) = (now_unix_nano, now_unix_nano);
        Self { is_awaited: false, until_unix_nano, since_unix_nano, seen_unix_nano }
    }

    /// Whether an answer is awaited.
    pub fn is_awaited(&self) -> bool {
        self.is_awaited
    }

    /// The next one is after `wait`.
    pub fn wait(&mut self, wait: Duration, now_unix_nano: u64) {
        self.is_awaited = false;
        (self.until_unix_nano, self.since_unix_nano) = (after(now_unix_nano, wait), now_unix_nano);
    }

    /// It was sent, and its answer is awaited for so long.
    pub fn sent(&mut self, patience: Duration, now_unix_nano: u64) {
        self.wait(patience, now_unix_nano);
        self.is_awaited = true;
    }

    /// Whether the time has come: to send, or to give up an answer.
    pub fn has_come(&mut self, now_unix_nano: u64) -> bool {
        self.follow_clock(now_unix_nano);
        now_unix_nano >= self.until_unix_nano
    }

    /// If the wall clock went back, what waits is due, and what is on its way gets all its time anew: to wait for the time that was
    /// meant could take for ever. If it leapt forward, what is on its way gets that time too: to send it again while its answer
    /// may come would have a destination of deltas count it twice.
    fn follow_clock(&mut self, now_unix_nano: u64) {
        let seen = std::mem::replace(&mut self.seen_unix_nano, now_unix_nano).max(self.since_unix_nano);
        let unseen_ns = now_unix_nano.saturating_sub(seen);
        let back_ns = self.since_unix_nano.saturating_sub(now_unix_nano);
        match () {
            () if self.is_awaited && unseen_ns > as_ns(LEAP) => {
                self.until_unix_nano = self.until_unix_nano.saturating_add(unseen_ns);
            }
            () if back_ns == 0 => return,
            () if self.is_awaited => self.until_unix_nano = self.until_unix_nano.saturating_sub(back_ns),
            () => self.until_unix_nano = now_unix_nano,
        }
        self.since_unix_nano = now_unix_nano;
    }
}

/// When a wait that begins now is over.
fn after(now_unix_nano: u64, wait: Duration) -> u64 {
    now_unix_nano.saturating_add(as_ns(wait))
}
