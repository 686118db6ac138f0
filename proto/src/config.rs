//! Reading a plugin's JSON configuration so that every problem in it is found at once, each with its path, what was found
//! and what is allowed.
//!
//! It comes as JSON text (Envoy's StringValue or BytesValue) or as a serialised Struct; both are read alike.
//!
//! A [`Section`] is one object. Each key is asked for by a method that checks it and gives its value, or, having noted the
//! problem, none; at its end the keys that nobody asked for are noted.

mod structure;

use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::attributes::clip;
use crate::limits::CONFIGURATION_BYTES_MAX;
use crate::{decimal, duration, json};

/// A JSON object.
type Object = Map<String, Value>;

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where, such as `flush.interval`; empty for the whole.
    pub path: String,
    /// What is there, cut to a readable length.
    pub found: String,
    /// What may be there.
    pub allowed: String,
}

/// Everything that is wrong with a configuration, in the order of reading.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

/// One object of a configuration while it is read.
pub struct Section<'a> {
    path: String,
    values: &'a Object,
    asked: Vec<&'static str>,
    required: bool,
    problems: &'a mut Problems,
}

/// Longest excerpt of a value in a problem; whole configurations do not belong in a log.
const FOUND_BYTES: usize = 80;

/// Reads a whole configuration: `read` takes it apart, and what it gives counts only if there was no problem.
///
/// No bytes at all are an empty object, as Envoy gives for a plugin without `configuration`.
pub fn read<T>(bytes: &[u8], read: impl FnOnce(&mut Section<'_>) -> T) -> Result<T, Problems> {
    let mut problems = Problems::default();
    let values = match object(bytes) {
        Ok(values) => values,
        Err(found) => {
            problems.note(
                "",
                &found,
                &format!("a Struct, or text of a JSON object, of at most {CONFIGURATION_BYTES_MAX} bytes"),
            );
            return Err(problems);
        }
    };
    let result = read_section(String::new(), &values, &mut problems, read);
    if problems.0.is_empty() { Ok(result) } else { Err(problems) }
}

/// The object that a configuration is, or what it is instead.
fn object(bytes: &[u8]) -> Result<Object, String> {
    if bytes.is_empty() {
        return Ok(Object::new());
    }
    if bytes.len() > CONFIGURATION_BYTES_MAX {
        return Err(format!("{} bytes or more", bytes.len()));
    }
    match json::read(bytes) {
        Ok(Value::Object(values)) => Ok(values),
        Ok(other) => Err(excerpt(&other)),
        Err(error) => match structure::decode(bytes) {
            Some(Ok(values)) => Ok(values),
            // Text may begin as a Struct does, with a line feed.
            Some(Err(found)) if !bytes.trim_ascii_start().starts_with(b"{") => Err(found.to_owned()),
            _ => Err(error.to_string()),
        },
    }
}

fn read_section<T>(
    path: String,
    values: &Object,
    problems: &mut Problems,
    read: impl FnOnce(&mut Section<'_>) -> T,
) -> T {
    let mut section = Section { path, values, asked: Vec::new(), required: false, problems };
    let result = read(&mut section);
    section.finish();
    result
}

impl<'a> Section<'a> {
    /// Makes the key that is asked for next one that must be there.
    pub fn required(&mut self) -> &mut Self {
        self.required = true;
        self
    }

    /// Text of the given length in bytes.
    pub fn text(&mut self, key: &'static str, bytes: RangeInclusive<usize>) -> Option<String> {
        let allowed = format!("text of {} to {} bytes", bytes.start(), bytes.end());
        self.take(key, &allowed, |value| {
            value.as_str().filter(|text| bytes.contains(&text.len())).map(str::to_owned)
        })
    }

    /// One of a few words.
    pub fn word(&mut self, key: &'static str, words: &[&'static str]) -> Option<&'static str> {
        let allowed = format!("one of {}", words.join(", "));
        self.take(key, &allowed, |value| words.iter().find(|word| value.as_str() == Some(**word)).copied())
    }

    /// A whole number. Envoy's Struct knows only doubles, so `5.0` is one too.
    pub fn number(&mut self, key: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        let allowed = format!("a whole number from {} to {}", range.start(), range.end());
        self.take(key, &allowed, |value| {
            json::whole(&*numeric(value)?).filter(|number| range.contains(number))
        })
    }

    /// A length of time such as `1s` or `250ms`.
    pub fn duration(&mut self, key: &'static str, range: RangeInclusive<Duration>) -> Option<Duration> {
        let (least, most) = (duration::format(*range.start()), duration::format(*range.end()));
        let allowed = format!("a duration from {least} to {most}, such as \"1s\" or \"250ms\"");
        self.take(key, &allowed, |value| {
            value.as_str().and_then(duration::parse).filter(|d| range.contains(d))
        })
    }

    /// A switch.
    pub fn flag(&mut self, key: &'static str) -> Option<bool> {
        self.take(key, "true or false", Value::as_bool)
    }

    /// A list of texts of the given length in bytes.
    pub fn list(
        &mut self,
        key: &'static str,
        count: usize,
        bytes: RangeInclusive<usize>,
    ) -> Option<Vec<String>> {
        let allowed =
            format!("a list of at most {count} texts of {} to {} bytes", bytes.start(), bytes.end());
        let text = |item: &Value| item.as_str().filter(|text| bytes.contains(&text.len())).map(str::to_owned);
        self.take(key, &allowed, |value| {
            let items = value.as_array().filter(|items| items.len() <= count)?;
            items.iter().map(text).collect::<Option<Vec<_>>>()
        })
    }

    /// A list of numbers, ascending.
    pub fn ascending(&mut self, key: &'static str, count: RangeInclusive<usize>) -> Option<Vec<f64>> {
        let allowed = format!("a list of {} to {} numbers, ascending", count.start(), count.end());
        self.take(key, &allowed, |value| {
            let items = value.as_array().filter(|items| count.contains(&items.len()))?;
            let numbers = items.iter().map(|item| numeric(item)?.as_f64()).collect::<Option<Vec<_>>>()?;
            numbers.is_sorted_by(|a, b| a < b).then_some(numbers)
        })
    }

    /// An object; `read` takes it apart. An absent one is read as empty, so that its defaults are defined in one place.
    pub fn section<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Section<'_>) -> T) -> T {
        let nothing = Object::new();
        let values = self.take(key, "an object", Value::as_object).unwrap_or(&nothing);
        read_section(self.path_of(key), values, self.problems, read)
    }

    /// A list of objects, each taken apart by `read`; none if the key is absent.
    pub fn sections<T>(
        &mut self,
        key: &'static str,
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

    /// An object from names to texts, such as headers or attributes, in the order of the names.
    pub fn texts(&mut self, key: &'static str, count: usize, bytes: usize) -> Vec<(String, String)> {
        let allowed = format!("an object of at most {count} texts of at most {bytes} bytes");
        let taken = self.take(key, &allowed, |value| {
            let entries = value.as_object().filter(|entries| entries.len() <= count)?;
            let texts = entries.iter().map(|(name, value)| {
                let text = value
                    .as_str()
                    .filter(|text| text.len() <= bytes && name.len() <= bytes && !name.is_empty());
                text.map(|text| (name.clone(), text.to_owned()))
            });
            texts.collect::<Option<Vec<_>>>()
        });
        taken.unwrap_or_default()
    }

    /// Notes a problem with `key` that its reader found, such as a reference to nothing.
    pub fn note(&mut self, key: &str, found: &str, allowed: &str) {
        let path = self.path_of(key);
        self.problems.note(&path, found, allowed);
    }

    /// Makes it a known key, and says whether it is there.
    pub fn known(&mut self, key: &'static str) -> bool {
        self.asked.push(key);
        self.has(key)
    }

    /// Whether the key is there at all.
    pub fn has(&self, key: &str) -> bool {
        self.values.get(key).is_some_and(|value| !value.is_null())
    }

    fn take<T>(
        &mut self,
        key: &'static str,
        allowed: &str,
        check: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Option<T> {
        self.asked.push(key);
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

    fn finish(self) {
        let asked = |key: &str| self.asked.contains(&key);
        for key in self.values.keys().filter(|key| !asked(key)) {
            let allowed = format!("one of {}", self.asked.join(", "));
            self.problems.note(&self.path_of(key), "an unknown key", &allowed);
        }
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

impl Problems {
    /// Each in turn.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }

    fn note(&mut self, path: &str, found: &str, allowed: &str) {
        let found = clip(found, FOUND_BYTES).to_owned();
        self.0.push(Problem { path: clip(path, FOUND_BYTES).to_owned(), found, allowed: allowed.to_owned() });
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() { "the whole configuration" } else { &self.path };
        write!(out, "{path}: found {}, allowed: {}", self.found, self.allowed)
    }
}

/// A number, also one that is written as text: in a Struct of Envoy's YAML a fraction, or a whole number of more than 32 bits,
/// becomes text (Envoy 1.40).
fn numeric(value: &Value) -> Option<Cow<'_, Value>> {
    match value {
        Value::Number(_) => Some(Cow::Borrowed(value)),
        Value::String(text) => json::read(text.as_bytes()).ok().filter(Value::is_number).map(Cow::Owned),
        _ => None,
    }
}

/// Text in quotes, cut to a readable length, with `?` for what a log should not carry. The standard library's `{:?}` would bring
/// 8 KiB of Unicode tables into a module.
pub fn quoted(text: &str) -> String {
    let readable = |letter: char| if letter.is_control() || letter == '"' { '?' } else { letter };
    let mut quoted = String::from("\"");
    quoted.extend(clip(text, FOUND_BYTES).chars().map(readable));
    quoted.push('"');
    quoted
}

/// What a value is, in a few words. A whole configuration does not belong in a log, nor does the code to print one belong in
/// a module.
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
