//! Converts a serialised google.protobuf.Struct to JSON values. Envoy passes a Struct in its own
//! configuration in this form (1.36.4 and 1.40.0), although its documentation says that it passes JSON text.

use prost::Message;
use prost_types::Struct;
use prost_types::value::Kind;
use serde_json::{Map, Number, Value};

/// The first byte of every Struct that is not empty: the tag of its field `fields`. This byte distinguishes a
/// Struct from text. Text could otherwise be decoded as a Struct with unknown fields.
const FIRST_BYTE: u8 = 0x0a;

/// Decodes a Struct, or describes why it cannot be decoded. Returns `None` if the bytes are not a Struct.
pub(super) fn decode(bytes: &[u8]) -> Option<Result<Map<String, Value>, &'static str>> {
    if bytes.first() != Some(&FIRST_BYTE) {
        return None;
    }
    let structure = Struct::decode(bytes).map_err(|_| "a Struct that is malformed or nested too deeply");
    Some(structure.and_then(|structure| object(structure).ok_or("a Struct with a number that is not finite")))
}

fn object(structure: Struct) -> Option<Map<String, Value>> {
    let mut object = Map::new();
    // Does not use `collect`, which would sort the fields and add 5 KiB of code.
    for (name, member) in structure.fields {
        object.insert(name, value(member)?);
    }
    Some(object)
}

fn value(value: prost_types::Value) -> Option<Value> {
    Some(match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => Value::Bool(value),
        Some(Kind::NumberValue(number)) => Value::Number(Number::from_f64(number)?),
        Some(Kind::StringValue(text)) => Value::String(text),
        Some(Kind::StructValue(structure)) => Value::Object(object(structure)?),
        Some(Kind::ListValue(list)) => {
            Value::Array(list.values.into_iter().map(self::value).collect::<Option<_>>()?)
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost_types::ListValue;

    use super::*;

    /// Converts a value in the same way as Envoy.
    fn wire(value: &Value) -> prost_types::Value {
        let kind = match value {
            Value::Null => Kind::NullValue(0),
            Value::Bool(value) => Kind::BoolValue(*value),
            Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap()),
            Value::String(text) => Kind::StringValue(text.clone()),
            Value::Array(items) => Kind::ListValue(ListValue { values: items.iter().map(wire).collect() }),
            Value::Object(members) => Kind::StructValue(structure(members)),
        };
        prost_types::Value { kind: Some(kind) }
    }

    fn structure(members: &Map<String, Value>) -> Struct {
        Struct { fields: members.iter().map(|(name, value)| (name.clone(), wire(value))).collect() }
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(|number| Value::from(f64::from(number))),
            (-1e9..1e9).prop_map(Value::from),
            "\\PC{0,9}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map("\\PC{0,9}", inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_struct_of_the_well_known_types_is_decoded(members in prop::collection::btree_map("\\PC{0,9}", any_value(), 1..6)) {
            let members: Map<_, _> = members.into_iter().collect();
            prop_assert_eq!(decode(&structure(&members).encode_to_vec()), Some(Ok(members)));
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&[&[FIRST_BYTE], &*bytes].concat());
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth, nest: fn(Value) -> Value| {
            let value = (0..depth).fold(Value::Null, |inner, _| nest(inner));
            let bytes = structure(&[("a".to_owned(), value)].into_iter().collect()).encode_to_vec();
            decode(&bytes).unwrap().map(|_| ())
        };
        let list: fn(Value) -> Value = |inner| Value::Array(vec![inner]);
        let object: fn(Value) -> Value =
            |inner| Value::Object([("a".to_owned(), inner)].into_iter().collect());
        for (nest, deepest) in [(list, 49), (object, 32)] {
            assert_eq!(nested(deepest, nest), Ok(()));
            for depth in [deepest + 1, 200] {
                assert_eq!(
                    nested(depth, nest),
                    Err("a Struct that is malformed or nested too deeply"),
                    "{depth}"
                );
            }
        }
    }

    #[test]
    fn a_number_that_is_not_finite_is_rejected() {
        for number in [f64::NAN, f64::INFINITY] {
            let value = prost_types::Value { kind: Some(Kind::NumberValue(number)) };
            let bytes = Struct { fields: [("a".to_owned(), value)].into() }.encode_to_vec();
            assert_eq!(decode(&bytes), Some(Err("a Struct with a number that is not finite")));
        }
    }

    #[test]
    fn other_bytes_are_not_a_struct() {
        // In protobuf, the first two texts are valid fields, but a Struct does not have such fields.
        for text in [" a", "  x ", "{", "{]", "interval: 5s"] {
            assert_eq!(decode(text.as_bytes()), None, "{text:?}");
        }
    }
}
