//! Parses JSON and the whole numbers in it.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Error, Map, Number, Value};

/// The maximum number of repeated keys that [`read_with_repeated`] returns.
const REPEATED_MAX: usize = 16;

/// The error of a text that is not JSON.
#[derive(Debug)]
pub struct Invalid {
    /// The path of the value with the error, such as `flush.interval`; empty for the whole text.
    pub path: String,
    /// The reason, with line and column.
    pub reason: Error,
}

/// Parses JSON text with at most 127 nested levels. If a name is repeated in an object, its last value is
/// used.
///
/// A number of up to 15 digits becomes the nearest double. A number with more digits can become a double
/// adjacent to the nearest double.
pub fn read(bytes: &[u8]) -> Result<Value, Error> {
    read_with_repeated(bytes).map(|(value, _)| value).map_err(|invalid| invalid.reason)
}

/// Parses JSON text like [`read`], and returns the paths of repeated keys, too.
pub fn read_with_repeated(bytes: &[u8]) -> Result<(Value, Vec<String>), Invalid> {
    let mut parser = serde_json::Deserializer::from_slice(bytes);
    let mut reader = Reader { path: String::new(), repeated: Vec::new() };
    match reader.deserialize(&mut parser).and_then(|value| parser.end().map(|()| value)) {
        Ok(value) => Ok((value, reader.repeated)),
        Err(reason) => Err(Invalid { path: reader.path, reason }),
    }
}

/// Reads one value. After an error, `path` is that of the value with the error.
struct Reader {
    path: String,
    repeated: Vec<String>,
}

impl<'de> DeserializeSeed<'de> for &mut Reader {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Reader {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    // The parser rejects other numbers. An error of our own here would add 12 KiB to a module.
    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let (mut items, length) = (Vec::new(), self.path.len());
        loop {
            self.path.push_str(&format!("[{}]", items.len()));
            let item = list.next_element_seed(&mut *self)?;
            self.path.truncate(length);
            match item {
                Some(item) => items.push(item),
                None => return Ok(Value::Array(items)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let (mut members, length) = (Map::new(), self.path.len());
        while let Some(key) = map.next_key::<String>()? {
            if length > 0 {
                self.path.push('.');
            }
            self.path.push_str(&key);
            let value = map.next_value_seed(&mut *self)?;
            if members.insert(key, value).is_some() && self.repeated.len() < REPEATED_MAX {
                self.repeated.push(self.path.clone());
            }
            self.path.truncate(length);
        }
        Ok(Value::Object(members))
    }
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
    fn repeated_keys_have_their_paths() {
        let json = br#"{"a": {"b": 1, "b": 2, "c": [{}, {"d": 1, "d": 2}]}, "e": 1, "e": 1}"#;
        assert_eq!(read_with_repeated(json).unwrap().1, ["a.b", "a.c[1].d", "e"]);
        let many = format!("{{{}\"a\": 1}}", "\"a\": 1, ".repeat(1_000));
        assert_eq!(read_with_repeated(many.as_bytes()).unwrap().1.len(), REPEATED_MAX);
    }

    #[test]
    fn an_error_has_its_path() {
        for (text, expected) in [
            (r#"{"a": {"b": [1, 1e309]}}"#, "a.b[1]"),
            (r#"{"a": {"b": [1], "c": tru}}"#, "a.c"),
            (r#"{"a": {"b": [1], c: 1}}"#, "a"),
            ("{", ""),
            ("{} x", ""),
        ] {
            assert_eq!(read_with_repeated(text.as_bytes()).unwrap_err().path, expected, "{text}");
        }
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
