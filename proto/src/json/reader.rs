//! Reading JSON (RFC 8259), strictly: one value, and nothing but blanks around it.

use super::{Object, Value};
use crate::hex;

/// Levels of nesting; no configuration has more than a handful, and each costs stack.
pub(crate) const DEPTH_MAX: usize = 32;
/// Names in one object. They are put in order one by one, which takes as long as their number squared: what strangers answer could
/// hold up the main thread (256 KiB of names took 190 ms).
const NAMES_MAX: usize = 1024;

/// So many powers of ten are doubles without loss. One division or multiplication by them of a mantissa of 15 digits is as
/// near as can be (W. Clinger, "How to Read Floating Point Numbers Accurately", 1990).
const EXACT_POWERS: u64 = 22;

struct Reader<'a> {
    rest: &'a [u8],
    depth: usize,
}

/// The value that `bytes` write, or where they do not.
///
/// Numbers of up to 15 digits are the double that is nearest to them; those of more may be its neighbour.
pub fn read(bytes: &[u8]) -> Result<Value, String> {
    let mut reader = Reader { rest: bytes, depth: DEPTH_MAX };
    match reader.value() {
        Some(value) if reader.next().is_none() => Ok(value),
        _ => {
            let place = bytes.len().saturating_sub(reader.rest.len());
            let before = bytes.get(..place).unwrap_or_default();
            let line = before.split(|byte| *byte == b'\n').count();
            let column = before.iter().rev().take_while(|byte| **byte != b'\n').count().saturating_add(1);
            Err(format!("no JSON at line {line} column {column}"))
        }
    }
}

impl<'a> Reader<'a> {
    /// The next byte that is no blank.
    fn next(&mut self) -> Option<u8> {
        let blanks = self.rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
        self.rest = self.rest.get(blanks..).unwrap_or_default();
        self.rest.first().copied()
    }

    /// Goes on behind `text` if that is next.
    fn take(&mut self, text: &[u8]) -> Option<()> {
        self.rest = self.rest.strip_prefix(text)?;
        Some(())
    }

