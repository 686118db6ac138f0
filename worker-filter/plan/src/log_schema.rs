//! The values that a log stream must contain, by name. With these values, a plan needs no host calls.

use std::borrow::Cow;

use crate::plan::{DimensionValue, MeasureInput, MetricGroup, Plan};
use crate::source::{FallbackRead, Guard, Source, Type, type_of};
use crate::transform::Transform;

/// The separator between the names in a tag, and between the values in the text of a record.
pub const SEPARATOR: u8 = b' ';

/// The values that a plan needs of each request, by name.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct LogSchema {
    /// All fields with their names.
    pub fields: Vec<(String, Field)>,
    /// The number of sources of the plan.
    pub sources: usize,
}

/// A named value of a log record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The index of the source in the main group whose value the field is.
    pub source: usize,
    /// How the text of the value is decoded.
    pub decoder: Decoder,
}

/// How the text of a value is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoder {
    /// Text, which is kept unchanged.
    Text,
    /// An integer in decimal.
    Integer,
    /// A status code in decimal. The code 0 means that the status is absent.
    Status,
    /// A duration in decimal, in a unit of this many nanoseconds.
    Time(i64),
    /// A boolean: `true` is true, and any other text is false.
    Bool,
    /// Envoy's short names of response flags.
    Flags,
    /// Envoy's short names of response flags. The negated flags take the place of an absent status.
    FlagsForStatus,
}

impl LogSchema {
    /// Lists the values that a plan needs.
    pub fn new(plan: &Plan) -> Self {
        let group = &plan.main;
        let conditions: Vec<_> = plan.counters.iter().filter_map(|counter| counter.condition).collect();
        let mut fields = Vec::new();
        for (at, source) in group.sources.iter().enumerate() {
            let mut add = |name: &str, decoder| fields.push((name.to_owned(), Field { source: at, decoder }));
            if *source == Source::status() {
                add("response.code", Decoder::Status);
                add("response.flags", Decoder::FlagsForStatus);
                continue;
            }
            let name = name(source);
            match decoder(group, &conditions, at, source) {
                Decoder::Time(_) => {
                    for (unit, nanoseconds) in [("", 1), (":us", 1_000), (":ms", 1_000_000)] {
                        add(&format!("{name}{unit}"), Decoder::Time(nanoseconds));
                    }
                }
                other => add(&name, other),
            }
        }
        Self { fields, sources: group.sources.len() }
    }

    /// Returns the names of the values that neither the tag nor the keys of a record contain.
    pub fn missing(&self, tag: &[u8], keys: &[&[u8]]) -> Vec<&str> {
        let is_named = |name: &str| {
            tag.split(|byte| *byte == SEPARATOR).chain(keys.iter().copied()).any(|key| key == name.as_bytes())
        };
        let of_source = |source| self.fields.iter().filter(move |(_, field)| field.source == source);
        let missing = (0..self.sources).filter(|source| !of_source(*source).any(|(name, _)| is_named(name)));
        missing.filter_map(|source| of_source(source).next()).map(|(name, _)| &**name).collect()
    }

    /// Returns the fields that have this name.
    pub fn named(&self, name: &[u8]) -> impl Iterator<Item = Field> {
        self.fields.iter().filter(move |(known, _)| known.as_bytes() == name).map(|(_, field)| *field)
    }
}

/// Returns the name of a source in a log: the name in a configuration or, for a header, the item of Envoy's
/// map.
fn name(source: &Source) -> Cow<'_, str> {
    match &source.fallback {
        // The list item of a source with this guard contains the guard, so the name is taken from the path.
        FallbackRead::Property(path) if source.guard == Guard::Silent => dotted(path).into(),
        _ => source.written().into(),
    }
}

fn dotted(path: &[u8]) -> String {
    String::from_utf8_lossy(path).replace('\0', ".")
}

/// Returns how the value of a source is decoded. This depends on the type of the source or, if its type is
/// unknown, on its use.
fn decoder(group: &MetricGroup, conditions: &[usize], at: usize, source: &Source) -> Decoder {
    if let FallbackRead::Property(path) = &source.fallback {
        let path = dotted(path);
        match (&*path, type_of(&path)) {
            ("response.flags", _) => return Decoder::Flags,
            ("response.code", _) => return Decoder::Status,
            (_, Type::Integer) => return Decoder::Integer,
            (_, Type::Duration) => return Decoder::Time(1),
            (_, Type::Boolean) => return Decoder::Bool,
            // Filter state and metadata can have any type.
            (_, Type::Text) => {}
        }
    }
    let is_measured = group.measures.iter().any(
        |measure| matches!(measure.input, MeasureInput::Source(of) | MeasureInput::SourceOrZero(of) | MeasureInput::TimeSince(of) if of == at),
    );
    let is_transformed = |transform: Transform| {
        let mut read = group.dimensions.iter().filter(|read| read.value == DimensionValue::Source(at));
        read.any(|dimension| dimension.transform == transform)
    };
    match () {
        () if is_measured || is_transformed(Transform::Integer) => Decoder::Integer,
        () if conditions.contains(&at) || is_transformed(Transform::Boolean) => Decoder::Bool,
        () => Decoder::Text,
    }
}
