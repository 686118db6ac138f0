//! Parses JSON and the whole numbers in it.

use serde_json::{Error, Value};

/// Parses JSON text with at most 127 nested levels. If a name is repeated in an object, its last value is
/// used.
///
/// A number of up to 15 digits becomes the nearest double. A number with more digits can become a double
/// adjacent to the nearest double.
pub fn read(bytes: &[u8]) -> Result<Value, Error> {
    serde_json::from_slice(bytes)
}

/// Returns a value that is a non-negative whole number. `5.0` is valid too, because numbers in Envoy's Struct
/// are doubles.
pub fn whole(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| whole_double(value.as_f64()?))
}

/// Converts a double to an integer. Returns `None` unless it is a non-negative whole number.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be whole and in range"
)]
pub fn whole_double(double: f64) -> Option<u64> {
    // 2^53: a double represents every integer up to this number.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    ((0.0..=EXACT).contains(&double) && double.trunc() == double).then_some(double as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns `depth` nested lists.
    fn nested(depth: usize) -> Vec<u8> {
        [vec![b'['; depth], vec![b']'; depth]].concat()
    }

    #[test]
    fn nesting_is_bounded() {
        assert!(read(&nested(127)).is_ok());
        for depth in [128, 100_000] {
            let error = read(&nested(depth)).unwrap_err().to_string();
            assert_eq!(error, "recursion limit exceeded at line 1 column 128");
        }
        assert!(
            read(&[&b"["[..], &b"[],".repeat(1_000), b"[]]"].concat()).is_ok(),
            "siblings are not nested"
        );
    }

    #[test]
    fn the_last_value_of_a_name_counts() {
        assert_eq!(read(br#"{"a": 1, "b": 2, "a": 3}"#).unwrap().to_string(), r#"{"a":3,"b":2}"#);
    }

    #[test]
    fn an_error_has_its_position() {
        for (text, expected) in [
            ("", "EOF while parsing a value at line 1 column 0"),
            ("{\n  \"a\": 1,\n  b: 2\n}", "key must be a string at line 3 column 3"),
            ("{} x", "trailing characters at line 1 column 4"),
            ("1e309", "number out of range at line 1 column 5"),
            ("\u{feff}1", "expected value at line 1 column 1"),
        ] {
            assert_eq!(read(text.as_bytes()).unwrap_err().to_string(), expected, "{text:?}");
        }
        assert!(read(b"\"\xff\"").is_err(), "not UTF-8");
    }

    #[test]
    fn whole_numbers_can_be_doubles() {
        for (json, expected) in [
            ("5", Some(5)),
            ("5.0", Some(5)),
            ("5e2", Some(500)),
            ("-0.0", Some(0)),
            ("18446744073709551615", Some(u64::MAX)),
            ("9007199254740992.0", Some(1 << 53)),
            ("9007199254740994.0", None),
            ("18446744073709551616", None),
            ("5.5", None),
            ("-1", None),
            ("-1.0", None),
            ("1e300", None),
            ("\"5\"", None),
        ] {
            assert_eq!(whole(&read(json.as_bytes()).unwrap()), expected, "{json}");
        }
    }

    proptest! {
        #[test]
        fn numbers_of_fifteen_digits_are_exact(digits in 0u64..1_000_000_000_000_000, power in -22i32..=22) {
            let text = format!("{digits}e{power}");
            prop_assert_eq!(read(text.as_bytes()).unwrap().as_f64(), text.parse().ok());
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes).map(|value| whole(&value));
        }

        #[test]
        fn no_text_panics(text in "[\\[\\]{}:,\"\\\\tfnrue0-9.+\\-E \n]{0,40}") {
            let _ = read(text.as_bytes()).map(|value| whole(&value));
        }
    }
}
