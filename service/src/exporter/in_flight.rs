//! A slice that is on its way.

use tributary_host::http_call::Call;

use crate::table::Cursor;

/// A slice that is on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct InFlight {
    pub(super) call: Call,
    pub(super) points: u64,
    pub(super) from: Cursor,
    pub(super) next: Option<Cursor>,
    pub(super) sent_unix_nano: u64,
}

impl InFlight {
    /// How long it has been.
    pub(super) fn duration_ns(&self, now_unix_nano: u64) -> u64 {
        now_unix_nano.saturating_sub(self.sent_unix_nano)
    }
}
