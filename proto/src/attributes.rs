//! The attributes of one series, in their canonical encoding. Equal attributes have equal bytes, so the
//! encoding is the key of the series everywhere.

use std::error::Error;
use std::fmt;

use prost::Message;
use prost::encoding::{WireType, decode_varint, encoded_len_varint};

use crate::generated::otlp::{AnyValue, AttributeSet, KeyValue, any_value};
use crate::limits::{ATTRIBUTE_KEY_BYTES_MAX, ATTRIBUTE_VALUE_BYTES_MAX, ATTRIBUTES_MAX};

/// The value of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttributeValue<'a> {
    /// Text.
    Text(&'a str),
    /// A boolean.
    Bool(bool),
    /// An integer.
    Integer(i64),
}

/// The attribute of the overflow series, which counts all observations past a cardinality limit
/// (OpenTelemetry metrics SDK specification, "Overflow attribute").
pub const OVERFLOW: &str = "otel.metric.overflow";

/// The replacement of values that are not allowed or exceed a limit (OpenTelemetry semantic conventions).
pub const OTHER: &[u8] = b"_OTHER";

/// The divisor of the limit of series that gives the size of the reserve. The reserve is for series that have
/// [`OTHER`] in place of the values that clients choose. It is on top of the limit, so that clients cannot
/// use it up.
const RESERVE_SHARE: usize = 4;

/// Returns the limit of all series, including series with [`OTHER`], given the limit without the reserve.
pub fn with_reserve(series_max: usize) -> usize {
    series_max.saturating_add(series_max / RESERVE_SHARE)
}

/// Returns whether a value in canonical attributes is [`OTHER`] or contains it.
pub fn has_other(canonical: &[u8]) -> bool {
    canonical.windows(OTHER.len()).any(|part| part == OTHER)
}

/// Why bytes are not canonical attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttributesError {
    /// The bytes are not an AttributeSet as [`encode`] writes it, or contain text that is not UTF-8.
    Malformed,
    /// There are more than [`ATTRIBUTES_MAX`] attributes.
    TooMany,
    /// A key or a value is longer than its limit, or a key is empty.
    Length,
    /// The keys are not in strictly ascending order.
    Order,
    /// An attribute has no value, or one of an unknown type.
    NoValue,
}

impl fmt::Display for AttributesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "attributes that are not a canonical AttributeSet",
            Self::TooMany => "too many attributes",
            Self::Length => "an attribute whose key or value is too long, or whose key is empty",
            Self::Order => "attributes that are not in ascending order of their keys",
            Self::NoValue => "an attribute without a valid value",
        })
    }
}

impl Error for AttributesError {}

/// Creates a text attribute. A value longer than [`ATTRIBUTE_VALUE_BYTES_MAX`] is cut between characters.
pub fn text(key: &str, value: &str) -> KeyValue {
    key_value(key, any_value::Value::StringValue(clip(value, ATTRIBUTE_VALUE_BYTES_MAX).to_owned()))
}

/// Creates an integer attribute.
pub fn integer(key: &str, value: i64) -> KeyValue {
    key_value(key, any_value::Value::IntValue(value))
}

/// Creates a boolean attribute.
pub fn boolean(key: &str, value: bool) -> KeyValue {
    key_value(key, any_value::Value::BoolValue(value))
}

/// Encodes attributes canonically: in ascending order of their keys. The first of equal keys is kept.
pub fn encode(attributes: Vec<KeyValue>) -> Vec<u8> {
    // Uses insertion sort: there are few attributes, and the standard library's sort has more code than this
    // file.
    let mut sorted: Vec<KeyValue> = Vec::with_capacity(attributes.len());
    for attribute in attributes {
        let at = sorted.partition_point(|present| present.key < attribute.key);
        if sorted.get(at).is_none_or(|present| present.key != attribute.key) {
            sorted.insert(at, attribute);
        }
    }
    AttributeSet { attributes: sorted }.encode_to_vec()
}

/// Encodes the attributes of the overflow series.
pub fn overflow() -> Vec<u8> {
    encode(vec![boolean(OVERFLOW, true)])
}

