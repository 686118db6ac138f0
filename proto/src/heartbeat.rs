//! The heartbeat of the service: the current time in shared data.

/// The key in shared data; the value is Unix nanoseconds, 8 bytes little-endian.
pub const KEY: &str = "tributary.heartbeat";

/// The time between two heartbeats, in nanoseconds. Writing a heartbeat takes two microseconds.
pub const INTERVAL_NS: u64 = 1_000_000_000;

/// The age from which a heartbeat is too old, in nanoseconds. It is longer than the time for which Envoy's
/// watchdog lets the main thread hang.
pub const SILENCE_NS: u64 = 10_000_000_000;

/// Encodes a heartbeat.
pub fn encode(unix_nano: u64) -> [u8; 8] {
    unix_nano.to_le_bytes()
}

/// Returns whether a heartbeat is too old. A heartbeat with a time in the future is not too old.
pub fn is_silent(bytes: &[u8], now_unix_nano: u64) -> bool {
    let beat = bytes.try_into().map(u64::from_le_bytes);
    beat.is_ok_and(|beat| now_unix_nano.saturating_sub(beat) >= SILENCE_NS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_becomes_too_old() {
        for (beat, now, expected) in
            [(5, 5, false), (5, 4 + SILENCE_NS, false), (5, 5 + SILENCE_NS, true), (u64::MAX, 5, false)]
        {
            assert_eq!(is_silent(&encode(beat), now), expected, "{beat} {now}");
        }
        assert!(!is_silent(b"text", u64::MAX), "not a heartbeat");
    }
}
