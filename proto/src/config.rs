//! Reads a plugin's configuration and reports all problems at once. Each problem has the path of the value,
//! the value that was found, and the values that are allowed.
//!
//! A configuration is JSON text (Envoy's StringValue or BytesValue) or a serialised Struct. Both are read in
//! the same way.
//!
//! A [`Section`] reads one object. Each method checks the value of a key and returns it, or reports a problem
//! and returns `None`. When the section ends, it reports the keys that were not read.

mod structure;

use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::attributes::clip;
use crate::limits::CONFIGURATION_BYTES_MAX;
use crate::{decimal, duration, json, printable};

/// A JSON object.
type Object = Map<String, Value>;

/// A key that the configuration may have.
type Key = &'static str;

/// A problem in a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The path of the value, such as `flush.interval`; empty for the whole configuration.
    pub path: String,
    /// The value, cut to a readable length.
    pub found: String,
    /// The allowed values.
    pub allowed: String,
}

/// All problems in a configuration, in the order in which they were found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

/// Reads one object of a configuration.
pub struct Section<'a> {
    path: String,
    values: &'a Object,
    known: Vec<&'static str>,
    required: bool,
    problems: &'a mut Problems,
}

/// The maximum number of bytes of a value in a problem. It is short because a log should not contain whole
/// configurations.
const FOUND_BYTES: usize = 80;

/// The maximum number of problems that are reported.
const PROBLEMS_MAX: usize = 64;
const PROBLEMS_LAST: usize = PROBLEMS_MAX - 1;

/// The limits of JSON.
const JSON: &str =
    "JSON with numbers between -1.8e308 and 1.8e308, and at most 127 levels of lists and objects";

