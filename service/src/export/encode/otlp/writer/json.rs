//! The parts of JSON that protobuf does not have: keys, quotes and commas.

use serde::Serialize;
use tributary_proto::attributes::AttributeValue as Value;

use super::Writer;

impl Writer {
    /// Writes the members `key` and `value` of an attribute.
    pub(super) fn json_attribute(&mut self, key: &str, value: Value<'_>) {
        self.text(1, "key", key);
        self.object(2, "value", |out| match value {
            Value::Text(text) => out.member("stringValue", text),
            Value::Bool(truth) => out.boolean(2, "boolValue", truth),
            Value::Integer(number) => out.sfixed64(3, "intValue", number),
        });
    }

    /// Writes a member that is a list, unless it is empty.
    pub(super) fn members<T: Copy>(&mut self, key: &str, values: &[T], write: impl Fn(&mut Self, T)) {
        if values.is_empty() {
            return;
        }
        self.list(key, |out| {
            for value in values {
                out.separate();
                write(out, *value);
            }
        });
    }

    /// Writes a member that is text in quotes, a number or a boolean.
    pub(super) fn member(&mut self, key: &str, value: &(impl Serialize + ?Sized)) {
        self.key(key);
        self.value(value);
    }

    /// Writes text in quotes, a number or a boolean.
    fn value(&mut self, value: &(impl Serialize + ?Sized)) {
        // Writing to memory never fails.
        let _ = serde_json::to_writer(&mut self.out, value);
    }

    /// Writes an integer of 64 bits, which JSON has in quotes.
    pub(super) fn quoted(&mut self, value: impl Serialize) {
        self.out.push(b'"');
        self.value(&value);
        self.out.push(b'"');
    }

    /// Writes the key of a member, with the comma before it. Keys are field names, which need no escaping.
    pub(super) fn key(&mut self, key: &str) {
        self.separate();
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    /// Writes a comma, unless the last byte is an opening bracket. Text ends with a quote, so a bracket
    /// within text is never mistaken for an opening bracket.
    pub(super) fn separate(&mut self) {
        if !matches!(self.out.last(), None | Some(b'{' | b'[')) {
            self.out.push(b',');
        }
    }
}
