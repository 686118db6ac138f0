//! `dimensions`: attributes of the series in addition to those of the preset.

use tributary_proto::config::{Section, quoted};
use tributary_proto::limits::{ATTRIBUTE_KEY_BYTES_MAX, ATTRIBUTE_VALUE_BYTES_MAX, ATTRIBUTES_MAX};

use crate::path::{PathTemplate, Paths, Unmatched};
use crate::plan::{Dimension, DimensionValue, MetricGroup, Plan, Streams};
use crate::preset::VALUE_BYTES_DEFAULT;
use crate::source::{self, PATH_BYTES_MAX, Source, Type};
use crate::transform::Transform;

/// The most bytes of an expression. Envoy has no limit.
pub(super) const EXPRESSION_BYTES_MAX: usize = 1024;

const HEADER_BYTES_MAX: usize = 128;
const ALLOW_MAX: usize = 256;
const TEMPLATES_MAX: usize = 256;
const DISTINCT_MAX: u64 = 100_000;

/// The default of `max_values` for `paths` with `unmatched: collapse`.
const COLLAPSED_DEFAULT: usize = 200;

/// The keys of which a dimension has exactly one.
const VALUE_KEYS: [&str; 5] = ["attribute", "request_header", "response_header", "cel", "value"];

/// Adds the dimensions to the plan. They replace dimensions of the preset with the same name.
pub(super) fn read(root: &mut Section<'_>, plan: &mut Plan) {
    let streams = plan.streams;
    let main = &mut plan.main;
    let mut names = Vec::new();
    let dimensions = root.sections("dimensions", 0..=ATTRIBUTES_MAX, |section| {
        let dimension = read_one(section, streams, main)?;
        if names.contains(&dimension.name) {
            section.note("name", &format!("{} again", quoted(&dimension.name)), "each name once");
        }
        names.push(dimension.name.clone());
        Some(dimension)
    });
    for dimension in dimensions.into_iter().flatten().flatten() {
        main.dimensions.retain(|other| other.name != dimension.name);
        main.dimensions.push(dimension);
    }
    if main.dimensions.len() > ATTRIBUTES_MAX {
        let found = format!("{} with the preset's", main.dimensions.len());
        root.note("dimensions", &found, &format!("at most {ATTRIBUTES_MAX}"));
    }
}

fn read_one(section: &mut Section<'_>, streams: Streams, main: &mut MetricGroup) -> Option<Dimension> {
    let name = section.required().text("name", 1..=ATTRIBUTE_KEY_BYTES_MAX);
    let value = read_value(section, streams, main);
    let kind = match section.word("type", &["text", "integer", "boolean"]) {
        Some("text") => Some(Type::Text),
        Some("integer") => Some(Type::Integer),
        Some("boolean") => Some(Type::Boolean),
        _ => None,
    };
    let has_paths = section.has("paths");
    let paths = Some(section.section("paths", read_paths)).filter(|_| has_paths);
    let default = section.text("default", 1..=ATTRIBUTE_VALUE_BYTES_MAX);
    let allow = section.list("allow", ALLOW_MAX, 1..=ATTRIBUTE_VALUE_BYTES_MAX).unwrap_or_default();
    let max_values = section.number("max_values", 1..=DISTINCT_MAX).and_then(|max| usize::try_from(max).ok());
    let bytes_max = u64::try_from(ATTRIBUTE_VALUE_BYTES_MAX).unwrap_or(u64::MAX);
    let max_bytes = section.number("max_bytes", 1..=bytes_max).and_then(|max| usize::try_from(max).ok());
    let (value, value_type) = value?;
    let collapses = paths.as_ref().is_some_and(|paths| paths.unmatched == Unmatched::Collapse);
    if kind == Some(Type::Text) && value_type == Type::Boolean {
        section.note("type", &quoted("text"), "\"boolean\" for a boolean attribute");
    }
    let transform = match (paths, kind.unwrap_or(value_type), value_type) {
        (Some(paths), ..) => Transform::Path(paths),
        (None, Type::Text, Type::Integer | Type::Duration) => Transform::Decimal,
        (None, Type::Text, _) => Transform::Text,
        (None, Type::Integer | Type::Duration, _) => Transform::Integer,
        (None, Type::Boolean, _) => Transform::Boolean,
    };
    let mut encode_or_report = |key: &'static str, text: &str| {
        let encoded = encode(&transform, text);
        if encoded.is_none() {
            section.note(key, &quoted(text), "values of the dimension's type");
        }
        encoded
    };
    let default = default.and_then(|text| encode_or_report("default", &text));
    let allow = allow.iter().filter_map(|text| encode_or_report("allow", text)).collect();
    Some(Dimension {
        name: name?,
        value,
        transform,
        default,
        allow,
        max_values: max_values.or(collapses.then_some(COLLAPSED_DEFAULT)),
        max_bytes: max_bytes.unwrap_or(VALUE_BYTES_DEFAULT),
    })
}

