//! A configuration that is a serialised google.protobuf.Struct, as JSON values: what Envoy hands over for a Struct in its own
//! configuration (1.36.4 and 1.40.0), where its documentation says JSON text.

use prost::Message;
use prost_types::Struct;
use prost_types::value::Kind;
use serde_json::{Map, Number, Value};

/// The first byte of every Struct but an empty one: the tag of its field `fields`. Text that is no JSON begins otherwise, and must
/// not pass for a Struct of unknown fields.
const FIRST_BYTE: u8 = 0x0a;

/// The object that a serialised Struct stands for, or why there is none; nothing if the bytes are something else.
pub(super) fn decode(bytes: &[u8]) -> Option<Result<Map<String, Value>, &'static str>> {
    if bytes.first() != Some(&FIRST_BYTE) {
        return None;
    }
    let structure = Struct::decode(bytes).map_err(|_| "a Struct that is damaged, or nested too deeply");
    Some(structure.and_then(|structure| object(structure).ok_or("a Struct with a number that is not finite")))
}

fn object(structure: Struct) -> Option<Map<String, Value>> {
    let mut object = Map::new();
    // Not collected: that sorts, with 5 KiB of code.
    for (name, member) in structure.fields {
        object.insert(name, value(member)?);
    }
    Some(object)
}

fn value(value: prost_types::Value) -> Option<Value> {
    Some(match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(truth)) => Value::Bool(truth),
        Some(Kind::NumberValue(number)) => Value::Number(Number::from_f64(number)?),
        Some(Kind::StringValue(text)) => Value::String(text),
        Some(Kind::StructValue(structure)) => Value::Object(object(structure)?),
        Some(Kind::ListValue(list)) => {
            Value::Array(list.values.into_iter().map(self::value).collect::<Option<_>>()?)
        }
    })
}
