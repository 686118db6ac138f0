//! The time that one callback may take: Envoy's main thread also runs xDS and the admin interface.

use std::time::Duration;

use tributary_host::clock;
use tributary_proto::duration::as_ns;

/// How long a callback may run before it leaves the rest to the next callback. It finishes a started step: at
/// most one batch of [`tributary_proto::limits::BATCH_BYTES`], or [`crate::export::PART_ROWS`] rows.
const CALLBACK: Duration = Duration::from_millis(1);

/// The time budget of a callback.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// When the callback started.
    pub started_unix_nano: u64,
}

impl Budget {
    /// Starts the budget of a callback.
    pub fn start() -> Self {
        Self { started_unix_nano: clock::now_unix_nano() }
    }

    /// Returns whether the budget is spent. A clock that goes backwards counts as spent.
    pub fn is_spent(self) -> bool {
        let spent_ns = clock::now_unix_nano().checked_sub(self.started_unix_nano);
        spent_ns.is_none_or(|spent_ns| spent_ns >= as_ns(CALLBACK))
    }
}

#[cfg(test)]
mod tests {
    use tributary_host::fake;

    use super::*;

    #[test]
    fn a_budget_is_spent_after_its_time_or_when_the_clock_goes_backwards() {
        fake::reset();
        fake::with(|host| host.now_unix_nano = 5_000_000);
        let budget = Budget::start();
        for (now, expected) in [(5_000_000, false), (5_999_999, false), (6_000_000, true), (4_999_999, true)]
        {
            fake::with(|host| host.now_unix_nano = now);
            assert_eq!(budget.is_spent(), expected, "{now}");
        }
    }
}
