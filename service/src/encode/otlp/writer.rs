//! Writing the fields of messages as protobuf or as JSON, straight into a buffer.
//!
//! JSON is that of OTLP, by the letter: keys in lowerCamelCase, integers of 64 bits as text, ids in hexadecimal, enums as
//! numbers (opentelemetry-proto, `docs/specification.md`, "JSON Protobuf Encoding"). What has its default is left out.

mod json;

use std::io::Write;

use prost::encoding::{self, WireType, encode_key, encode_varint};
use tributary_proto::attributes;
use tributary_proto::otlp::KeyValue;

/// How messages are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::encode) enum Notation {
    Protobuf,
    Json,
}

/// A message as far as it is written.
#[derive(Debug)]
pub(super) struct Writer {
    notation: Notation,
    out: Vec<u8>,
}

// Messages and lists.
impl Writer {
    /// Nothing yet.
    pub(super) fn new(notation: Notation) -> Self {
        Self { notation, out: Vec::new() }
    }

    /// The bytes.
    pub(super) fn finish(self) -> Vec<u8> {
        self.out
    }

    /// The outermost message.
    pub(super) fn whole(&mut self, fields: impl FnOnce(&mut Self)) {
        match self.notation {
            Notation::Protobuf => fields(self),
            Notation::Json => self.braced(fields),
        }
    }

    /// A field that is a message.
    pub(super) fn object(&mut self, field: u32, key: &str, fields: impl FnOnce(&mut Self)) {
        if self.notation == Notation::Json {
            self.key(key);
        }
        self.message(field, fields);
    }

    /// A field that is messages, each an [`item`](Self::item).
    pub(super) fn list(&mut self, key: &str, items: impl FnOnce(&mut Self)) {
        match self.notation {
            Notation::Protobuf => items(self),
            Notation::Json => {
                self.key(key);
                self.out.push(b'[');
                items(self);
                self.out.push(b']');
            }
        }
    }

    /// One message of a list.
    pub(super) fn item(&mut self, field: u32, fields: impl FnOnce(&mut Self)) {
        if self.notation == Notation::Json {
            self.separate();
        }
        self.message(field, fields);
    }

    fn message(&mut self, field: u32, fields: impl FnOnce(&mut Self)) {
        match self.notation {
            Notation::Protobuf => {
                encode_key(field, WireType::LengthDelimited, &mut self.out);
                let from = self.out.len();
                fields(self);
                self.prefix_length(from);
            }
            Notation::Json => self.braced(fields),
        }
    }

    fn braced(&mut self, fields: impl FnOnce(&mut Self)) {
        self.out.push(b'{');
        fields(self);
        self.out.push(b'}');
    }

    /// Puts the length of what was written from there on before it.
    fn prefix_length(&mut self, from: usize) {
        let end = self.out.len();
        let length = super::as_u64(end.saturating_sub(from));
        let to = from.saturating_add(encoding::encoded_len_varint(length));
        self.out.resize(end.saturating_add(to.saturating_sub(from)), 0);
        self.out.copy_within(from..end, to);
        if let Some(mut gap) = self.out.get_mut(from..to) {
            encode_varint(length, &mut gap);
        }
    }
}

// Fields.
impl Writer {
    /// Text; left out if it is empty.
    pub(super) fn text(&mut self, field: u32, key: &str, text: &str) {
        if text.is_empty() {
            return;
        }
        match self.notation {
            Notation::Protobuf => {
                encode_key(field, WireType::LengthDelimited, &mut self.out);
                encode_varint(super::as_u64(text.len()), &mut self.out);
                self.out.extend_from_slice(text.as_bytes());
            }
            Notation::Json => {
                self.key(key);
                self.json_text(text);
            }
        }
    }

    /// An id; in hexadecimal in JSON.
    pub(super) fn id(&mut self, field: u32, key: &str, id: &[u8]) {
        match self.notation {
            Notation::Protobuf => {
                encode_key(field, WireType::LengthDelimited, &mut self.out);
                encode_varint(super::as_u64(id.len()), &mut self.out);
                self.out.extend_from_slice(id);
            }
            Notation::Json => {
                self.key(key);
                self.out.push(b'"');
                self.out.extend(id.iter().flat_map(|byte| super::super::hex(*byte)));
                self.out.push(b'"');
            }
        }
    }

    /// An unsigned integer of 64 bits and fixed width; left out if it is 0.
    pub(super) fn fixed64(&mut self, field: u32, key: &str, value: u64) {
        if value == 0 {
            return;
        }
        match self.notation {
            Notation::Protobuf => self.eight_bytes(field, value.to_le_bytes()),
            Notation::Json => {
                self.key(key);
                self.quoted(value);
            }
        }
    }

    /// A signed integer of 64 bits and fixed width, even if it is 0.
    pub(super) fn sfixed64(&mut self, field: u32, key: &str, value: i64) {
        match self.notation {
            Notation::Protobuf => self.eight_bytes(field, value.to_le_bytes()),
            Notation::Json => {
                self.key(key);
                self.quoted(value);
            }
        }
    }

