//! The names of counters in shared data.

/// Returns the key in shared data of a configured counter. Its value is a `u64`, 8 bytes little-endian.
pub fn shared_key(key: &str) -> String {
    format!("tributary.counter.{key}")
}

/// Returns whether `key` is valid for a counter: letters, digits, `_`, `.` and `-`, which every collector
/// accepts as an attribute.
pub fn is_key(key: &str) -> bool {
    let is_length = (1..=crate::limits::COUNTER_KEY_BYTES_MAX).contains(&key.len());
    is_length && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_consist_of_letters_digits_and_three_marks() {
        for (key, expected) in
            [("requests", true), ("a.b-c_9", true), ("", false), ("a b", false), ("é", false)]
        {
            assert_eq!(is_key(key), expected, "{key:?}");
        }
        assert!(!is_key(&"k".repeat(129)));
        assert_eq!(shared_key("requests"), "tributary.counter.requests");
    }
}
