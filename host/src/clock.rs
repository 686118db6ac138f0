//! The current time and ticks.

use std::time::Duration;

use proxy_wasm::types::Status;

use crate::raw;

/// Returns the time in nanoseconds since the Unix epoch. It comes from the wall clock, the only clock in the
/// ABI, so it can go backwards.
pub fn now_unix_nano() -> u64 {
    // Fails only if Envoy withholds the function, and then no plugin is configured ([`probe`]).
    raw::now_unix_nano().unwrap_or(0)
}

/// Tests whether the time can be read.
///
/// # Errors
/// Envoy withholds the function.
pub fn probe() -> Result<(), Status> {
    raw::now_unix_nano().map(drop)
}

/// Requests a call of `on_tick` once per `period`. The period is rounded down to whole milliseconds, but is
/// at least one millisecond.
pub fn tick_every(period: Duration) -> Result<(), Status> {
    raw::set_tick_period(u32::try_from(period.as_millis()).unwrap_or(u32::MAX).max(1))
}
