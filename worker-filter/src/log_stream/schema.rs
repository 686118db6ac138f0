//! What a record of the log says, and where the plan wants it: names on one side, sources on the other.

use std::borrow::Cow;

use tributary_plan::form::{self, Form};
use tributary_plan::plan::{Origin, Part, Plan, SOURCES_MAX, Value as Measured};
use tributary_plan::source::{Alone, Guard, Source, Type, type_of};

use super::message_pack::{Reader, Stop, Value};
use crate::observation::Observation;

/// What stands between the names in a tag, and between the values in the record's text that has them.
pub const SEPARATOR: u8 = b' ';

/// Envoy's word for a value that is not there, in text of several.
const ABSENT: &[u8] = b"-";

/// Everything that a plan wants to know of a stream, by name.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    wants: Vec<Want>,
    sources: usize,
}

/// The records of one tag: which of their values go where.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Schema {
    /// For each name of the tag, in turn, what is wanted of it.
    columns: Vec<Vec<Place>>,
}

/// One value that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Want {
    name: String,
    place: Place,
}

/// Where a value goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    /// Among the part's sources.
    source: usize,
    reading: Reading,
}

/// How the text of a value is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Text,
    Integer,
    /// 0 is none.
    Status,
    /// So many nanoseconds each.
    Time(i64),
    Truth,
    /// Envoy's short names of response flags.
    Flags,
    /// The same, below zero, in place of a status that is not there.
    FlagsForStatus,
}

/// The values of one record, in the host's wire form.
#[derive(Debug)]
pub struct Values<'a> {
    texts: Observation<'a>,
    numbers: [[u8; 8]; SOURCES_MAX],
    /// By bit, which sources have a number.
    numbered: u64,
}

impl Wanted {
    /// What this plan wants of each request.
    pub fn new(plan: &Plan) -> Self {
        let part = &plan.main;
        let conditions: Vec<_> = plan.counters.iter().filter_map(|counter| counter.condition).collect();
        let mut wants = Vec::new();
        for (source, of) in part.sources.iter().enumerate() {
            let mut want = |name: &str, reading| {
                wants.push(Want { name: name.to_owned(), place: Place { source, reading } });
            };
            if *of == Source::status() {
                want("response.code", Reading::Status);
                want("response.flags", Reading::FlagsForStatus);
                continue;
            }
            let name = name(of);
            match reading(part, &conditions, source, of) {
                Reading::Time(_) => {
                    for (unit, nanoseconds) in [("", 1), (":us", 1_000), (":ms", 1_000_000)] {
                        want(&format!("{name}{unit}"), Reading::Time(nanoseconds));
                    }
                }
                other => want(&name, other),
            }
        }
        Self { wants, sources: part.sources.len() }
    }

    /// The schema of records with this tag.
    pub fn schema(&self, tag: &[u8]) -> Schema {
        let columns = tag.split(|byte| *byte == SEPARATOR);
        Schema { columns: columns.map(|name| self.places(name).collect()).collect() }
    }

    /// The names of what is wanted of which neither a tag nor a record says anything.
    pub fn missing(&self, tag: &[u8], keys: &[&[u8]]) -> Vec<&str> {
        let named = |name: &str| {
            tag.split(|byte| *byte == SEPARATOR).chain(keys.iter().copied()).any(|key| key == name.as_bytes())
        };
        let is_said = |source| {
            let mut names = self.wants.iter().filter(|want| want.place.source == source);
            names.any(|want| named(&want.name))
        };
        let missing = (0..self.sources).filter(|source| !is_said(*source));
        missing
            .filter_map(|source| self.wants.iter().find(|want| want.place.source == source))
            .map(|want| &*want.name)
            .collect()
    }

    /// Puts a value where the one of that name is wanted; false if it is nowhere.
    fn put<'a>(&self, name: &[u8], value: Value<'a>, values: &mut Values<'a>) -> bool {
        self.places(name).map(|place| values.put(place, value)).count() > 0
    }

    fn places(&self, name: &[u8]) -> impl Iterator<Item = Place> {
        self.wants.iter().filter(move |want| want.name.as_bytes() == name).map(|want| want.place)
    }
}

