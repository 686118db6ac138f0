//! MessagePack, read piece by piece: as much of it as Envoy's `fluentd` access logger writes.

/// Bytes of MessagePack that are read from the front (<https://github.com/msgpack/msgpack/blob/master/spec.md>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reader<'a>(&'a [u8]);

/// One value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Text, or bytes that may be none.
    Text(&'a [u8]),
    /// A whole number; the largest for one above it.
    Integer(i64),
    /// A truth value.
    Boolean(bool),
    /// Nothing, a number that is not whole, or something with values in it, which was passed over.
    Other,
}

/// Why a value cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// There is more of it to come.
    Short,
    /// It never will be: it is something else than was to be there.
    Broken,
}

impl<'a> Reader<'a> {
    /// From the first of these.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// What is left to read.
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// The length of a list, whose items come next.
    pub fn list(&mut self) -> Result<usize, Stop> {
        match self.byte()? {
            short @ 0x90..=0x9f => Ok(usize::from(short & 0x0f)),
            0xdc => self.length(2),
            0xdd => self.length(4),
            _ => Err(Stop::Broken),
        }
    }

    /// The length of a map, whose pairs come next, each a key and a value.
    pub fn map(&mut self) -> Result<usize, Stop> {
        match self.byte()? {
            short @ 0x80..=0x8f => Ok(usize::from(short & 0x0f)),
            0xde => self.length(2),
            0xdf => self.length(4),
            _ => Err(Stop::Broken),
        }
    }

