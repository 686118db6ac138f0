//! What JSON needs that protobuf does not: keys, quotes and commas. Text and doubles are written by `serde_json`.

use std::io::Write;

use tributary_proto::otlp::{AnyValue, KeyValue, any_value};

use super::Writer;

impl Writer {
    /// The members of an attribute.
    pub(super) fn json_attribute(&mut self, attribute: &KeyValue) {
        self.text(1, "key", &attribute.key);
        let Some(AnyValue { value: Some(value) }) = &attribute.value else { return };
        self.object(2, "value", |out| match value {
            any_value::Value::StringValue(text) => {
                out.key("stringValue");
                out.json_text(text);
            }
            any_value::Value::BoolValue(truth) => out.truth(2, "boolValue", *truth),
            any_value::Value::IntValue(value) => out.sfixed64(3, "intValue", *value),
            any_value::Value::DoubleValue(value) => out.double(4, "doubleValue", *value),
        });
    }

    /// Text as a value. Writing to memory does not fail.
    pub(super) fn json_text(&mut self, text: &str) {
        let _ = serde_json::to_writer(&mut self.out, text);
    }

    /// A member that is integers of 64 bits; left out if there are none.
    pub(super) fn json_wholes(&mut self, key: &str, values: &[u64]) {
        if values.is_empty() {
            return;
        }
        self.list(key, |out| {
            for value in values {
                out.separate();
                out.quoted(*value);
            }
        });
    }

    /// A double as a value. JSON has no infinities; the JSON mapping of protobuf writes them as text.
    pub(super) fn json_double(&mut self, value: f64) {
        let text = match value {
            _ if value.is_nan() => "\"NaN\"",
            f64::INFINITY => "\"Infinity\"",
            f64::NEG_INFINITY => "\"-Infinity\"",
            _ => {
                let _ = serde_json::to_writer(&mut self.out, &value);
                return;
            }
        };
        self.out.extend_from_slice(text.as_bytes());
    }

    /// An integer of 64 bits as a value.
    pub(super) fn quoted(&mut self, value: impl std::fmt::Display) {
        let _ = write!(self.out, "\"{value}\"");
    }

    /// The key of a member, with the comma before it. Keys are names of fields, in which there is nothing to escape.
    pub(super) fn key(&mut self, key: &str) {
        self.separate();
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    /// A comma, unless this is the first thing inside a bracket. Text ends with its quote, so a bracket is one.
    pub(super) fn separate(&mut self) {
        if !matches!(self.out.last(), None | Some(b'{' | b'[')) {
            self.out.push(b',');
        }
    }
}