/// Reads where the values come from, and their type there.
fn read_value(
    section: &mut Section<'_>,
    streams: Streams,
    main: &mut MetricGroup,
) -> Option<(DimensionValue, Type)> {
    let given: Vec<&str> = VALUE_KEYS.into_iter().filter(|key| section.has(key)).collect();
    let attribute = section.text("attribute", 1..=PATH_BYTES_MAX);
    let request = section.text("request_header", 1..=HEADER_BYTES_MAX);
    let response = section.text("response_header", 1..=HEADER_BYTES_MAX);
    let cel = section.text("cel", 1..=EXPRESSION_BYTES_MAX);
    let value = section.text("value", 1..=ATTRIBUTE_VALUE_BYTES_MAX);
    if given.len() != 1 {
        let found = if given.is_empty() { "nothing".to_owned() } else { given.join(" and ") };
        section.note("attribute", &found, &format!("exactly one of {}", VALUE_KEYS.join(", ")));
        return None;
    }
    if let Some(value) = value {
        return Some((DimensionValue::Constant(value), Type::Text));
    }
    let (source, kind) = if let Some(path) = attribute {
        if !source::is_path(&path) {
            section.note("attribute", &quoted(&path), &paths_allowed());
            return None;
        }
        (Source::attribute(&path), source::type_of(&path))
    } else if let Some(text) = cel {
        (Source::expression(&text), Type::Text)
    } else {
        let (key, name) =
            request.map(|name| ("request_header", name)).or(response.map(|name| ("response_header", name)))?;
        if !source::is_header(&name) {
            section.note(key, &quoted(&name), "a header's name in lower case");
            return None;
        }
        if streams == Streams::Tcp {
            section.note(key, &quoted(&name), "only HTTP: TCP connections have no headers");
            return None;
        }
        let source = if key == "request_header" { Source::request_header } else { Source::response_header };
        (source(&name), Type::Text)
    };
    Some((DimensionValue::Source(main.source(source)), kind))
}

fn read_paths(section: &mut Section<'_>) -> Paths {
    let texts = section.list("templates", TEMPLATES_MAX, 1..=ATTRIBUTE_VALUE_BYTES_MAX).unwrap_or_default();
    let mut templates = Vec::with_capacity(texts.len());
    for text in texts {
        match PathTemplate::parse(&text) {
            Some(template) => templates.push(template),
            None => section.note(
                "templates",
                &quoted(&text),
                "paths such as \"/users/{id}\" or \"/static/**\", without a query",
            ),
        }
    }
    let unmatched = match section.word("unmatched", &["other", "collapse"]) {
        Some("collapse") => Unmatched::Collapse,
        _ => Unmatched::Other,
    };
    Paths { templates, unmatched }
}

/// Encodes a configured text in the transform's format.
fn encode(transform: &Transform, text: &str) -> Option<Box<[u8]>> {
    match transform {
        Transform::Integer => Some(text.parse::<i64>().ok()?.to_le_bytes().into()),
        Transform::Boolean => Some([u8::from(text.parse::<bool>().ok()?)].into()),
        _ => Some(text.as_bytes().into()),
    }
}

/// Describes the paths of attributes for a log line.
pub(super) fn paths_allowed() -> String {
    format!("an attribute of Envoy under {}", source::ROOTS.join(", "))
}