    /// Goes on behind as many bytes as are such.
    fn take_while(&mut self, is_such: impl Fn(u8) -> bool) -> &'a [u8] {
        let count = self.rest.iter().take_while(|byte| is_such(**byte)).count();
        let (taken, rest) = self.rest.split_at_checked(count).unwrap_or_default();
        self.rest = rest;
        taken
    }

    fn value(&mut self) -> Option<Value> {
        match self.next()? {
            b'{' => self.nested(Self::object),
            b'[' => self.nested(Self::array),
            b'"' => Some(Value::String(self.text()?)),
            b'n' => self.take(b"null").map(|()| Value::Null),
            b't' => self.take(b"true").map(|()| Value::Bool(true)),
            b'f' => self.take(b"false").map(|()| Value::Bool(false)),
            _ => Some(Value::Number(self.number()?)),
        }
    }

    fn nested(&mut self, read: fn(&mut Self) -> Option<Value>) -> Option<Value> {
        self.depth = self.depth.checked_sub(1)?;
        let value = read(self);
        self.depth = self.depth.saturating_add(1);
        value
    }

    fn object(&mut self) -> Option<Value> {
        let mut entries = Object::new();
        self.items(b'{', b'}', |reader| {
            reader.next().filter(|byte| *byte == b'"')?;
            let name = reader.text()?;
            reader.next()?;
            reader.take(b":")?;
            entries.insert(name, reader.value()?);
            (entries.len() <= NAMES_MAX).then_some(())
        })?;
        Some(Value::Object(entries))
    }

    fn array(&mut self) -> Option<Value> {
        let mut items = Vec::new();
        self.items(b'[', b']', |reader| {
            items.push(reader.value()?);
            Some(())
        })?;
        Some(Value::Array(items))
    }

    /// What stands between two brackets, with commas between.
    fn items(&mut self, open: u8, close: u8, mut item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.take(&[open])?;
        if self.next()? == close {
            return self.take(&[close]);
        }
        loop {
            item(self)?;
            if self.next()? == close {
                return self.take(&[close]);
            }
            self.take(b",")?;
        }
    }

    fn text(&mut self) -> Option<String> {
        self.take(b"\"")?;
        let mut text = String::new();
        loop {
            let plain = self.take_while(|byte| !matches!(byte, b'"' | b'\\' | ..b' '));
            text.push_str(std::str::from_utf8(plain).ok()?);
            if self.take(b"\"").is_some() {
                return Some(text);
            }
            self.take(b"\\")?;
            let (escaped, rest) = self.rest.split_first()?;
            self.rest = rest;
            text.push(match escaped {
                b'"' | b'\\' | b'/' => char::from(*escaped),
                b'b' => '\u{8}',
                b'f' => '\u{c}',
                b'n' => '\n',
                b'r' => '\r',
                b't' => '\t',
                b'u' => self.unicode()?,
                _ => return None,
            });
        }
    }

    /// The character of one escape, or of the two that UTF-16 needs for it.
    fn unicode(&mut self) -> Option<char> {
        let first = self.four_digits()?;
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first);
        }
        self.take(b"\\u")?;
        let second = self.four_digits()?.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
        char::from_u32(0x1_0000 + ((first & 0x3ff) << 10 | second))
    }

    fn four_digits(&mut self) -> Option<u32> {
        let (digits, rest) = self.rest.split_first_chunk::<4>()?;
        self.rest = rest;
        digits.iter().try_fold(0, |number, digit| Some(number << 4 | u32::from(hex::value(*digit)?)))
    }

    fn number(&mut self) -> Option<f64> {
        let negative = self.take(b"-").is_some();
        let whole = self.digits()?;
        if whole.len() > 1 && whole.starts_with(b"0") {
            return None;
        }
        let fraction = if self.take(b".").is_some() { self.digits()? } else { &[] };
        let mut exponent = 0;
        if self.take(b"e").or_else(|| self.take(b"E")).is_some() {
            let below = self.take(b"-").is_some();
            let _ = below || self.take(b"+").is_some();
            let size = self
                .digits()?
                .iter()
                .fold(0_i32, |size, digit| size.saturating_mul(10).saturating_add(i32::from(digit - b'0')));
            exponent = if below { -size } else { size };
        }
        let size = double(whole, fraction, exponent);
        size.is_finite().then_some(if negative { -size } else { size })
    }

    /// One digit or more.
    fn digits(&mut self) -> Option<&'a [u8]> {
        Some(self.take_while(|byte| byte.is_ascii_digit())).filter(|digits| !digits.is_empty())
    }
}

/// `whole.fraction` times ten to the `exponent`.
#[expect(
    clippy::cast_precision_loss,
    reason = "15 digits are a double without loss, and of more no more is promised"
)]
fn double(whole: &[u8], fraction: &[u8], exponent: i32) -> f64 {
    let (mut mantissa, mut power, mut full) = (0_u64, i64::from(exponent), false);
    let behind_point = std::iter::repeat_n(false, whole.len()).chain(std::iter::repeat(true));
    for (digit, behind) in whole.iter().chain(fraction).zip(behind_point) {
        let more = mantissa.checked_mul(10).and_then(|more| more.checked_add(u64::from(digit - b'0')));
        match more.filter(|_| !full) {
            Some(more) => {
                mantissa = more;
                power -= i64::from(behind);
            }
            None => {
                // What is left of the digits changes nothing but the power.
                full = true;
                power += i64::from(!behind);
            }
        }
    }
    let mut double = mantissa as f64;
    // Beyond 400 there is nothing but 0 and infinity.
    let mut powers = power.unsigned_abs().min(400);
    while powers > 0 {
        let at_once = powers.min(EXACT_POWERS);
        let factor = (0..at_once).fold(1.0, |factor, _| factor * 10.0);
        double = if power < 0 { double / factor } else { double * factor };
        powers -= at_once;
    }
    double
}
