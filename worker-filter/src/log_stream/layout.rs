//! The layout of log records: it assigns the values in a record to the sources of the plan.

use tributary_plan::log_schema::{Decoder, Field, LogSchema, SEPARATOR};
use tributary_plan::plan::SOURCES_MAX;
use tributary_plan::transform;

use super::message_pack::{FieldValue, ReadError, RecordReader};
use crate::observation::Observation;

/// The text that Envoy writes for an absent value if one text contains several values.
const ABSENT: &[u8] = b"-";

/// Maps the values in the records that have the same tag to sources of the plan.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct RecordLayout {
    /// For each name in the tag, in order: the fields that the value of this name fills.
    columns: Vec<Vec<Field>>,
    /// Each name of the schema, with a field that the value under this key fills.
    named: Vec<(Box<[u8]>, Field)>,
}

/// The values of one record, encoded like the attributes that the host returns.
#[derive(Debug)]
pub struct Values<'a> {
    texts: Observation<'a>,
    numbers: [[u8; 8]; SOURCES_MAX],
    /// A set of sources that have a number: bit `i` stands for source `i`.
    numbered: u64,
}

impl RecordLayout {
    /// Creates the layout of records with this tag, for the values in a schema.
    pub fn new(schema: &LogSchema, tag: &[u8]) -> Self {
        let named = schema.fields.iter().map(|(name, field)| (name.as_bytes().into(), *field));
        let columns = tag.split(|byte| *byte == SEPARATOR).map(|name| schema.named(name).collect());
        Self { columns: columns.collect(), named: named.collect() }
    }

    /// Reads a record of `pairs` pairs into `values`, which must be empty.
    ///
    /// A key that is a name of the schema has the value of this name. Any other key has a text with the
    /// values of all names in the tag, in the same order. If this text has more or fewer values than the
    /// tag has names, the text is ignored and this function returns false.
    ///
    /// # Errors
    /// The reader's errors: the record is incomplete or invalid.
    pub fn read<'a>(
        &self,
        pairs: usize,
        reader: &mut RecordReader<'a>,
        values: &mut Values<'a>,
    ) -> Result<bool, ReadError> {
        let before = *reader;
        for _ in 0..pairs {
            let (key, value) = (reader.text()?, reader.value()?);
            if !self.put(key, value, values) && !self.split(value, values) {
                return self.read_named(pairs, before, reader, values).map(|()| false);
            }
        }
        Ok(true)
    }

    /// Reads only the values whose keys are names of the schema, and ignores the text with the values of
    /// the tag's names.
    #[cold]
    fn read_named<'a>(
        &self,
        pairs: usize,
        before: RecordReader<'a>,
        reader: &mut RecordReader<'a>,
        values: &mut Values<'a>,
    ) -> Result<(), ReadError> {
        *reader = before;
        *values = Values::default();
        for _ in 0..pairs {
            let (key, value) = (reader.text()?, reader.value()?);
            self.put(key, value, values);
        }
        Ok(())
    }

    /// Fills the fields of this name with a value. Returns false if the schema does not have this name.
    fn put<'a>(&self, name: &[u8], value: FieldValue<'a>, values: &mut Values<'a>) -> bool {
        let mut is_known = false;
        for (_, field) in self.named.iter().filter(|(known, _)| **known == *name) {
            is_known = true;
            values.put(*field, value);
        }
        is_known
    }

    /// Fills the fields of the tag's names with the values in a text. Returns false if the text has more or
    /// fewer values than the tag has names.
    fn split<'a>(&self, value: FieldValue<'a>, values: &mut Values<'a>) -> bool {
        let FieldValue::Text(text) = value else {
            // If the configured text is only one command operator, Envoy can write its value as a number.
            let [fields] = &*self.columns else { return false };
            fields.iter().for_each(|field| values.put(*field, value));
            return true;
        };
        let mut rest = Some(text);
        for fields in &self.columns {
            let Some(left) = rest else { return false };
            let end = left.iter().position(|byte| *byte == SEPARATOR);
            let (value, next) = match end.and_then(|end| left.split_at_checked(end)) {
                Some((value, next)) => (value, next.get(1..)),
                None => (left, None),
            };
            rest = next;
            for field in fields {
                // In response flags, `-` means that no flag is set, which is the number 0.
                if value != ABSENT || matches!(field.decoder, Decoder::Flags | Decoder::FlagsForStatus) {
                    values.put(*field, FieldValue::Text(value));
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
    /// Returns the observation with these values.
    pub fn observation(&self) -> Observation<'_> {
        let mut observation: Observation<'_> = self.texts;
        let mut numbered = self.numbered;
        for (value, number) in observation.values_mut().iter_mut().zip(&self.numbers) {
            if numbered == 0 {
                break;
            }
            if numbered & 1 == 1 {
                *value = Some(number);
            }
            numbered >>= 1;
        }
        observation
    }

    fn put(&mut self, field: Field, value: FieldValue<'a>) {
        let number = match (field.decoder, value) {
            (Decoder::Text, FieldValue::Text(text)) => return self.put_text(field.source, text),
            (Decoder::Bool, FieldValue::Boolean(is_true)) => return self.put_bool(field.source, is_true),
            (Decoder::Bool, FieldValue::Text(text)) => return self.put_bool(field.source, text == b"true"),
            (Decoder::Integer, value) => integer(value),
            (Decoder::Status, value) => integer(value).filter(|status| *status > 0),
            (Decoder::Time(nanoseconds), value) => {
                integer(value).map(|time| time.saturating_mul(nanoseconds))
            }
            (Decoder::Flags, FieldValue::Text(names)) => Some(flags(names)),
            (Decoder::FlagsForStatus, FieldValue::Text(names)) if !self.has_number(field.source) => {
                Some(flags(names).saturating_neg())
            }
            _ => None,
        };
        if let (Some(number), Some(into)) = (number, self.numbers.get_mut(field.source)) {
            *into = number.to_le_bytes();
            self.numbered |= 1 << field.source;
        }
    }

    fn has_number(&self, source: usize) -> bool {
        self.numbered >> source & 1 == 1
    }

    fn put_text(&mut self, source: usize, text: &'a [u8]) {
        if let Some(value) = self.texts.values_mut().get_mut(source) {
            *value = Some(text);
        }
    }

    fn put_bool(&mut self, source: usize, is_true: bool) {
        self.put_text(source, if is_true { &[1] } else { &[0] });
    }
}

fn integer(value: FieldValue<'_>) -> Option<i64> {
    match value {
        FieldValue::Integer(number) => Some(number),
        FieldValue::Text(digits) => decimal(digits),
        FieldValue::Boolean(_) | FieldValue::Other => None,
    }
}

/// Converts the names of response flags to a number. Most requests have no flags, so that no name is looked
/// up.
fn flags(names: &[u8]) -> i64 {
    if names == ABSENT { 0 } else { transform::flags(names) }
}

/// Parses a decimal number of up to 18 digits, which always fits into an `i64`.
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
