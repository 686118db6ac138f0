//! The wait before a retry. It grows with each failure, and its jitter spreads the retries of many Envoys.

use std::time::Duration;

use tributary_proto::duration::as_ns;

/// An exponential backoff with jitter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
}

impl Backoff {
    /// Creates a backoff whose waits double from `first` to `longest`, before jitter.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest: longest.max(first) }
    }

    /// Returns the wait after `failures` failures in a row. The random number `jitter` shortens the wait
    /// by up to half.
    pub fn wait(&self, failures: u32, jitter: u64) -> Duration {
        let doublings = failures.saturating_sub(1).min(16);
        let whole = self.first.saturating_mul(1 << doublings).min(self.longest);
        let half_ns = as_ns(whole) / 2;
        whole.saturating_sub(Duration::from_nanos(jitter.checked_rem(half_ns).unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        let waits: Vec<u64> =
            [0, 1, 2, 3, 6, 7, 8, u32::MAX].map(|failures| backoff.wait(failures, 0).as_secs()).into();
        assert_eq!(waits, [1, 1, 2, 4, 32, 60, 60, 60]);
    }

    proptest! {
        #[test]
        fn jitter_shortens_a_wait_by_at_most_a_half(first in 1u64..100_000, longest in 1u64..100_000, failures: u32, jitter: u64) {
            let backoff = Backoff::new(Duration::from_millis(first), Duration::from_millis(longest));
            let whole = backoff.wait(failures, 0);
            let shortened = backoff.wait(failures, jitter);
            prop_assert!(whole >= Duration::from_millis(first) && whole <= backoff.longest);
            prop_assert!(shortened <= whole && shortened > whole / 2);
        }
    }
}
