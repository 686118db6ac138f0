//! Protobuf's encoding, field by field: reading what a message holds and writing one, without a type for each.
//!
//! Written by hand, since what is generated for the same messages makes the service larger by a quarter and allocates each
//! part of a message before it can be looked at. The schemas stay the contract: tests hold this to the generated types.

/// What a field holds. Numbers of 32 bits and groups do not occur in any message that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field<'a> {
    /// Integers, enums and truths; what is signed may be in [zigzag].
    Varint(u64),
    /// Integers and doubles of a fixed width.
    Fixed64(u64),
    /// Text, messages, and lists of numbers (packed, as proto3 writes them).
    Bytes(&'a [u8]),
}

/// How a field is written (protobuf encoding, "Message Structure").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WireType {
    Varint = 0,
    Fixed64 = 1,
    Bytes = 2,
}

/// Takes a field off the front, with its number; none if there is none that can be read.
pub fn field<'a>(bytes: &mut &'a [u8]) -> Option<(u64, Field<'a>)> {
    let key = varint(bytes)?;
    let value = match key & 7 {
        0 => Field::Varint(varint(bytes)?),
        1 => {
            let (value, rest) = bytes.split_first_chunk()?;
            *bytes = rest;
            Field::Fixed64(u64::from_le_bytes(*value))
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

/// Takes an integer off the front.
pub fn varint(bytes: &mut &[u8]) -> Option<u64> {
    // Nearly all are this short.
    if let Some((byte @ 0..0x80, rest)) = bytes.split_first() {
        *bytes = rest;
        return Some(u64::from(*byte));
    }
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

/// The integers of a packed list; none if it cannot be read.
pub fn varints(mut packed: &[u8]) -> Option<Vec<u64>> {
    // Each ends with the one byte that has no higher bit.
    let count = packed.iter().filter(|byte| **byte < 0x80).count();
    let mut numbers = Vec::with_capacity(count);
    while !packed.is_empty() {
        numbers.push(varint(&mut packed)?);
    }
    Some(numbers)
}

/// A signed integer as it is in zigzag, or back.
pub mod zigzag {
    /// From the wire.
    pub fn decode(number: u64) -> i64 {
        (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
    }

    /// For the wire.
    pub fn encode(number: i64) -> u64 {
        (number << 1 ^ number >> 63).cast_unsigned()
    }
}

/// Writing. What has its default is left out, as proto3 does, by all but those that say otherwise.
pub mod write {
    use super::{WireType, zigzag};

    /// An integer, an enum or a truth.
    pub fn uint(out: &mut Vec<u8>, field: u32, number: u64) {
        if number != 0 {
            one_of_uints(out, field, number);
        }
    }

    /// The same where it says by being there which of several it is. Never left out.
    pub fn one_of_uints(out: &mut Vec<u8>, field: u32, number: u64) {
        key(out, field, WireType::Varint);
        varint(out, number);
    }

    /// A signed integer in zigzag.
    pub fn sint(out: &mut Vec<u8>, field: u32, number: i64) {
        uint(out, field, zigzag::encode(number));
    }

    /// Eight bytes, whatever they are: an integer of a fixed width (`to_le_bytes`) or a double. Never left out.
    pub fn fixed64(out: &mut Vec<u8>, field: u32, bytes: [u8; 8]) {
        key(out, field, WireType::Fixed64);
        out.extend_from_slice(&bytes);
    }

    /// Text, or a message that is encoded already. Left out only by [`text`].
    pub fn bytes(out: &mut Vec<u8>, field: u32, bytes: &[u8]) {
        length(out, field, bytes.len());
        out.extend_from_slice(bytes);
    }

    /// Text.
    pub fn text(out: &mut Vec<u8>, field: u32, text: &str) {
        if !text.is_empty() {
            bytes(out, field, text.as_bytes());
        }
    }

    /// The beginning of a field of so many bytes, which are to be appended.
    pub fn length(out: &mut Vec<u8>, field: u32, bytes: usize) {
        key(out, field, WireType::Bytes);
        // usize is at most 64 bits wide on every target there is.
        varint(out, u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    /// A message, whose fields are written by `fields`. Never left out.
    pub fn message<W: AsMut<Vec<u8>>>(out: &mut W, field: u32, fields: impl FnOnce(&mut W)) {
        let from = begin(out.as_mut(), field);
        fields(out);
        end(out.as_mut(), from);
    }

    /// Integers.
    pub fn uints(out: &mut Vec<u8>, field: u32, numbers: impl Iterator<Item = u64>) {
        let mut numbers = numbers.peekable();
        if numbers.peek().is_some() {
            let from = begin(out, field);
            numbers.for_each(|number| varint(out, number));
            end(out, from);
        }
    }

    /// Eight bytes each.
    pub fn fixed64s(out: &mut Vec<u8>, field: u32, numbers: impl ExactSizeIterator<Item = [u8; 8]>) {
        if numbers.len() > 0 {
            length(out, field, numbers.len().saturating_mul(8));
            numbers.for_each(|bytes| out.extend_from_slice(&bytes));
        }
    }

    /// An integer alone.
    pub fn varint(out: &mut Vec<u8>, mut number: u64) {
        while number >= 0x80 {
            out.push(low_seven(number) | 0x80);
            number >>= 7;
        }
        out.push(low_seven(number));
    }

    /// How many bytes an integer alone has.
    pub fn varint_length(number: u64) -> usize {
        let bits = 64_u32.saturating_sub((number | 1).leading_zeros());
        usize::try_from(bits.div_ceil(7)).unwrap_or(10)
    }

    fn key(out: &mut Vec<u8>, field: u32, wire_type: WireType) {
        varint(out, u64::from(field) << 3 | wire_type as u64);
    }

    /// The key of a field and one byte for its length. Gives where that is.
    fn begin(out: &mut Vec<u8>, field: u32) -> usize {
        key(out, field, WireType::Bytes);
        out.push(0);
        out.len().saturating_sub(1)
    }

    /// Puts the length of what came behind `at` there, for which most often one byte is enough.
    fn end(out: &mut Vec<u8>, at: usize) {
        let (from, to) = (at.saturating_add(1), out.len());
        let mut length = u64::try_from(to.saturating_sub(from)).unwrap_or(u64::MAX);
        let bytes = varint_length(length);
        if bytes > 1 {
            out.resize(at.saturating_add(bytes).saturating_add(to.saturating_sub(from)), 0);
            out.copy_within(from..to, at.saturating_add(bytes));
        }
        for byte in out.iter_mut().skip(at).take(bytes) {
            let more = if length < 0x80 { 0 } else { 0x80 };
            *byte = low_seven(length) | more;
            length >>= 7;
        }
    }

    fn low_seven(number: u64) -> u8 {
        let [low, ..] = number.to_le_bytes();
        low & 0x7f
    }
}

#[cfg(test)]
mod tests;