    /// Text, and nothing else.
    pub fn text(&mut self) -> Result<&'a [u8], Stop> {
        match self.value()? {
            Value::Text(text) => Ok(text),
            _ => Err(Stop::Broken),
        }
    }

    /// Whatever is next, with all that is in it.
    pub fn value(&mut self) -> Result<Value<'a>, Stop> {
        let (value, mut inner) = self.shallow()?;
        // What is in it is passed over one by one, however deep: each is at least a byte of what there is.
        while inner > 0 {
            let (_, more) = self.shallow()?;
            inner = inner.saturating_sub(1).saturating_add(more);
        }
        Ok(value)
    }

    /// The next value, and how many are in it, which come next.
    fn shallow(&mut self) -> Result<(Value<'a>, usize), Stop> {
        let value = match self.byte()? {
            small @ 0x00..=0x7f => Value::Integer(i64::from(small)),
            pairs @ 0x80..=0x8f => return Ok((Value::Other, usize::from(pairs & 0x0f).saturating_mul(2))),
            items @ 0x90..=0x9f => return Ok((Value::Other, usize::from(items & 0x0f))),
            short @ 0xa0..=0xbf => Value::Text(self.bytes(usize::from(short & 0x1f))?),
            // Nothing, and what nobody writes, which other readers take for nothing too.
            0xc0 | 0xc1 => Value::Other,
            0xc2 => Value::Boolean(false),
            0xc3 => Value::Boolean(true),
            0xc4 | 0xd9 => self.sized(1)?,
            0xc5 | 0xda => self.sized(2)?,
            0xc6 | 0xdb => self.sized(4)?,
            0xca => whole(f32::from_be_bytes(self.array()?).into()),
            0xcb => whole(f64::from_be_bytes(self.array()?)),
            0xcc => self.unsigned(1)?,
            0xcd => self.unsigned(2)?,
            0xce => self.unsigned(4)?,
            0xcf => self.unsigned(8)?,
            0xd0 => Value::Integer(i64::from(i8::from_be_bytes(self.array()?))),
            0xd1 => Value::Integer(i64::from(i16::from_be_bytes(self.array()?))),
            0xd2 => Value::Integer(i64::from(i32::from_be_bytes(self.array()?))),
            0xd3 => Value::Integer(i64::from_be_bytes(self.array()?)),
            0xdc => return Ok((Value::Other, self.length(2)?)),
            0xdd => return Ok((Value::Other, self.length(4)?)),
            0xde => return Ok((Value::Other, self.length(2)?.saturating_mul(2))),
            0xdf => return Ok((Value::Other, self.length(4)?.saturating_mul(2))),
            negative @ 0xe0..=0xff => Value::Integer(i64::from(i8::from_be_bytes([negative]))),
            // Extensions, which no access logger writes.
            0xc7..=0xc9 | 0xd4..=0xd8 => return Err(Stop::Broken),
        };
        Ok((value, 0))
    }

    fn sized(&mut self, width: usize) -> Result<Value<'a>, Stop> {
        let length = self.length(width)?;
        self.bytes(length).map(Value::Text)
    }

    fn unsigned(&mut self, width: usize) -> Result<Value<'a>, Stop> {
        Ok(Value::Integer(i64::try_from(self.number(width)?).unwrap_or(i64::MAX)))
    }

    fn length(&mut self, width: usize) -> Result<usize, Stop> {
        usize::try_from(self.number(width)?).map_err(|_| Stop::Broken)
    }

    /// A number of up to 8 bytes, the highest first.
    fn number(&mut self, width: usize) -> Result<u64, Stop> {
        Ok(self.bytes(width)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn byte(&mut self) -> Result<u8, Stop> {
        self.array().map(u8::from_be_bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        let (array, rest) = self.0.split_first_chunk().ok_or(Stop::Short)?;
        self.0 = rest;
        Ok(*array)
    }

    fn bytes(&mut self, length: usize) -> Result<&'a [u8], Stop> {
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(Stop::Short)?;
        self.0 = rest;
        Ok(bytes)
    }
}

/// A whole number with many zeros at its end: Envoy writes 100,000 as `1e+05` in JSON and makes a fraction of that (1.40).
fn whole(number: f64) -> Value<'static> {
    /// 2^63.
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    if number.trunc() != number || number.abs() >= BEYOND {
        return Value::Other;
    }
    #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and in range")]
    let integer = number as i64;
    Value::Integer(integer)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_are_read_as_they_were_written() {
        for (bytes, expected) in [
            (&b"\x07"[..], Value::Integer(7)),
            (b"\xff", Value::Integer(-1)),
            (b"\xcc\xc8", Value::Integer(200)),
            (b"\xcd\x01\xf7", Value::Integer(503)),
            (b"\xce\x00\x01\x00\x00", Value::Integer(65_536)),
            (b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", Value::Integer(i64::MAX)),
            (b"\xd0\x80", Value::Integer(-128)),
            (b"\xd1\xff\x00", Value::Integer(-256)),
            (b"\xd2\xff\xff\xff\x00", Value::Integer(-256)),
            (b"\xd3\xff\xff\xff\xff\xff\xff\xff\x00", Value::Integer(-256)),
            (b"\xa3GET", Value::Text(b"GET")),
            (b"\xd9\x03GET", Value::Text(b"GET")),
            (b"\xda\x00\x03GET", Value::Text(b"GET")),
            (b"\xdb\x00\x00\x00\x03GET", Value::Text(b"GET")),
            (b"\xc4\x01\xff", Value::Text(b"\xff")),
            (b"\xc0", Value::Other),
            (b"\xc3", Value::Boolean(true)),
            (b"\xca\x47\xc3\x50\x00", Value::Integer(100_000)),
            (b"\xca\x3f\xc0\x00\x00", Value::Other),
            (b"\xca\x7f\x80\x00\x00", Value::Other),
            (b"\xca\x7f\xc0\x00\x00", Value::Other),
            (b"\xcb\x42\x37\x48\x76\xe8\x00\x00\x00", Value::Integer(100_000_000_000)),
            (b"\xcb\xc0\xf8\x6a\x00\x00\x00\x00\x00", Value::Integer(-100_000)),
            (b"\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a", Value::Other),
            (b"\xcb\x43\xe0\x00\x00\x00\x00\x00\x00", Value::Other),
            (b"\x82\xa1a\x92\x01\x02\xa1b\xc0", Value::Other),
            (b"\xdc\x00\x01\xde\x00\x01\x01\x02", Value::Other),
        ] {
            let mut reader = Reader::new(bytes);
            assert_eq!(reader.value(), Ok(expected), "{bytes:x?}");
            assert_eq!(reader.rest(), b"", "{bytes:x?}");
            for length in 0..bytes.len() {
                assert_eq!(
                    Reader::new(&bytes[..length]).value(),
                    Err(Stop::Short),
                    "{bytes:x?} cut to {length}"
                );
            }
        }
    }

    #[test]
    fn what_is_something_else_is_broken() {
        assert_eq!(Reader::new(b"\x01").list(), Err(Stop::Broken));
        assert_eq!(Reader::new(b"\x01").map(), Err(Stop::Broken));
        assert_eq!(Reader::new(b"\x01").text(), Err(Stop::Broken));
        assert_eq!(Reader::new(b"\xd4").value(), Err(Stop::Broken));
        assert_eq!(Reader::new(b"GET / HTTP/1.1").list(), Err(Stop::Broken));
    }

    proptest! {
        #[test]
        fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut reader = Reader::new(&bytes);
            while reader.value().is_ok() {}
        }
    }
}
