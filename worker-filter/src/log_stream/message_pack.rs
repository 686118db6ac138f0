//! Reads MessagePack as Envoy's `fluentd` access logger writes it, value by value, with `rmp`.
//!
//! The bytes can come from any client that can connect to the listener. So this module neither allocates
//! nor recurses: a forged length or nesting depth costs nothing. `rmp::decode::MessageLen` is not used: it
//! panics on extensions (0.8).

use rmp::Marker;
use rmp::decode::bytes::BytesReadError;
use rmp::decode::{self, Bytes, NumValueReadError, ValueReadError};

/// Reads values from the front of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordReader<'a>(Bytes<'a>);

/// A value in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldValue<'a> {
    /// Text or binary data. Neither has to be UTF-8.
    Text(&'a [u8]),
    /// A whole number. An integer above `i64::MAX` is read as `i64::MAX`.
    Integer(i64),
    /// A boolean.
    Boolean(bool),
    /// Any other value: nil, a number that is not whole, a float out of range, or a list or map, whose
    /// items were skipped.
    Other,
}

/// Why a value cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// The end of the value has not arrived yet.
    Incomplete,
    /// The value has another type than expected.
    Invalid,
}

impl From<ValueReadError<BytesReadError>> for ReadError {
    fn from(error: ValueReadError<BytesReadError>) -> Self {
        match error {
            ValueReadError::InvalidMarkerRead(_) | ValueReadError::InvalidDataRead(_) => Self::Incomplete,
            ValueReadError::TypeMismatch(_) => Self::Invalid,
        }
    }
}

impl<'a> RecordReader<'a> {
    /// Creates a reader that starts at the first of these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(Bytes::new(bytes))
    }

    /// Returns the bytes that are not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.0.remaining_slice()
    }

    /// Reads the start of a list and returns the number of items, which follow.
    pub fn list(&mut self) -> Result<usize, ReadError> {
        size(decode::read_array_len(&mut self.0)?)
    }

    /// Reads the start of a map and returns the number of pairs. Each pair follows as a key and a value.
    pub fn map(&mut self) -> Result<usize, ReadError> {
        size(decode::read_map_len(&mut self.0)?)
    }

    /// Reads text; any other value is an error.
    pub fn text(&mut self) -> Result<&'a [u8], ReadError> {
        match self.value()? {
            FieldValue::Text(text) => Ok(text),
            _ => Err(ReadError::Invalid),
        }
    }

    /// Reads a value of any type. Skips the items of a list or map.
    pub fn value(&mut self) -> Result<FieldValue<'a>, ReadError> {
        let (value, mut nested) = self.shallow()?;
        // The loop ends at the latest at the end of the bytes, because each nested value has at least one
        // byte.
        while nested > 0 {
            let (_, more) = self.shallow()?;
            nested = nested.saturating_sub(1).saturating_add(more);
        }
        Ok(value)
    }

    /// Reads a value without its items. Returns the value, and the number of items that follow.
    fn shallow(&mut self) -> Result<(FieldValue<'a>, usize), ReadError> {
        use Marker::*;
        let bytes = &mut self.0;
        let first = bytes.remaining_slice().first().ok_or(ReadError::Incomplete)?;
        let value = match Marker::from_u8(*first) {
            FixStr(_) | Str8 | Str16 | Str32 => {
                let length = decode::read_str_len(bytes)?;
                FieldValue::Text(self.take(length)?)
            }
            Bin8 | Bin16 | Bin32 => {
                let length = decode::read_bin_len(bytes)?;
                FieldValue::Text(self.take(length)?)
            }
            FixPos(_) | FixNeg(_) | U8 | U16 | U32 | U64 | I8 | I16 | I32 | I64 => {
                match decode::read_int(bytes) {
                    Ok(number) => FieldValue::Integer(number),
                    Err(NumValueReadError::OutOfRange) => FieldValue::Integer(i64::MAX),
                    Err(_) => return Err(ReadError::Incomplete),
                }
            }
            marker @ (F32 | F64) => whole(match marker {
                F32 => decode::read_f32(bytes)?.into(),
                _ => decode::read_f64(bytes)?,
            }),
            True | False => FieldValue::Boolean(decode::read_bool(bytes)?),
            // The specification never uses `Reserved`; other readers treat it as nil.
            Null | Reserved => {
                self.take(1)?;
                FieldValue::Other
            }
            FixArray(_) | Array16 | Array32 => return Ok((FieldValue::Other, self.list()?)),
            FixMap(_) | Map16 | Map32 => return Ok((FieldValue::Other, self.map()?.saturating_mul(2))),
            // Access loggers write no extensions.
            Ext8 | Ext16 | Ext32 | FixExt1 | FixExt2 | FixExt4 | FixExt8 | FixExt16 => {
                return Err(ReadError::Invalid);
            }
        };
        Ok((value, 0))
    }

    fn take(&mut self, length: u32) -> Result<&'a [u8], ReadError> {
        let (taken, rest) = self.rest().split_at_checked(size(length)?).ok_or(ReadError::Incomplete)?;
        *self = Self::new(rest);
        Ok(taken)
    }
}

