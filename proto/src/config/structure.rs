//! A configuration that is a serialised google.protobuf.Struct, as JSON values: what Envoy hands over for a Struct in its own
//! configuration (1.36.4 and 1.40.0), where its documentation says JSON text.
//!
//! Read by hand: the generated types would add 24 KiB to each module, for something that is read once.

use serde_json::{Map, Number, Value};

/// Levels of nesting; no configuration has more than a handful, and each costs stack.
const DEPTH_MAX: usize = 32;

/// One field of a message: its number and what it holds. Other wire types do not occur in a Struct.
enum Field<'a> {
    Varint(u64),
    Double(f64),
    Bytes(&'a [u8]),
}

/// The object that a serialised Struct stands for; none if the bytes are none.
pub(super) fn decode(bytes: &[u8]) -> Option<Map<String, Value>> {
    object(bytes, DEPTH_MAX)
}

fn object(mut bytes: &[u8], depth: usize) -> Option<Map<String, Value>> {
    let depth = depth.checked_sub(1)?;
    let mut entries = Map::new();
    while !bytes.is_empty() {
        let (1, Field::Bytes(mut entry)) = field(&mut bytes)? else { return None };
        let (mut key, mut entry_value) = (String::new(), Value::Null);
        while !entry.is_empty() {
            match field(&mut entry)? {
                (1, Field::Bytes(text)) => key = String::from_utf8(text.to_vec()).ok()?,
                (2, Field::Bytes(bytes)) => entry_value = value(bytes, depth)?,
                _ => return None,
            }
        }
        entries.insert(key, entry_value);
    }
    Some(entries)
}

fn value(mut bytes: &[u8], depth: usize) -> Option<Value> {
    let mut read = Value::Null;
    while !bytes.is_empty() {
        read = match field(&mut bytes)? {
            (1, Field::Varint(_)) => Value::Null,
            // JSON has no way to write what is not a number, and nothing allows it either.
            (2, Field::Double(number)) => {
                Number::from_f64(number).map_or_else(|| "not a number".into(), Value::Number)
            }
            (3, Field::Bytes(text)) => Value::String(String::from_utf8(text.to_vec()).ok()?),
            (4, Field::Varint(value)) => Value::Bool(value != 0),
            (5, Field::Bytes(structure)) => Value::Object(object(structure, depth)?),
            (6, Field::Bytes(items)) => Value::Array(list(items, depth)?),
            _ => return None,
        };
    }
    Some(read)
}

fn list(mut bytes: &[u8], depth: usize) -> Option<Vec<Value>> {
    let depth = depth.checked_sub(1)?;
    let mut items = Vec::new();
    while !bytes.is_empty() {
        let (1, Field::Bytes(item)) = field(&mut bytes)? else { return None };
        items.push(value(item, depth)?);
    }
    Some(items)
}

/// Takes a field off the front (protobuf encoding: a key of number and wire type, then the value).
fn field<'a>(bytes: &mut &'a [u8]) -> Option<(u64, Field<'a>)> {
    let key = varint(bytes)?;
    let value = match key & 7 {
        0 => Field::Varint(varint(bytes)?),
        1 => {
            let (double, rest) = bytes.split_first_chunk()?;
            *bytes = rest;
            Field::Double(f64::from_le_bytes(*double))
        }
        2 => {
            let length = usize::try_from(varint(bytes)?).ok()?;
            let (value, rest) = bytes.split_at_checked(length)?;
            *bytes = rest;
            Field::Bytes(value)
        }
        _ => return None,
    };
    Some((key >> 3, value))
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;
    use prost_types::{ListValue, Struct, Value as Wire, value::Kind};

    use super::*;

    /// The same value, as the well-known types have it.
    fn wire(value: &Value) -> Wire {
        let kind = match value {
            Value::Null => Kind::NullValue(0),
            Value::Bool(value) => Kind::BoolValue(*value),
            Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap()),
            Value::String(text) => Kind::StringValue(text.clone()),
            Value::Array(items) => Kind::ListValue(ListValue { values: items.iter().map(wire).collect() }),
            Value::Object(entries) => Kind::StructValue(structure(entries)),
        };
        Wire { kind: Some(kind) }
    }

    fn structure(entries: &Map<String, Value>) -> Struct {
        Struct { fields: entries.iter().map(|(key, value)| (key.clone(), wire(value))).collect() }
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            (-1e300..1e300).prop_map(|number: f64| Value::from(number)),
            "\\PC{0,9}".prop_map(Value::String),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
                prop::collection::btree_map("\\PC{0,9}", inner, 0..6)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn reads_what_the_well_known_types_write(entries in prop::collection::btree_map("\\PC{0,9}", any_value(), 0..6)) {
            let entries: Map<String, Value> = entries.into_iter().collect();
            prop_assert_eq!(decode(&structure(&entries).encode_to_vec()), Some(entries));
        }

        #[test]
        fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&bytes);
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth| (0..depth).fold(Value::Null, |inner, _| Value::Array(vec![inner]));
        let encoded =
            |depth| structure(&[("a".to_owned(), nested(depth))].into_iter().collect()).encode_to_vec();
        assert!(decode(&encoded(DEPTH_MAX - 1)).is_some());
        assert!(decode(&encoded(DEPTH_MAX)).is_none());
        assert!(decode(&encoded(80)).is_none());
    }
}
