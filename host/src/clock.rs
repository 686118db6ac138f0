//! What time it is, and when to be called again.

use std::time::Duration;

use proxy_wasm::types::Status;

use crate::raw;

/// Now, in nanoseconds since the Unix epoch, by the wall clock: the only one the ABI has. It may go backwards.
pub fn now_unix_nano() -> u64 {
    // The host cannot fail here short of a capability restriction, under which no plugin is configured ([`probe`]).
    raw::now_unix_nano().unwrap_or(0)
}

/// Tries whether the time is told.
///
/// # Errors
/// The host withholds it.
pub fn probe() -> Result<(), Status> {
    raw::now_unix_nano().map(drop)
}

/// Asks for `on_tick` every `period`, in whole milliseconds and at least one.
pub fn tick_every(period: Duration) -> Result<(), Status> {
    raw::set_tick_period(u32::try_from(period.as_millis()).unwrap_or(u32::MAX).max(1))
}
