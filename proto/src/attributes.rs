//! The attributes of one series, as the canonical bytes that serve as its key everywhere: same attributes, same bytes.

use prost::Message;

use crate::generated::otlp::{AnyValue, AttributeSet, KeyValue, any_value};
use crate::limits::{ATTRIBUTE_KEY_BYTES_MAX, ATTRIBUTE_VALUE_BYTES_MAX, ATTRIBUTES_MAX};

/// The attribute that marks the series in which everything past a cardinality limit is counted
/// (OpenTelemetry metrics SDK specification, "Overflow attribute").
pub const OVERFLOW: &str = "otel.metric.overflow";

/// Why bytes are not the canonical attributes of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttributesError {
    /// Not an AttributeSet, or text in it that is not UTF-8.
    Malformed,
    /// More than [`ATTRIBUTES_MAX`] attributes.
    TooMany,
    /// A key or a value is longer than its limit, or a key is empty.
    Length,
    /// Keys are not in strictly ascending order.
    Order,
    /// An attribute has no value.
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
pub fn encode(mut attributes: Vec<KeyValue>) -> Vec<u8> {
    attributes.sort_by(|a, b| a.key.cmp(&b.key));
    attributes.dedup_by(|a, b| a.key == b.key);
    AttributeSet { attributes }.encode_to_vec()
}

/// The canonical bytes of the overflow series.
pub fn overflow() -> Vec<u8> {
    encode(vec![boolean(OVERFLOW, true)])
}

/// The attributes that `bytes` stand for, if they are canonical.
pub fn decode(bytes: &[u8]) -> Result<Vec<KeyValue>, AttributesError> {
    let attributes = AttributeSet::decode(bytes).map_err(|_| AttributesError::Malformed)?.attributes;
    if attributes.len() > ATTRIBUTES_MAX {
        return Err(AttributesError::TooMany);
    }
    if !attributes.iter().zip(attributes.iter().skip(1)).all(|(a, b)| a.key < b.key) {
        return Err(AttributesError::Order);
    }
    for attribute in &attributes {
        let value = attribute.value.as_ref().and_then(|value| value.value.as_ref());
        let value_bytes = match value {
            Some(any_value::Value::StringValue(text)) => text.len(),
            Some(_) => 0,
            None => return Err(AttributesError::NoValue),
        };
        let key_bytes = attribute.key.len();
        if key_bytes == 0 || key_bytes > ATTRIBUTE_KEY_BYTES_MAX || value_bytes > ATTRIBUTE_VALUE_BYTES_MAX {
            return Err(AttributesError::Length);
        }
    }
    Ok(attributes)
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
    use super::*;

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
        ] {
            assert_eq!(decode(&bytes), Err(expected));
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