/// Reads a configuration with `read`, and returns its result if there was no problem.
///
/// A plugin without `configuration` has no bytes, which are read as an empty object.
///
/// # Errors
/// All problems that were found.
pub fn read<T>(bytes: &[u8], read: impl FnOnce(&mut Section<'_>) -> T) -> Result<T, Problems> {
    let mut problems = Problems::default();
    let values = object(bytes, &mut problems)?;
    let result = read_section(String::new(), &values, &mut problems, read);
    if problems.0.is_empty() { Ok(result) } else { Err(problems) }
}

/// Parses a configuration, and reports keys that are repeated in an object.
///
/// # Errors
/// The reason why it is not an object.
fn object(bytes: &[u8], problems: &mut Problems) -> Result<Object, Problems> {
    let failed = |path: &str, found: &str, allowed: &str| {
        let mut problems = Problems::default();
        problems.note(path, found, allowed);
        Err(problems)
    };
    let whole = |found: &str| {
        let allowed =
            format!("a Struct, or text of a JSON object, of at most {CONFIGURATION_BYTES_MAX} bytes");
        failed("", found, &allowed)
    };
    if bytes.is_empty() {
        return Ok(Object::new());
    }
    if bytes.len() > CONFIGURATION_BYTES_MAX {
        return whole(&format!("{} bytes or more", bytes.len()));
    }
    match json::read_with_repeated(bytes) {
        Ok((Value::Object(values), repeated)) => {
            repeated.iter().for_each(|path| problems.note(path, "a repeated key", "each key once"));
            Ok(values)
        }
        Ok((other, _)) => whole(&excerpt(&other)),
        Err(invalid) => match structure::decode(bytes) {
            Some(Ok(values)) => Ok(values),
            // JSON text can begin with a line feed, which is also the first byte of a Struct. If `{` follows,
            // it is JSON text.
            Some(Err(found)) if !bytes.trim_ascii_start().starts_with(b"{") => whole(found),
            _ if invalid.path.is_empty() => whole(&invalid.reason.to_string()),
            _ => failed(&invalid.path, &invalid.reason.to_string(), JSON),
        },
    }
}

fn read_section<T>(
    path: String,
    values: &Object,
    problems: &mut Problems,
    read: impl FnOnce(&mut Section<'_>) -> T,
) -> T {
    let mut section = Section { path, values, known: Vec::new(), required: false, problems };
    let result = read(&mut section);
    section.finish();
    result
}

impl<'a> Section<'a> {
    /// Requires that the key that is read next is present.
    pub fn required(&mut self) -> &mut Self {
        self.required = true;
        self
    }

    /// Reads text with a length in this range of bytes.
    pub fn text(&mut self, key: Key, bytes: RangeInclusive<usize>) -> Option<String> {
        let allowed = format!("text of {} to {} bytes", bytes.start(), bytes.end());
        self.take(key, &allowed, |value| text_of(value, &bytes))
    }

    /// Reads text that must be one of the given words.
    pub fn word(&mut self, key: Key, words: &[&'static str]) -> Option<&'static str> {
        let allowed = format!("one of {}", words.join(", "));
        self.take(key, &allowed, |value| words.iter().find(|word| value.as_str() == Some(**word)).copied())
    }

    /// Reads text that must be one of the given words, and returns the value that belongs to the word.
    pub fn choice<T: Copy>(&mut self, key: Key, choices: &[(&'static str, T)]) -> Option<T> {
        let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
        let word = self.word(key, &words)?;
        choices.iter().find(|(known, _)| *known == word).map(|(_, choice)| *choice)
    }

    /// Reads a whole number. `5.0` is valid too, because Envoy's Struct has only doubles.
    pub fn number(&mut self, key: Key, range: RangeInclusive<u64>) -> Option<u64> {
        let allowed = format!("a whole number from {} to {}", range.start(), range.end());
        self.take(key, &allowed, |value| {
            json::whole(&*numeric(value)?).filter(|number| range.contains(number))
        })
    }

    /// Reads a whole number as a `usize`, for example a number of bytes or items.
    pub fn size(&mut self, key: Key, range: RangeInclusive<usize>) -> Option<usize> {
        let [least, most] =
            [*range.start(), *range.end()].map(|size| u64::try_from(size).unwrap_or(u64::MAX));
        self.number(key, least..=most).and_then(|number| usize::try_from(number).ok())
    }

    /// Reads a duration such as `1s` or `250ms`.
    pub fn duration(&mut self, key: Key, range: RangeInclusive<Duration>) -> Option<Duration> {
        let (least, most) = (duration::format(*range.start()), duration::format(*range.end()));
        let allowed = format!("a duration from {least} to {most}, such as \"1s\" or \"250ms\"");
        self.take(key, &allowed, |value| {
            value.as_str().and_then(duration::parse).filter(|d| range.contains(d))
        })
    }

    /// Reads a boolean.
    pub fn flag(&mut self, key: Key) -> Option<bool> {
        self.take(key, "true or false", Value::as_bool)
    }

    /// Reads a list of at most `count` texts, each with a length in this range of bytes.
    pub fn list(&mut self, key: Key, count: usize, bytes: RangeInclusive<usize>) -> Option<Vec<String>> {
        let allowed =
            format!("a list of at most {count} texts of {} to {} bytes", bytes.start(), bytes.end());
        self.take(key, &allowed, |value| {
            let items = value.as_array().filter(|items| items.len() <= count)?;
            items.iter().map(|item| text_of(item, &bytes)).collect::<Option<Vec<_>>>()
        })
    }

    /// Reads a list of ascending numbers.
    pub fn ascending(&mut self, key: Key, count: RangeInclusive<usize>) -> Option<Vec<f64>> {
        let allowed = format!("a list of {} to {} numbers, ascending", count.start(), count.end());
        self.take(key, &allowed, |value| {
            let items = value.as_array().filter(|items| count.contains(&items.len()))?;
            let numbers = items.iter().map(|item| numeric(item)?.as_f64()).collect::<Option<Vec<_>>>()?;
            numbers.is_sorted_by(|a, b| a < b).then_some(numbers)
        })
    }

    /// Reads an object with `read`. An absent object is read like an empty object, so that defaults are
    /// defined in one place.
    pub fn section<T>(&mut self, key: Key, read: impl FnOnce(&mut Section<'_>) -> T) -> T {
        let empty = Object::new();
        let values = self.take(key, "an object", Value::as_object).unwrap_or(&empty);
        read_section(self.path_of(key), values, self.problems, read)
    }

    /// Reads a list of objects, each with `read`. Returns `None` if the key is absent.
    pub fn sections<T>(
        &mut self,
        key: Key,
        count: RangeInclusive<usize>,
        mut read: impl FnMut(&mut Section<'_>) -> T,
    ) -> Option<Vec<T>> {
        let allowed = format!("a list of {} to {} objects", count.start(), count.end());
        let items =
            self.take(key, &allowed, |value| value.as_array().filter(|items| count.contains(&items.len())))?;
        let mut results = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let path = format!("{}[{index}]", self.path_of(key));
            match item {
                Value::Object(values) => results.push(read_section(path, values, self.problems, &mut read)),
                other => self.problems.note(&path, &excerpt(other), "an object"),
            }
        }
        Some(results)
    }

    /// Reads an object whose values are texts, such as headers or attributes. Returns its pairs, sorted by
    /// name.
    pub fn texts(&mut self, key: Key, count: usize, bytes: usize) -> Vec<(String, String)> {
        let allowed = format!("an object of at most {count} texts of at most {bytes} bytes");
        let taken = self.take(key, &allowed, |value| {
            let entries = value.as_object().filter(|entries| entries.len() <= count)?;
            let entries = entries.iter().map(|(name, value)| {
                let is_valid = (1..=bytes).contains(&name.len());
                text_of(value, &(0..=bytes)).filter(|_| is_valid).map(|text| (name.clone(), text))
            });
            entries.collect::<Option<Vec<_>>>()
        });
        taken.unwrap_or_default()
    }

    /// Reports a problem with `key` that the caller found, such as an invalid reference.
    pub fn note(&mut self, key: &str, found: &str, allowed: &str) {
        let path = self.path_of(key);
        self.problems.note(&path, found, allowed);
    }

    /// Marks the key as known and returns whether it is present.
    pub fn known(&mut self, key: Key) -> bool {
        self.known.push(key);
        self.has(key)
    }

    /// Returns whether the key is present.
    pub fn has(&self, key: &str) -> bool {
        self.values.get(key).is_some_and(|value| !value.is_null())
    }

    fn take<T>(&mut self, key: Key, allowed: &str, check: impl FnOnce(&'a Value) -> Option<T>) -> Option<T> {
        self.known.push(key);
        let required = std::mem::take(&mut self.required);
        let value = self.values.get(key).filter(|value| !value.is_null());
        let checked = value.and_then(check);
        if checked.is_none() && (value.is_some() || required) {
            let found = value.map_or_else(|| "nothing".to_owned(), excerpt);
            let path = self.path_of(key);
            self.problems.note(&path, &found, allowed);
        }
        checked
    }

    // Not a part of `read_section`, which is compiled once for each kind of section.
    fn finish(self) {
        for key in self.values.keys().filter(|key| !self.known.contains(&key.as_str())) {
            let allowed = format!("one of {}", self.known.join(", "));
            self.problems.note(&self.path_of(key), "an unknown key", &allowed);
        }
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

impl Problems {
    /// Iterates over the problems.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }

    fn note(&mut self, path: &str, found: &str, allowed: &str) {
        let (path, found, allowed) = match self.0.len() {
            PROBLEMS_MAX.. => return,
            PROBLEMS_LAST => ("", "further problems", "a configuration without the problems above"),
            _ => (path, found, allowed),
        };
        let found = clip(found, FOUND_BYTES).to_owned();
        let path = printable::escape(clip(path, FOUND_BYTES));
        self.0.push(Problem { path, found, allowed: allowed.to_owned() });
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() { "the whole configuration" } else { &self.path };
        write!(out, "{path}: found {}, allowed: {}", self.found, self.allowed)
    }
}

/// Returns the text of a value, if the value is text with a length in this range of bytes.
fn text_of(value: &Value, bytes: &RangeInclusive<usize>) -> Option<String> {
    value.as_str().filter(|text| bytes.contains(&text.len())).map(str::to_owned)
}

/// Returns a value that is a number, or text that contains a number: in a Struct, Envoy converts fractions
/// and integers of more than 32 bits to text (1.40).
fn numeric(value: &Value) -> Option<Cow<'_, Value>> {
    match value {
        Value::Number(_) => Some(Cow::Borrowed(value)),
        Value::String(text) => json::read(text.as_bytes()).ok().filter(Value::is_number).map(Cow::Owned),
        _ => None,
    }
}

/// Quotes text for a log line, cut to a readable length.
pub fn quoted(text: &str) -> String {
    printable::quote(clip(text, FOUND_BYTES))
}

/// Describes a value in a few words. Lists and objects are not shown: a log should not contain whole
/// configurations, and a module should not contain the code to format them.
fn excerpt(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => decimal::text(number.as_f64().unwrap_or_default()),
        Value::String(text) => quoted(text),
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Object(entries) => format!("an object of {}", entries.len()),
    }
}

#[cfg(test)]
mod tests;
