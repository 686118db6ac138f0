//! A configuration that is a serialised google.protobuf.Struct, as JSON values: what Envoy hands over for a Struct in its own
//! configuration (1.36.4 and 1.40.0), where its documentation says JSON text.
//!
//! Read by hand: the generated types would add 24 KiB to each module, for something that is read once.

use crate::json::{DEPTH_MAX, Object, Value};
use crate::protobuf::{Field, field};

/// The object that a serialised Struct stands for; none if the bytes are none.
pub(super) fn decode(bytes: &[u8]) -> Option<Object> {
    object(bytes, DEPTH_MAX)
}

fn object(mut bytes: &[u8], depth: usize) -> Option<Object> {
    let depth = depth.checked_sub(1)?;
    let mut entries = Object::new();
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
            (2, Field::Fixed64(bits)) => Value::Number(f64::from_bits(bits)),
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
            Value::Number(number) => Kind::NumberValue(*number),
            Value::String(text) => Kind::StringValue(text.clone()),
            Value::Array(items) => Kind::ListValue(ListValue { values: items.iter().map(wire).collect() }),
            Value::Object(entries) => Kind::StructValue(structure(entries)),
        };
        Wire { kind: Some(kind) }
    }

    fn structure(entries: &Object) -> Struct {
        Struct { fields: entries.iter().map(|(key, value)| (key.to_owned(), wire(value))).collect() }
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i32>().prop_map(|number| Value::Number(number.into())),
            (-1e9..1e9).prop_map(Value::Number),
            "\\PC{0,9}".prop_map(Value::String),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
                prop::collection::btree_map("\\PC{0,9}", inner, 0..6)
                    .prop_map(|entries| Value::Object(object_of(entries))),
            ]
        })
    }

    fn object_of(entries: impl IntoIterator<Item = (String, Value)>) -> Object {
        let mut object = Object::new();
        entries.into_iter().for_each(|(name, value)| object.insert(name, value));
        object
    }

    proptest! {
        #[test]
        fn reads_what_the_well_known_types_write(entries in prop::collection::btree_map("\\PC{0,9}", any_value(), 0..6)) {
            let entries = object_of(entries);
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
        let encoded = |depth| structure(&object_of([("a".to_owned(), nested(depth))])).encode_to_vec();
        assert!(decode(&encoded(DEPTH_MAX - 1)).is_some());
        assert!(decode(&encoded(DEPTH_MAX)).is_none());
        assert!(decode(&encoded(80)).is_none());
    }
}
