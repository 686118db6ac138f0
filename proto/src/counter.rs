//! Counters in shared data: the names under which workers keep them and others find them.

/// The key in shared data of the counter that the configuration calls `key`. Its value is a `u64`, 8 bytes little-endian.
pub fn shared_key(key: &str) -> String {
    format!("tributary.counter.{key}")
}

/// Whether `key` can name a counter: letters, digits, `_`, `.` and `-`, so that it is a fine attribute value everywhere.
pub fn is_key(key: &str) -> bool {
    let fits = (1..=crate::limits::COUNTER_KEY_BYTES_MAX).contains(&key.len());
    fits && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_plain_words() {
        for (key, expected) in
            [("requests", true), ("a.b-c_9", true), ("", false), ("a b", false), ("é", false)]
        {
            assert_eq!(is_key(key), expected, "{key:?}");
        }
        assert!(!is_key(&"k".repeat(129)));
        assert_eq!(shared_key("requests"), "tributary.counter.requests");
    }
}
