//! Writes the fields of messages as protobuf or as JSON into a buffer.
//!
//! OTLP's JSON has keys in lowerCamelCase, integers of 64 bits as text, ids in hexadecimal, and enums as
//! numbers (opentelemetry-proto, `docs/specification.md`, "JSON Protobuf Encoding"). Default values are
//! omitted.

mod json;

use prost::encoding::{bool, int32, sint32, uint64};
use serde::Serialize;
use tributary_proto::{attributes, decimal, hex};

use crate::export::encode::protobuf;

/// The notation of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::export::encode) enum Notation {
    Protobuf,
    Json,
}

/// Writes a message.
#[derive(Debug)]
pub(super) struct Writer {
    notation: Notation,
    /// The bytes that were written so far.
    pub(super) out: Vec<u8>,
}

impl AsMut<Vec<u8>> for Writer {
    fn as_mut(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }
}

// Functions that write messages and lists.
impl Writer {
    /// Creates an empty message.
    pub(super) fn new(notation: Notation) -> Self {
        Self { notation, out: Vec::new() }
    }

    /// Writes a field that is a message.
    pub(super) fn object(&mut self, field: u32, key: &str, fields: impl FnOnce(&mut Self)) {
        if self.notation == Notation::Json {
            self.key(key);
        }
        self.message(field, fields);
    }

    /// Writes a field that is a list of messages, each an [`item`](Self::item).
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

    /// Writes one message of a [`list`](Self::list).
    pub(super) fn item(&mut self, field: u32, fields: impl FnOnce(&mut Self)) {
        if self.notation == Notation::Json {
            self.separate();
        }
        self.message(field, fields);
    }

    fn message(&mut self, field: u32, fields: impl FnOnce(&mut Self)) {
        match self.notation {
            Notation::Protobuf => protobuf::message(self, field, fields),
            Notation::Json => self.braced(fields),
        }
    }

    fn braced(&mut self, fields: impl FnOnce(&mut Self)) {
        self.out.push(b'{');
        fields(self);
        self.out.push(b'}');
    }
}

// Functions that write the fields of a message.
impl Writer {
    /// Writes text, unless it is empty.
    pub(super) fn text(&mut self, field: u32, key: &str, text: &str) {
        match self.notation {
            _ if text.is_empty() => {}
            Notation::Protobuf => protobuf::bytes(&mut self.out, field, text.as_bytes()),
            Notation::Json => self.member(key, text),
        }
    }

    /// Writes an id: bytes in protobuf, hexadecimal text in JSON.
    pub(super) fn id(&mut self, field: u32, key: &str, id: &[u8]) {
        match self.notation {
            Notation::Protobuf => protobuf::bytes(&mut self.out, field, id),
            Notation::Json => {
                self.key(key);
                self.out.push(b'"');
                self.out.extend(id.iter().flat_map(|byte| hex::of(*byte)));
                self.out.push(b'"');
            }
        }
    }

    /// Writes an unsigned integer of 64 bits and fixed width, unless it is 0.
    pub(super) fn fixed64(&mut self, field: u32, key: &str, value: u64) {
        if value != 0 {
            self.integer(field, key, value.to_le_bytes(), value);
        }
    }

    /// Writes a signed integer of 64 bits and fixed width, even if it is 0.
    pub(super) fn sfixed64(&mut self, field: u32, key: &str, value: i64) {
        self.integer(field, key, value.to_le_bytes(), value);
    }

    /// Writes a double, even if it is 0.
    pub(super) fn double(&mut self, field: u32, key: &str, value: f64) {
        match self.notation {
            Notation::Protobuf => protobuf::fixed64(&mut self.out, field, value.to_le_bytes()),
            Notation::Json => {
                self.key(key);
                decimal::write(&mut self.out, value);
            }
        }
    }

    /// Writes a boolean, even if it is false.
    pub(super) fn boolean(&mut self, field: u32, key: &str, value: bool) {
        match self.notation {
            Notation::Protobuf => bool::encode(field, &value, &mut self.out),
            Notation::Json => self.member(key, &value),
        }
    }

    /// Writes an integer of 32 bits or an enum, unless it is 0.
    pub(super) fn int32(&mut self, field: u32, key: &str, value: i32) {
        self.small(key, value, |out| int32::encode(field, &value, out));
    }

    /// Writes an integer of 32 bits in zigzag encoding, unless it is 0.
    pub(super) fn sint32(&mut self, field: u32, key: &str, value: i32) {
        self.small(key, value, |out| sint32::encode(field, &value, out));
    }

    /// Writes a list of unsigned integers of 64 bits and fixed width, unless it is empty.
    pub(super) fn fixed64s(&mut self, field: u32, key: &str, values: &[u64]) {
        match self.notation {
            Notation::Protobuf => {
                protobuf::fixed64s(&mut self.out, field, values.iter().map(|value| value.to_le_bytes()));
            }
            Notation::Json => self.members(key, values, |out, value| out.quoted(value)),
        }
    }

    /// Writes a list of unsigned integers of 64 bits, unless it is empty.
    pub(super) fn uint64s(&mut self, field: u32, key: &str, values: &[u64]) {
        match self.notation {
            Notation::Protobuf => uint64::encode_packed(field, values, &mut self.out),
            Notation::Json => self.members(key, values, |out, value| out.quoted(value)),
        }
    }

    /// Writes a list of doubles, unless it is empty.
    pub(super) fn doubles(&mut self, field: u32, key: &str, values: &[f64]) {
        match self.notation {
            Notation::Protobuf => {
                protobuf::fixed64s(&mut self.out, field, values.iter().map(|value| value.to_le_bytes()));
            }
            Notation::Json => self.members(key, values, |out, value| decimal::write(&mut out.out, value)),
        }
    }

    /// Encodes fields separately, so that [`encoded`](Self::encoded) can write them several times.
    pub(super) fn separately(&self, fields: impl FnOnce(&mut Self)) -> Vec<u8> {
        let mut out = Self::new(self.notation);
        fields(&mut out);
        out.out
    }

    /// Writes fields that [`separately`](Self::separately) has encoded, if there are any.
    pub(super) fn encoded(&mut self, fields: &[u8]) {
        if self.notation == Notation::Json && !fields.is_empty() {
            self.separate();
        }
        self.out.extend_from_slice(fields);
    }

    /// Writes the attributes of a series from their canonical bytes, if there are any.
    pub(super) fn attributes(&mut self, field: u32, canonical: &[u8]) {
        match self.notation {
            // Canonical bytes are encoded attributes, so only the field number differs.
            Notation::Protobuf => attributes::encoded(canonical)
                .for_each(|attribute| protobuf::bytes(&mut self.out, field, attribute)),
            Notation::Json if canonical.is_empty() => {}
            Notation::Json => self.list("attributes", |out| {
                for (key, value) in attributes::iter(canonical) {
                    out.separate();
                    out.braced(|out| out.json_attribute(key, value));
                }
            }),
        }
    }

    fn integer(&mut self, field: u32, key: &str, bytes: [u8; 8], value: impl Serialize) {
        match self.notation {
            Notation::Protobuf => protobuf::fixed64(&mut self.out, field, bytes),
            Notation::Json => {
                self.key(key);
                self.quoted(value);
            }
        }
    }

    fn small(&mut self, key: &str, value: i32, protobuf: impl FnOnce(&mut Vec<u8>)) {
        match self.notation {
            _ if value == 0 => {}
            Notation::Protobuf => protobuf(&mut self.out),
            Notation::Json => self.member(key, &value),
        }
    }
}

#[cfg(test)]
mod tests;