/// Checks that `bytes` are canonical attributes, without decoding them.
///
/// # Errors
/// The first rule that the bytes break.
pub fn check(bytes: &[u8]) -> Result<(), AttributesError> {
    let (mut rest, mut count, mut last) = (bytes, 0_usize, "");
    while !rest.is_empty() {
        let (key, value) = next(&mut rest)?;
        count = count.saturating_add(1);
        if count > ATTRIBUTES_MAX {
            return Err(AttributesError::TooMany);
        }
        let value_bytes = if let AttributeValue::Text(text) = value { text.len() } else { 0 };
        if key.len() > ATTRIBUTE_KEY_BYTES_MAX || value_bytes > ATTRIBUTE_VALUE_BYTES_MAX {
            return Err(AttributesError::Length);
        }
        // `last` is empty before the first key, and a key is never empty.
        if key <= last {
            return Err(AttributesError::Order);
        }
        last = key;
    }
    Ok(())
}

/// Checks and decodes canonical attributes.
///
/// # Errors
/// The errors of [`check`].
pub fn decode(bytes: &[u8]) -> Result<Vec<KeyValue>, AttributesError> {
    check(bytes)?;
    AttributeSet::decode(bytes).map(|set| set.attributes).map_err(|_| AttributesError::Malformed)
}

/// Iterates over canonical attributes without decoding them. Stops at the first invalid attribute.
pub fn iter(canonical: &[u8]) -> impl Iterator<Item = (&str, AttributeValue<'_>)> {
    let mut rest = canonical;
    std::iter::from_fn(move || next(&mut rest).ok())
}

/// Iterates over the encodings of canonical attributes (KeyValue in `schema/otlp.proto`).
pub fn encoded(canonical: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = canonical;
    std::iter::from_fn(move || delimited(&mut rest, 1))
}

/// Reads the next attribute: a KeyValue (`schema/otlp.proto`) exactly as prost writes it.
fn next<'a>(bytes: &mut &'a [u8]) -> Result<(&'a str, AttributeValue<'a>), AttributesError> {
    let text = |bytes| std::str::from_utf8(bytes).map_err(|_| AttributesError::Malformed);
    let mut attribute = delimited(bytes, 1).ok_or(AttributesError::Malformed)?;
    // prost omits an empty key.
    let key = delimited(&mut attribute, 1).filter(|key| !key.is_empty()).ok_or(AttributesError::Length)?;
    let mut value = delimited(&mut attribute, 2).ok_or(AttributesError::NoValue)?;
    let read = if let Some(value) = delimited(&mut value, 1) {
        AttributeValue::Text(text(value)?)
    } else if let Some(number @ 0..=1) = varint(&mut value, 2, WireType::Varint) {
        AttributeValue::Bool(number == 1)
    } else if let Some(number) = varint(&mut value, 3, WireType::Varint) {
        AttributeValue::Integer(number.cast_signed())
    } else {
        return Err(AttributesError::NoValue);
    };
    let is_complete = value.is_empty() && attribute.is_empty();
    if is_complete { Ok((text(key)?, read)) } else { Err(AttributesError::Malformed) }
}

/// Reads the next field, which contains text or a message.
fn delimited<'a>(bytes: &mut &'a [u8], field: u8) -> Option<&'a [u8]> {
    let mut rest = *bytes;
    let length = varint(&mut rest, field, WireType::LengthDelimited)?;
    let (value, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    *bytes = rest;
    Some(value)
}

/// Reads the key of a field and the integer after the key, which must be encoded in as few bytes as possible.
fn varint(bytes: &mut &[u8], field: u8, wire_type: WireType) -> Option<u64> {
    let mut rest = bytes.strip_prefix(&[field << 3 | wire_type as u8])?;
    // Nearly all integers have one byte.
    if let Some((number @ 0..0x80, rest)) = rest.split_first() {
        *bytes = rest;
        return Some(u64::from(*number));
    }
    let before = rest.len();
    let number = decode_varint(&mut rest).ok()?;
    (before.saturating_sub(rest.len()) == encoded_len_varint(number)).then(|| {
        *bytes = rest;
        number
    })
}