/// What a source is called in a log: as in a configuration, where a header is an item of Envoy's map of headers.
fn name(source: &Source) -> Cow<'_, str> {
    match &source.alone {
        // As an item of a list it has its guard.
        Alone::Property(path) if source.guard == Guard::Silent => dotted(path).into(),
        _ => source.written().into(),
    }
}

fn dotted(path: &[u8]) -> String {
    String::from_utf8_lossy(path).replace('\0', ".")
}

/// How a source's value is read: by what it is and, for an expression, by what it is wanted for.
fn reading(part: &Part, conditions: &[usize], at: usize, source: &Source) -> Reading {
    let Alone::Property(path) = &source.alone else {
        let is_measured = part.measures.iter().any(|measure| {
            matches!(measure.value, Measured::Of(of) | Measured::OfEach(of) | Measured::Since(of) if of == at)
        });
        let is_in_form = |wanted: Form| {
            let mut dimensions = part.dimensions.iter();
            dimensions.any(|dimension| dimension.origin == Origin::Source(at) && dimension.form == wanted)
        };
        return match () {
            () if is_measured || is_in_form(Form::Integer) => Reading::Integer,
            () if conditions.contains(&at) || is_in_form(Form::Boolean) => Reading::Truth,
            () => Reading::Text,
        };
    };
    let path = dotted(path);
    match (&*path, type_of(&path)) {
        ("response.flags", _) => Reading::Flags,
        ("response.code", _) => Reading::Status,
        (_, Type::Text) => Reading::Text,
        (_, Type::Integer) => Reading::Integer,
        (_, Type::Duration) => Reading::Time(1),
        (_, Type::Boolean) => Reading::Truth,
    }
}

impl Schema {
    /// Reads a record of `pairs` into `values`, which have none yet. A pair whose key is a name has its value; the text under
    /// any other key has those of the tag's names. False if that text does not have as many values as there are names: then
    /// it has none.
    ///
    /// # Errors
    /// The reader's.
    pub fn read<'a>(
        &self,
        wanted: &Wanted,
        pairs: usize,
        reader: &mut Reader<'a>,
        values: &mut Values<'a>,
    ) -> Result<bool, Stop> {
        let before = *reader;
        for _ in 0..pairs {
            let (key, value) = (reader.text()?, reader.value()?);
            if !wanted.put(key, value, values) && !self.split(value, values) {
                return self.read_named(wanted, pairs, before, reader, values).map(|()| false);
            }
        }
        Ok(true)
    }

    /// The same without the text that is split.
    #[cold]
    fn read_named<'a>(
        &self,
        wanted: &Wanted,
        pairs: usize,
        before: Reader<'a>,
        reader: &mut Reader<'a>,
        values: &mut Values<'a>,
    ) -> Result<(), Stop> {
        *reader = before;
        *values = Values::default();
        for _ in 0..pairs {
            let (key, value) = (reader.text()?, reader.value()?);
            wanted.put(key, value, values);
        }
        Ok(())
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
                if value != ABSENT || matches!(place.reading, Reading::Flags | Reading::FlagsForStatus) {
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
        for (place, number) in observation.places_mut().iter_mut().zip(&self.numbers) {
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

    fn put(&mut self, place: Place, value: Value<'a>) {
        let number = match (place.reading, value) {
            (Reading::Text, Value::Text(text)) => return self.put_text(place.source, text),
            (Reading::Truth, Value::Boolean(is_true)) => return self.put_truth(place.source, is_true),
            (Reading::Truth, Value::Text(text)) => return self.put_truth(place.source, text == b"true"),
            (Reading::Integer, value) => integer(value),
            (Reading::Status, value) => integer(value).filter(|status| *status > 0),
            (Reading::Time(nanoseconds), value) => {
                integer(value).map(|time| time.saturating_mul(nanoseconds))
            }
            (Reading::Flags, Value::Text(names)) => Some(form::flags(names)),
            (Reading::FlagsForStatus, Value::Text(names)) if !self.has_number(place.source) => {
                Some(form::flags(names).saturating_neg())
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
        if let Some(place) = self.texts.places_mut().get_mut(source) {
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