fn size(length: u32) -> Result<usize, ReadError> {
    usize::try_from(length).map_err(|_| ReadError::Invalid)
}

/// Converts a double to an integer if it is whole: Envoy 1.40 formats 100,000 as `1e+05`, which becomes a
/// double in MessagePack.
fn whole(number: f64) -> FieldValue<'static> {
    /// 2^63, the smallest double above `i64::MAX`.
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    if number.trunc() != number || number.abs() >= BEYOND {
        return FieldValue::Other;
    }
    #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and in range")]
    let integer = number as i64;
    FieldValue::Integer(integer)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_are_read_as_they_were_written() {
        for (bytes, expected) in [
            (&b"\x07"[..], FieldValue::Integer(7)),
            (b"\xff", FieldValue::Integer(-1)),
            (b"\xcc\xc8", FieldValue::Integer(200)),
            (b"\xcd\x01\xf7", FieldValue::Integer(503)),
            (b"\xce\x00\x01\x00\x00", FieldValue::Integer(65_536)),
            (b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", FieldValue::Integer(i64::MAX)),
            (b"\xd0\x80", FieldValue::Integer(-128)),
            (b"\xd1\xff\x00", FieldValue::Integer(-256)),
            (b"\xd2\xff\xff\xff\x00", FieldValue::Integer(-256)),
            (b"\xd3\xff\xff\xff\xff\xff\xff\xff\x00", FieldValue::Integer(-256)),
            (b"\xa3GET", FieldValue::Text(b"GET")),
            (b"\xd9\x03GET", FieldValue::Text(b"GET")),
            (b"\xda\x00\x03GET", FieldValue::Text(b"GET")),
            (b"\xdb\x00\x00\x00\x03GET", FieldValue::Text(b"GET")),
            (b"\xc4\x01\xff", FieldValue::Text(b"\xff")),
            (b"\xc0", FieldValue::Other),
            (b"\xc3", FieldValue::Boolean(true)),
            (b"\xca\x47\xc3\x50\x00", FieldValue::Integer(100_000)),
            (b"\xca\x3f\xc0\x00\x00", FieldValue::Other),
            (b"\xca\x7f\x80\x00\x00", FieldValue::Other),
            (b"\xca\x7f\xc0\x00\x00", FieldValue::Other),
            (b"\xcb\x42\x37\x48\x76\xe8\x00\x00\x00", FieldValue::Integer(100_000_000_000)),
            (b"\xcb\xc0\xf8\x6a\x00\x00\x00\x00\x00", FieldValue::Integer(-100_000)),
            (b"\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a", FieldValue::Other),
            (b"\xcb\x43\xe0\x00\x00\x00\x00\x00\x00", FieldValue::Other),
            (b"\x82\xa1a\x92\x01\x02\xa1b\xc0", FieldValue::Other),
            (b"\xdc\x00\x01\xde\x00\x01\x01\x02", FieldValue::Other),
        ] {
            let mut reader = RecordReader::new(bytes);
            assert_eq!(reader.value(), Ok(expected), "{bytes:x?}");
            assert_eq!(reader.rest(), b"", "{bytes:x?}");
            for length in 0..bytes.len() {
                assert_eq!(
                    RecordReader::new(&bytes[..length]).value(),
                    Err(ReadError::Incomplete),
                    "{bytes:x?} cut to {length}"
                );
            }
        }
    }

    #[test]
    fn forged_lengths_and_depths_allocate_nothing() {
        for (bytes, expected) in [
            (&b"\xdb\xff\xff\xff\xff text"[..], Err(ReadError::Incomplete)),
            (b"\xc6\xff\xff\xff\xff", Err(ReadError::Incomplete)),
            (b"\xdd\xff\xff\xff\xff\x01\x02", Err(ReadError::Incomplete)),
            (b"\xdf\xff\xff\xff\xff\x01\x02", Err(ReadError::Incomplete)),
            (&[&[0x91; 1_000_000][..], b"\xc0"].concat(), Ok(FieldValue::Other)),
            (&[0x91; 1_000_000], Err(ReadError::Incomplete)),
            (&b"\xdd\xff\xff\xff\xff".repeat(100_000), Err(ReadError::Incomplete)),
        ] {
            assert_eq!(RecordReader::new(bytes).value(), expected);
        }
    }

    #[test]
    fn values_of_other_types_are_invalid() {
        assert_eq!(RecordReader::new(b"\x01").list(), Err(ReadError::Invalid));
        assert_eq!(RecordReader::new(b"\x01").map(), Err(ReadError::Invalid));
        assert_eq!(RecordReader::new(b"\x01").text(), Err(ReadError::Invalid));
        assert_eq!(RecordReader::new(b"\xd4").value(), Err(ReadError::Invalid));
        assert_eq!(RecordReader::new(b"GET / HTTP/1.1").list(), Err(ReadError::Invalid));
    }

    /// Generates any value except extensions.
    fn any_value() -> impl Strategy<Value = rmpv::Value> {
        let leaf = prop_oneof![
            Just(rmpv::Value::Nil),
            any::<bool>().prop_map(rmpv::Value::from),
            any::<i64>().prop_map(rmpv::Value::from),
            any::<u64>().prop_map(rmpv::Value::from),
            any::<i16>().prop_map(rmpv::Value::from),
            any::<f32>().prop_map(rmpv::Value::from),
            any::<f64>().prop_map(rmpv::Value::from),
            "\\PC{0,300}".prop_map(rmpv::Value::from),
            prop::collection::vec(any::<u8>(), 0..300).prop_map(rmpv::Value::from),
        ];
        leaf.prop_recursive(4, 40, 20, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..20).prop_map(rmpv::Value::from),
                prop::collection::vec((inner.clone(), inner), 0..20).prop_map(rmpv::Value::from),
            ]
        })
    }

    fn expected(value: &rmpv::Value) -> FieldValue<'_> {
        match value {
            rmpv::Value::Boolean(truth) => FieldValue::Boolean(*truth),
            rmpv::Value::Integer(number) => FieldValue::Integer(number.as_i64().unwrap_or(i64::MAX)),
            rmpv::Value::F32(number) => whole((*number).into()),
            rmpv::Value::F64(number) => whole(*number),
            rmpv::Value::String(text) => FieldValue::Text(text.as_bytes()),
            rmpv::Value::Binary(bytes) => FieldValue::Text(bytes),
            _ => FieldValue::Other,
        }
    }

    proptest! {
        #[test]
        fn encoded_values_are_read_and_their_prefixes_are_incomplete(value in any_value(), cut: prop::sample::Index) {
            let mut bytes = Vec::new();
            rmpv::encode::write_value(&mut bytes, &value).unwrap();
            prop_assert_eq!(RecordReader::new(&bytes[..cut.index(bytes.len())]).value(), Err(ReadError::Incomplete));
            bytes.push(7);
            let mut reader = RecordReader::new(&bytes);
            prop_assert_eq!(reader.value(), Ok(expected(&value)));
            prop_assert_eq!(reader.rest(), [7]);
        }

        #[test]
        fn any_bytes_are_safe(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut reader = RecordReader::new(&bytes);
            while reader.value().is_ok() {}
        }
    }
}