    /// A double, even if it is 0.
    pub(super) fn double(&mut self, field: u32, key: &str, value: f64) {
        match self.notation {
            Notation::Protobuf => self.eight_bytes(field, value.to_le_bytes()),
            Notation::Json => {
                self.key(key);
                self.json_double(value);
            }
        }
    }

    /// True or false, even if it is false.
    pub(super) fn truth(&mut self, field: u32, key: &str, value: bool) {
        match self.notation {
            Notation::Protobuf => encoding::bool::encode(field, &value, &mut self.out),
            Notation::Json => {
                self.key(key);
                self.out.extend_from_slice(if value { b"true" } else { b"false" });
            }
        }
    }

    /// An integer of 32 bits or an enum; left out if it is 0.
    pub(super) fn int32(&mut self, field: u32, key: &str, value: i32) {
        self.small(key, value, |out| encoding::int32::encode(field, &value, out));
    }

    /// An integer of 32 bits in zigzag; left out if it is 0.
    pub(super) fn sint32(&mut self, field: u32, key: &str, value: i32) {
        self.small(key, value, |out| encoding::sint32::encode(field, &value, out));
    }

    /// Unsigned integers of 64 bits and fixed width; left out if there are none.
    pub(super) fn fixed64s(&mut self, field: u32, key: &str, values: &[u64]) {
        match self.notation {
            Notation::Protobuf => encoding::fixed64::encode_packed(field, values, &mut self.out),
            Notation::Json => self.json_wholes(key, values),
        }
    }

    /// Unsigned integers of 64 bits; left out if there are none.
    pub(super) fn uint64s(&mut self, field: u32, key: &str, values: &[u64]) {
        match self.notation {
            Notation::Protobuf => encoding::uint64::encode_packed(field, values, &mut self.out),
            Notation::Json => self.json_wholes(key, values),
        }
    }

    /// Doubles; left out if there are none.
    pub(super) fn doubles(&mut self, field: u32, key: &str, values: &[f64]) {
        match self.notation {
            Notation::Protobuf => encoding::double::encode_packed(field, values, &mut self.out),
            Notation::Json if values.is_empty() => {}
            Notation::Json => self.list(key, |out| {
                for value in values {
                    out.separate();
                    out.json_double(*value);
                }
            }),
        }
    }

    /// The attributes of a series, from their canonical bytes; left out if there are none.
    pub(super) fn canonical_attributes(&mut self, field: u32, canonical: &[u8]) {
        if self.notation == Notation::Protobuf && self.copied(field, canonical).is_some() {
            return;
        }
        // The table holds what intake has read, so these bytes can be read.
        self.attributes(field, &attributes::decode(canonical).unwrap_or_default());
    }

    /// Attributes; left out if there are none.
    pub(super) fn attributes(&mut self, field: u32, attributes: &[KeyValue]) {
        match self.notation {
            Notation::Protobuf => encoding::message::encode_repeated(field, attributes, &mut self.out),
            Notation::Json if attributes.is_empty() => {}
            Notation::Json => self.list("attributes", |out| {
                for attribute in attributes {
                    out.separate();
                    out.braced(|out| out.json_attribute(attribute));
                }
            }),
        }
    }

    /// Copies canonical attributes under another field number; none, with nothing written, if there is anything else among
    /// them.
    fn copied(&mut self, field: u32, canonical: &[u8]) -> Option<()> {
        // AttributeSet.attributes, length-delimited.
        const TAG: u8 = 1 << 3 | 2;
        let (before, mut rest) = (self.out.len(), canonical);
        while let Some((tag, mut attribute)) = rest.split_first() {
            let from = attribute;
            let bytes =
                encoding::decode_varint(&mut attribute).ok().and_then(|bytes| usize::try_from(bytes).ok());
            let split = bytes.and_then(|bytes| attribute.split_at_checked(bytes));
            let (Some((_, after)), TAG) = (split, *tag) else {
                self.out.truncate(before);
                return None;
            };
            encode_key(field, WireType::LengthDelimited, &mut self.out);
            self.out
                .extend_from_slice(from.get(..from.len().saturating_sub(after.len())).unwrap_or_default());
            rest = after;
        }
        Some(())
    }

    fn eight_bytes(&mut self, field: u32, bytes: [u8; 8]) {
        encode_key(field, WireType::SixtyFourBit, &mut self.out);
        self.out.extend_from_slice(&bytes);
    }

    fn small(&mut self, key: &str, value: i32, protobuf: impl FnOnce(&mut Vec<u8>)) {
        match self.notation {
            _ if value == 0 => {}
            Notation::Protobuf => protobuf(&mut self.out),
            Notation::Json => {
                self.key(key);
                // Writing to memory does not fail.
                let _ = write!(self.out, "{value}");
            }
        }
    }
}

#[cfg(test)]
mod tests;
