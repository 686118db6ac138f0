//! What a record of the log says, and where the plan wants it: names on one side, sources on the other.

use tributary_plan::log_schema::{Decoder, Field, LogSchema, SEPARATOR};
use tributary_plan::plan::SOURCES_MAX;
use tributary_plan::transform;

use super::message_pack::{Reader, Stop, Value};
use crate::observation::Observation;

/// Envoy's word for a value that is not there, in text of several.
const ABSENT: &[u8] = b"-";

/// The records of one tag: which of their values go where.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Schema {
    /// For each name of the tag, in turn, what is wanted of it.
    columns: Vec<Vec<Field>>,
    /// Where the value of a key that is a name goes.
    named: Vec<(Box<[u8]>, Field)>,
}

/// The values of one record, in the host's wire form.
#[derive(Debug)]
pub struct Values<'a> {
    texts: Observation<'a>,
    numbers: [[u8; 8]; SOURCES_MAX],
    /// By bit, which sources have a number.
    numbered: u64,
}

impl Schema {
    /// That of records with this tag, for who wants that.
    pub fn new(wanted: &LogSchema, tag: &[u8]) -> Self {
        let named = wanted.all().map(|(name, place)| (name.as_bytes().into(), place));
        Self { columns: wanted.columns(tag), named: named.collect() }
    }

    /// Reads a record of `pairs` into `values`, which have none yet. A pair whose key is a name has its value; the text under
    /// any other key has those of the tag's names. False if that text does not have as many values as there are names: then
    /// it has none.
    ///
    /// # Errors
    /// The reader's.
    pub fn read<'a>(
        &self,
        pairs: usize,
        reader: &mut Reader<'a>,
        values: &mut Values<'a>,
    ) -> Result<bool, Stop> {
        let before = *reader;
        for _ in 0..pairs {
            let (key, value) = (reader.text()?, reader.value()?);
            if !self.put(key, value, values) && !self.split(value, values) {
                return self.read_named(pairs, before, reader, values).map(|()| false);
            }
        }
        Ok(true)
    }

    /// The same without the text that is split.
    #[cold]
    fn read_named<'a>(
        &self,
        pairs: usize,
        before: Reader<'a>,
        reader: &mut Reader<'a>,
        values: &mut Values<'a>,
    ) -> Result<(), Stop> {
        *reader = before;
        *values = Values::default();
        for _ in 0..pairs {
            let (key, value) = (reader.text()?, reader.value()?);
            self.put(key, value, values);
        }
        Ok(())
    }

    /// Puts a value where the one of that name is wanted; false if it is nowhere.
    fn put<'a>(&self, name: &[u8], value: Value<'a>, values: &mut Values<'a>) -> bool {
        let mut is_wanted = false;
        for (_, place) in self.named.iter().filter(|(wanted, _)| **wanted == *name) {
            is_wanted = true;
            values.put(*place, value);
        }
        is_wanted
    }

    /// Puts the tag's values where they are wanted; false if they are not as many as there are names.
    fn split<'a>(&self, value: Value<'a>, values: &mut Values<'a>) -> bool {
        let Value::Text(text) = value else {
            // A command operator that stands alone gives a number as such.
            let [places] = &*self.columns else { return false };
            places.iter().for_each(|place| values.put(*place, value));
            return true;
        };
        let mut rest = Some(text);
        for places in &self.columns {
            let Some(left) = rest else { return false };
            let end = left.iter().position(|byte| *byte == SEPARATOR);
            let (value, next) = match end.and_then(|end| left.split_at_checked(end)) {
                Some((value, next)) => (value, next.get(1..)),
                None => (left, None),
            };
            rest = next;
            for place in places {
                // No flags are no flags.
                if value != ABSENT || matches!(place.decoder, Decoder::Flags | Decoder::FlagsForStatus) {
                    values.put(*place, Value::Text(value));
                }
            }
        }
        rest.is_none()
    }
}

impl Default for Values<'_> {
    fn default() -> Self {
        Self { texts: Observation::default(), numbers: [[0; 8]; SOURCES_MAX], numbered: 0 }
    }
}

impl<'a> Values<'a> {
    /// What was seen of the stream.
    pub fn observation(&self) -> Observation<'_> {
        let mut observation: Observation<'_> = self.texts;
        let mut numbered = self.numbered;
        for (place, number) in observation.values_mut().iter_mut().zip(&self.numbers) {
            if numbered == 0 {
                break;
            }
            if numbered & 1 == 1 {
                *place = Some(number);
            }
            numbered >>= 1;
        }
        observation
    }

    fn put(&mut self, place: Field, value: Value<'a>) {
        let number = match (place.decoder, value) {
            (Decoder::Text, Value::Text(text)) => return self.put_text(place.source, text),
            (Decoder::Bool, Value::Boolean(is_true)) => return self.put_truth(place.source, is_true),
            (Decoder::Bool, Value::Text(text)) => return self.put_truth(place.source, text == b"true"),
            (Decoder::Integer, value) => integer(value),
            (Decoder::Status, value) => integer(value).filter(|status| *status > 0),
            (Decoder::Time(nanoseconds), value) => {
                integer(value).map(|time| time.saturating_mul(nanoseconds))
            }
            (Decoder::Flags, Value::Text(names)) => Some(flags(names)),
            (Decoder::FlagsForStatus, Value::Text(names)) if !self.has_number(place.source) => {
                Some(flags(names).saturating_neg())
            }
            _ => None,
        };
        if let (Some(number), Some(into)) = (number, self.numbers.get_mut(place.source)) {
            *into = number.to_le_bytes();
            self.numbered |= 1 << place.source;
        }
    }

    fn has_number(&self, source: usize) -> bool {
        self.numbered >> source & 1 == 1
    }

    fn put_text(&mut self, source: usize, text: &'a [u8]) {
        if let Some(place) = self.texts.values_mut().get_mut(source) {
            *place = Some(text);
        }
    }

    fn put_truth(&mut self, source: usize, is_true: bool) {
        self.put_text(source, if is_true { &[1] } else { &[0] });
    }
}

fn integer(value: Value<'_>) -> Option<i64> {
    match value {
        Value::Integer(number) => Some(number),
        Value::Text(digits) => decimal(digits),
        Value::Boolean(_) | Value::Other => None,
    }
}

/// Response flags; most requests have none, which takes no looking for.
fn flags(names: &[u8]) -> i64 {
    if names == ABSENT { 0 } else { transform::flags(names) }
}

/// A number of up to 18 digits, which is as many as always fit.
fn decimal(digits: &[u8]) -> Option<i64> {
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    digits.iter().try_fold(0_i64, |number, digit| {
        let digit = digit.wrapping_sub(b'0');
        (digit < 10).then(|| number.wrapping_mul(10).wrapping_add(i64::from(digit)))
    })
}

#[cfg(test)]
mod tests;
