//! The names in shared data of shared values, which the service fetches once per Envoy.

/// The key in shared data of the generation, which counts the changes to all values. It is a `u64`, 8 bytes
/// little-endian. Workers read the values again when the generation changes.
pub const GENERATION_KEY: &str = "tributary.values";

/// The greatest allowed limit of the bytes of a value. It is small because each worker keeps a copy of the
/// value.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;

/// The maximum number of values that a service can have.
pub const VALUES_MAX: usize = 32;

/// Returns the key in shared data of a configured value. An empty value means that the value is not valid
/// yet.
pub fn shared_key(name: &str) -> String {
    format!("tributary.value.{name}")
}

/// Returns whether `name` is a valid name of a value: letters, digits, `_`, `.` and `-`.
pub fn is_name(name: &str) -> bool {
    crate::counter::is_key(name)
}

/// Returns whether bytes are valid in a header's value: visible ASCII, blanks and bytes from 0x80 (RFC 9110
/// section 5.5). Other bytes could end the header and start another header.
pub fn is_header_value(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~' | 0x80..))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_value_contains_no_line_break() {
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
