//! The fields of a protobuf message. Only `config/structure.rs` needs this: delete it once that decodes with `prost-types`.

/// What a field holds. Numbers of 32 bits and groups do not occur in a Struct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field<'a> {
    /// Integers and booleans.
    Varint(u64),
    /// Doubles.
    Fixed64(u64),
    /// Text and messages.
    Bytes(&'a [u8]),
}

/// Takes a field off the front, with its number. None if the bytes are invalid.
pub(crate) fn field<'a>(bytes: &mut &'a [u8]) -> Option<(u64, Field<'a>)> {
    let key = prost::encoding::decode_varint(bytes).ok()?;
    let value = match key & 7 {
        0 => Field::Varint(prost::encoding::decode_varint(bytes).ok()?),
        1 => {
            let (value, rest) = bytes.split_first_chunk()?;
            *bytes = rest;
            Field::Fixed64(u64::from_le_bytes(*value))
        }
        2 => {
            let length = usize::try_from(prost::encoding::decode_varint(bytes).ok()?).ok()?;
            let (value, rest) = bytes.split_at_checked(length)?;
            *bytes = rest;
            Field::Bytes(value)
        }
        _ => return None,
    };
    Some((key >> 3, value))
}
