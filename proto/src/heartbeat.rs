//! How the service says that it is alive: the time, in shared data.

/// The key in shared data; the value is Unix nanoseconds, 8 bytes little-endian.
pub const KEY: &str = "tributary.heartbeat";

/// How often it is written, in nanoseconds: a write is two microseconds.
pub const INTERVAL_NS: u64 = 1_000_000_000;

/// After so long, in nanoseconds, a service counts as dead: longer than anything that holds up Envoy's main thread without its
/// watchdog killing the process.
pub const SILENCE_NS: u64 = 10_000_000_000;

/// The wire form of a time.
pub fn encode(unix_nano: u64) -> [u8; 8] {
    unix_nano.to_le_bytes()
}

/// Whether a service that last wrote `bytes` is silent. One whose clock is ahead is not.
pub fn is_silent(bytes: &[u8], now_unix_nano: u64) -> bool {
    let beat = bytes.try_into().map(u64::from_le_bytes);
    beat.is_ok_and(|beat| now_unix_nano.saturating_sub(beat) >= SILENCE_NS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_silent_after_a_while() {
        for (beat, now, expected) in
            [(5, 5, false), (5, 4 + SILENCE_NS, false), (5, 5 + SILENCE_NS, true), (u64::MAX, 5, false)]
        {
            assert_eq!(is_silent(&encode(beat), now), expected, "{beat} {now}");
        }
        assert!(!is_silent(b"text", u64::MAX), "what is no time says nothing");
    }
}
