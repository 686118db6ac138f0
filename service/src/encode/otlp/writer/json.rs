//! What JSON needs that protobuf does not: keys, quotes and commas.

use serde::Serialize;
use tributary_proto::attributes::AttributeValue as Value;

use super::Writer;

impl Writer {
    /// The members of an attribute.
    pub(super) fn json_attribute(&mut self, key: &str, value: Value<'_>) {
        self.text(1, "key", key);
        self.object(2, "value", |out| match value {
            Value::Text(text) => {
                out.key("stringValue");
                out.value(text);
            }
            Value::Bool(truth) => out.truth(2, "boolValue", truth),
            Value::Integer(number) => out.sfixed64(3, "intValue", number),
        });
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

    /// Text in quotes, or a number.
    pub(super) fn value(&mut self, value: &(impl Serialize + ?Sized)) {
        // Writing to memory does not fail.
        let _ = serde_json::to_writer(&mut self.out, value);
    }

    /// An integer of 64 bits.
    pub(super) fn quoted(&mut self, value: impl Serialize) {
        self.out.push(b'"');
        self.value(&value);
        self.out.push(b'"');
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