/// Returns the longest prefix of `text` that has at most `bytes` bytes and ends at a character boundary.
pub fn clip(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or(text)
}

fn key_value(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn order_of_definition_does_not_matter() {
        let one = encode(vec![text("b", "2"), integer("a", 1)]);
        let other = encode(vec![integer("a", 1), text("b", "2")]);
        assert_eq!(one, other);
        assert_eq!(decode(&one).unwrap(), vec![integer("a", 1), text("b", "2")]);
    }

    #[test]
    fn bytes_that_are_not_canonical_are_rejected() {
        let unsorted = AttributeSet { attributes: vec![text("b", ""), text("a", "")] }.encode_to_vec();
        let repeated = AttributeSet { attributes: vec![text("a", "1"), text("a", "2")] }.encode_to_vec();
        let nameless = AttributeSet { attributes: vec![text("", "1")] }.encode_to_vec();
        let valueless =
            AttributeSet { attributes: vec![KeyValue { key: "a".into(), value: None }] }.encode_to_vec();
        let many = (0..=ATTRIBUTES_MAX).map(|n| integer(&format!("{n:03}"), 1)).collect();
        for (bytes, expected) in [
            (unsorted, AttributesError::Order),
            (repeated, AttributesError::Order),
            (nameless, AttributesError::Length),
            (valueless, AttributesError::NoValue),
            (encode(many), AttributesError::TooMany),
            (b"\xff\xff".to_vec(), AttributesError::Malformed),
            // {"a": true} with an additional field; {"a": true} with a length of two bytes; {"a": true} with
            // the boolean 2; {"a": 1.0}.
            (b"\x0a\x09\x0a\x01a\x12\x02\x10\x01\x18\x01".to_vec(), AttributesError::Malformed),
            (b"\x0a\x87\x00\x0a\x01a\x12\x02\x10\x01".to_vec(), AttributesError::Malformed),
            (b"\x0a\x07\x0a\x01a\x12\x02\x10\x02".to_vec(), AttributesError::NoValue),
            (b"\x0a\x0e\x0a\x01a\x12\x09\x21\0\0\0\0\0\0\xf0\x3f".to_vec(), AttributesError::NoValue),
        ] {
            assert_eq!(decode(&bytes), Err(expected), "{bytes:?}");
        }
        assert!(decode(b"\x0a\x07\x0a\x01a\x12\x02\x10\x01").is_ok());
    }

    proptest! {
        #[test]
        fn canonical_bytes_are_the_encoding_of_the_generated_types(
            attributes in prop::collection::btree_map("\\PC{1,20}", prop_oneof![
                "\\PC{0,300}".prop_map(any_value::Value::StringValue),
                any::<i64>().prop_map(any_value::Value::IntValue),
                any::<bool>().prop_map(any_value::Value::BoolValue),
            ], 0..9),
        ) {
            let attributes: Vec<KeyValue> = attributes.into_iter().map(|(key, value)| key_value(&key, value)).collect();
            let bytes = AttributeSet { attributes: attributes.clone() }.encode_to_vec();
            prop_assert_eq!(&encode(attributes.iter().rev().cloned().collect()), &bytes);
            prop_assert_eq!(decode(&bytes), Ok(attributes));
        }

        #[test]
        fn attributes_have_only_one_canonical_encoding(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(attributes) = decode(&bytes) {
                prop_assert_eq!(encode(attributes), bytes);
            }
        }
    }

    #[test]
    fn a_long_value_is_cut_between_characters() {
        assert_eq!(clip("aé", 2), "a");
        assert_eq!(clip("aé", 3), "aé");
        assert_eq!(clip("", 3), "");
        let long = text("k", &"é".repeat(ATTRIBUTE_VALUE_BYTES_MAX));
        assert!(decode(&encode(vec![long])).is_ok());
    }

    #[test]
    fn the_overflow_series_has_one_boolean_attribute() {
        let attributes = decode(&overflow()).unwrap();
        assert_eq!(attributes, vec![boolean("otel.metric.overflow", true)]);
    }
}
