//! Shared values: what the service fetches once per Envoy, and the names under which workers find it in shared data.

use crate::limits::COUNTER_KEY_BYTES_MAX;

/// The key in shared data of the number of changes to any value: a `u64`, 8 bytes little-endian. A reader looks at the values
/// again only when it has changed.
pub const GENERATION_KEY: &str = "tributary.values";

/// Bytes of a value that a configuration may ask for. Each worker keeps a copy.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;

/// Values of one service.
pub const VALUES_MAX: usize = 32;

/// The key in shared data of the value that the configuration calls `name`; it is empty while there is none.
pub fn shared_key(name: &str) -> String {
    format!("tributary.value.{name}")
}

/// Whether `name` can name a value: letters, digits, `_`, `.` and `-`.
pub fn is_name(name: &str) -> bool {
    name.len() <= COUNTER_KEY_BYTES_MAX && crate::counter::is_key(name)
}

/// Whether bytes can be (a part of) a header's value: visible ASCII, blanks, and bytes above (RFC 9110 section 5.5). What is
/// not could end the header and begin another.
pub fn is_header_value(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~' | 0x80..))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_ends_a_header_is_a_value() {
        for (bytes, expected) in [
            (&b"Bearer a.b-c"[..], true),
            (b"", true),
            (b"caf\xc3\xa9", true),
            (b"a\r\nb: c", false),
            (b"a\0", false),
        ] {
            assert_eq!(is_header_value(bytes), expected, "{bytes:?}");
        }
        assert_eq!((is_name("jwt"), is_name("a b"), is_name("")), (true, false, false));
    }
}
