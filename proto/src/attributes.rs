//! The attributes of one series, as the canonical bytes that serve as its key everywhere: same attributes, same bytes.

use crate::generated::otlp::{AnyValue, KeyValue, any_value};
use crate::limits::{ATTRIBUTE_KEY_BYTES_MAX, ATTRIBUTE_VALUE_BYTES_MAX, ATTRIBUTES_MAX};
use crate::protobuf::{Field, field, write};

/// What an attribute of a series may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Text.
    Text(&'a str),
    /// True or false.
    Truth(bool),
    /// A whole number.
    Integer(i64),
}

/// The attribute that marks the series in which everything past a cardinality limit is counted
/// (OpenTelemetry metrics SDK specification, "Overflow attribute").
pub const OVERFLOW: &str = "otel.metric.overflow";

/// Why bytes are not the canonical attributes of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttributesError {
    /// Not an AttributeSet as [`encode`] writes it, or text in it that is not UTF-8.
    Malformed,
    /// More than [`ATTRIBUTES_MAX`] attributes.
    TooMany,
    /// A key or a value is longer than its limit, or a key is empty.
    Length,
    /// Keys are not in strictly ascending order.
    Order,
    /// An attribute has no value, or one that no attribute has.
    NoValue,
}

/// A text attribute; a value longer than [`ATTRIBUTE_VALUE_BYTES_MAX`] is cut at a character's end.
pub fn text(key: &str, value: &str) -> KeyValue {
    key_value(key, any_value::Value::StringValue(clip(value, ATTRIBUTE_VALUE_BYTES_MAX).to_owned()))
}

/// An integer attribute.
pub fn integer(key: &str, value: i64) -> KeyValue {
    key_value(key, any_value::Value::IntValue(value))
}

/// A truth value as an attribute.
pub fn boolean(key: &str, value: bool) -> KeyValue {
    key_value(key, any_value::Value::BoolValue(value))
}

/// The canonical bytes: attributes in ascending order of their keys, of equal keys the first.
pub fn encode(attributes: Vec<KeyValue>) -> Vec<u8> {
    // By insertion: there are few, and the standard library's way of sorting is larger than all of this file.
    let mut sorted: Vec<KeyValue> = Vec::with_capacity(attributes.len());
    for attribute in attributes {
        let place = sorted.partition_point(|present| present.key < attribute.key);
        if sorted.get(place).is_none_or(|present| present.key != attribute.key) {
            sorted.insert(place, attribute);
        }
    }
    let mut out = Vec::new();
    for KeyValue { key, value } in &sorted {
        let Some(value) = value.as_ref().and_then(|value| value.value.as_ref()) else { continue };
        let value = match value {
            any_value::Value::StringValue(text) => Value::Text(text),
            any_value::Value::BoolValue(truth) => Value::Truth(*truth),
            any_value::Value::IntValue(number) => Value::Integer(*number),
        };
        write::message(&mut out, 1, |out| write(out, key, value));
    }
    out
}

/// The canonical bytes of the overflow series.
pub fn overflow() -> Vec<u8> {
    encode(vec![boolean(OVERFLOW, true)])
}

/// Says what is wrong with `bytes` if they are not canonical. Reads them where they are.
pub fn check(bytes: &[u8]) -> Result<(), AttributesError> {
    let (mut rest, mut count, mut last) = (bytes, 0_usize, "");
    while let Some(attribute) = next(&mut rest) {
        let (key, value) = attribute?;
        count = count.saturating_add(1);
        if count > ATTRIBUTES_MAX {
            return Err(AttributesError::TooMany);
        }
        let value_bytes = if let Value::Text(text) = value { text.len() } else { 0 };
        let lengths = (1..=ATTRIBUTE_KEY_BYTES_MAX).contains(&key.len());
        if !lengths || value_bytes > ATTRIBUTE_VALUE_BYTES_MAX {
            return Err(AttributesError::Length);
        }
        // Nothing comes before the first, which is not empty.
        if key <= last {
            return Err(AttributesError::Order);
        }
        last = key;
    }
    Ok(())
}

