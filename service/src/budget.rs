//! How long one callback may go on: Envoy's main thread, which runs it, also runs xDS and the admin interface.

use std::time::Duration;

use tributary_host::clock;
use tributary_proto::duration::as_ns;

/// What a callback may take before it leaves the rest to the next. What is begun is ended: at most one batch of
/// [`tributary_proto::limits::BATCH_BYTES`], or [`crate::exporter::PART_ROWS`] rows.
const CALLBACK: Duration = Duration::from_millis(1);

/// A time that is running.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    began_unix_nano: u64,
}

impl Budget {
    /// For a callback that begins now.
    pub fn begin() -> Self {
        Self { began_unix_nano: clock::now_unix_nano() }
    }

    /// Whether it is up. A clock that goes backwards takes what is left.
    pub fn is_spent(self) -> bool {
        let spent_ns = clock::now_unix_nano().checked_sub(self.began_unix_nano);
        spent_ns.is_none_or(|spent_ns| spent_ns >= as_ns(CALLBACK))
    }
}

#[cfg(test)]
mod tests {
    use tributary_host::fake;

    use super::*;

    #[test]
    fn it_is_spent_after_a_while_or_when_the_clock_goes_backwards() {
        fake::reset();
        fake::with(|host| host.now_unix_nano = 5_000_000);
        let budget = Budget::begin();
        for (now, expected) in [(5_000_000, false), (5_999_999, false), (6_000_000, true), (4_999_999, true)]
        {
            fake::with(|host| host.now_unix_nano = now);
            assert_eq!(budget.is_spent(), expected, "{now}");
        }
    }
}
