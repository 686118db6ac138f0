//! What a log is to say of each request, by name, so that a plan can be carried out without asking the host.

use std::borrow::Cow;

use crate::form::Form;
use crate::plan::{Origin, Part, Plan, Value};
use crate::source::{Alone, Guard, Source, Type, type_of};

/// What stands between the names in a tag, and between the values in the record's text that has them.
pub const SEPARATOR: u8 = b' ';

/// Everything that a plan wants to know of a stream, by name.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    wants: Vec<Want>,
    sources: usize,
}

/// One value that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Want {
    name: String,
    place: Place,
}

/// Where a value goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Among the part's sources.
    pub source: usize,
    /// How it is read.
    pub reading: Reading,
}

/// How the text of a value is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// As it is.
    Text,
    /// In decimal digits.
    Integer,
    /// 0 is none.
    Status,
    /// So many nanoseconds each.
    Time(i64),
    /// `true`, or anything else.
    Truth,
    /// Envoy's short names of response flags.
    Flags,
    /// The same, below zero, in place of a status that is not there.
    FlagsForStatus,
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

    /// How many sources the plan has.
    pub fn sources(&self) -> usize {
        self.sources
    }

    /// For each name of a tag, in turn, where its value goes.
    pub fn columns(&self, tag: &[u8]) -> Vec<Vec<Place>> {
        tag.split(|byte| *byte == SEPARATOR).map(|name| self.places(name).collect()).collect()
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

    /// Every name, and where its value goes.
    pub fn all(&self) -> impl Iterator<Item = (&str, Place)> {
        self.wants.iter().map(|want| (&*want.name, want.place))
    }

    /// Where the value of this name goes.
    pub fn places(&self, name: &[u8]) -> impl Iterator<Item = Place> {
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

/// How a source's value is read: by what it is or, where that is not known, by what it is wanted for.
fn reading(part: &Part, conditions: &[usize], at: usize, source: &Source) -> Reading {
    if let Alone::Property(path) = &source.alone {
        let path = dotted(path);
        match (&*path, type_of(&path)) {
            ("response.flags", _) => return Reading::Flags,
            ("response.code", _) => return Reading::Status,
            (_, Type::Integer) => return Reading::Integer,
            (_, Type::Duration) => return Reading::Time(1),
            (_, Type::Boolean) => return Reading::Truth,
            // What a filter left there may be of any type.
            (_, Type::Text) => {}
        }
    }
    let is_measured = part.measures.iter().any(
        |measure| matches!(measure.value, Value::Of(of) | Value::OfEach(of) | Value::Since(of) if of == at),
    );
    let is_in_form = |wanted: Form| {
        let mut dimensions = part.dimensions.iter();
        dimensions.any(|dimension| dimension.origin == Origin::Source(at) && dimension.form == wanted)
    };
    match () {
        () if is_measured || is_in_form(Form::Integer) => Reading::Integer,
        () if conditions.contains(&at) || is_in_form(Form::Boolean) => Reading::Truth,
        () => Reading::Text,
    }
}