/// The attributes that `bytes` stand for, if they are canonical.
pub fn decode(bytes: &[u8]) -> Result<Vec<KeyValue>, AttributesError> {
    check(bytes)?;
    let owned = |(key, value): (&str, Value<'_>)| {
        let value = match value {
            Value::Text(text) => any_value::Value::StringValue(text.to_owned()),
            Value::Truth(truth) => any_value::Value::BoolValue(truth),
            Value::Integer(number) => any_value::Value::IntValue(number),
        };
        key_value(key, value)
    };
    Ok(iter(bytes).map(owned).collect())
}

/// Each attribute of canonical bytes, where it is. Ends where they are not.
pub fn iter(canonical: &[u8]) -> impl Iterator<Item = (&str, Value<'_>)> {
    let mut rest = canonical;
    std::iter::from_fn(move || next(&mut rest)?.ok())
}

/// Takes an attribute off the front; none at the end.
fn next<'a>(bytes: &mut &'a [u8]) -> Option<Result<(&'a str, Value<'a>), AttributesError>> {
    if bytes.is_empty() {
        return None;
    }
    let before = bytes.len();
    let Some((1, Field::Bytes(attribute))) = field(bytes) else {
        return Some(Err(AttributesError::Malformed));
    };
    Some(read(attribute).and_then(|(key, value)| {
        // Whatever else is among it, or lengths with more digits than they need.
        let canonical = length(key, value) == before.saturating_sub(bytes.len());
        if canonical { Ok((key, value)) } else { Err(AttributesError::Malformed) }
    }))
}

/// One attribute from its fields (KeyValue in `schema/otlp.proto`), as [`write()`] writes them.
pub fn read(mut attribute: &[u8]) -> Result<(&str, Value<'_>), AttributesError> {
    let text = |bytes| std::str::from_utf8(bytes).map_err(|_| AttributesError::Malformed);
    let key = match field(&mut attribute) {
        Some((1, Field::Bytes(key))) => text(key)?,
        // An empty one is left out.
        _ => return Err(AttributesError::Length),
    };
    let Some((2, Field::Bytes(mut value))) = field(&mut attribute) else {
        return Err(AttributesError::NoValue);
    };
    let value = match field(&mut value) {
        Some((1, Field::Bytes(value))) => Value::Text(text(value)?),
        Some((2, Field::Varint(truth @ 0..=1))) => Value::Truth(truth == 1),
        Some((3, Field::Varint(number))) => Value::Integer(number.cast_signed()),
        _ => return Err(AttributesError::NoValue),
    };
    Ok((key, value))
}

/// The fields of one attribute (KeyValue in `schema/otlp.proto`).
pub fn write(out: &mut Vec<u8>, key: &str, value: Value<'_>) {
    write::text(out, 1, key);
    write::message(out, 2, |out| match value {
        Value::Text(text) => write::bytes(out, 1, text.as_bytes()),
        Value::Truth(truth) => write::one_of_uints(out, 2, truth.into()),
        Value::Integer(number) => write::one_of_uints(out, 3, number.cast_unsigned()),
    });
}

/// How long an attribute is among canonical ones.
fn length(key: &str, value: Value<'_>) -> usize {
    let delimited = |bytes: usize| {
        let prefix = write::varint_length(u64::try_from(bytes).unwrap_or(u64::MAX));
        bytes.saturating_add(prefix).saturating_add(1)
    };
    let value = match value {
        Value::Text(text) => delimited(text.len()),
        Value::Truth(_) => 2,
        Value::Integer(number) => write::varint_length(number.cast_unsigned()).saturating_add(1),
    };
    delimited(delimited(key.len()).saturating_add(delimited(value)))
}

/// The longest beginning of `text` that has at most `bytes` bytes and ends with a whole character.
pub fn clip(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or(text)
}

fn key_value(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;

    use super::*;
    use crate::generated::otlp::AttributeSet;

    #[test]
    fn order_of_definition_does_not_matter() {
        let one = encode(vec![text("b", "2"), integer("a", 1)]);
        let other = encode(vec![integer("a", 1), text("b", "2")]);
        assert_eq!(one, other);
        assert_eq!(decode(&one).unwrap(), vec![integer("a", 1), text("b", "2")]);
    }

    #[test]
    fn what_is_not_canonical_is_refused() {
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
            // {"a": true}, with a field more, with a length of two bytes, and with a truth of 2; then {"a": 1.0}.
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
        fn canonical_bytes_are_those_of_the_generated_types(
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
        fn bytes_that_are_canonical_are_the_only_ones_of_their_attributes(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
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
