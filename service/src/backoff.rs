//! How long to wait before trying again: longer each time, and not all Envoys at once.

use std::time::Duration;

/// The first wait, before jitter. A collector that restarts is back within seconds.
pub const FIRST: Duration = Duration::from_secs(1);
/// The longest wait, before jitter.
pub const LONGEST: Duration = Duration::from_secs(60);

/// The wait after `failures` failures in a row (at least one): doubling from [`FIRST`] to [`LONGEST`], of which `jitter`, any
/// number at all, takes away up to a half.
pub fn wait(failures: u32, jitter: u64) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let whole = FIRST.saturating_mul(1 << doublings).min(LONGEST);
    let half_ns = u64::try_from(whole.as_nanos() / 2).unwrap_or(u64::MAX);
    whole.saturating_sub(Duration::from_nanos(jitter.checked_rem(half_ns).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let waits: Vec<u64> =
            [0, 1, 2, 3, 6, 7, 8, u32::MAX].map(|failures| wait(failures, 0).as_secs()).into();
        assert_eq!(waits, [1, 1, 2, 4, 32, 60, 60, 60]);
    }

    proptest! {
        #[test]
        fn jitter_takes_away_a_half_at_most(failures: u32, jitter: u64) {
            let whole = wait(failures, 0);
            let shortened = wait(failures, jitter);
            prop_assert!(shortened <= whole && shortened > whole / 2);
        }
    }
}
