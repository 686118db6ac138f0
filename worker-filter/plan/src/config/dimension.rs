//! `dimensions`: attributes of the series in addition to the attributes of the preset.

use tributary_proto::config::{Section, quoted};
use tributary_proto::limits::{ATTRIBUTE_KEY_BYTES_MAX, ATTRIBUTE_VALUE_BYTES_MAX, ATTRIBUTES_MAX};

use crate::path::{PathTemplate, Paths, Unmatched};
use crate::plan::{Dimension, DimensionValue, MetricGroup, Plan, Streams};
use crate::preset::VALUE_BYTES_DEFAULT;
use crate::source::{self, PATH_BYTES_MAX, Source, Type};
use crate::transform::Transform;

/// The maximum number of bytes of an expression. Envoy has no limit.
pub(super) const EXPRESSION_BYTES_MAX: usize = 1024;

const HEADER_BYTES_MAX: usize = 128;
const ALLOW_MAX: usize = 256;
const TEMPLATES_MAX: usize = 256;
const DISTINCT_MAX: usize = 100_000;

const TEMPLATES_ALLOWED: &str = "paths such as \"/users/{id}\" or \"/static/**\", without a query";

/// The default of `max_values` for `paths` with `unmatched: collapse`.
const COLLAPSED_DEFAULT: usize = 200;

/// The keys for the source of the values, each with the maximum number of bytes of its text. A dimension
/// has exactly one of these keys.
const VALUE_KEYS: [(&str, usize); 5] = [
    ("attribute", PATH_BYTES_MAX),
    ("request_header", HEADER_BYTES_MAX),
    ("response_header", HEADER_BYTES_MAX),
    ("cel", EXPRESSION_BYTES_MAX),
    ("value", ATTRIBUTE_VALUE_BYTES_MAX),
];

/// Adds the dimensions to the plan. They replace dimensions of the preset with the same name.
pub(super) fn read(root: &mut Section<'_>, plan: &mut Plan) {
    let (streams, list) = (plan.streams, ("dimensions", ATTRIBUTES_MAX));
    let read = |section: &mut Section<'_>, main: &mut MetricGroup| read_one(section, streams, main);
    super::read_named(root, list, &mut plan.main, |main| &mut main.dimensions, |one| &one.name, read);
}

fn read_one(section: &mut Section<'_>, streams: Streams, main: &mut MetricGroup) -> Option<Dimension> {
    let name = section.required().text("name", 1..=ATTRIBUTE_KEY_BYTES_MAX);
    let value = read_value(section, streams, main);
    let types = [("text", Type::Text), ("integer", Type::Integer), ("boolean", Type::Boolean)];
    let kind = section.choice("type", &types);
    let has_paths = section.has("paths");
    let paths = Some(section.section("paths", read_paths)).filter(|_| has_paths);
    let default = section.text("default", 1..=ATTRIBUTE_VALUE_BYTES_MAX);
    let allow = section.list("allow", ALLOW_MAX, 1..=ATTRIBUTE_VALUE_BYTES_MAX).unwrap_or_default();
    let max_values = section.size("max_values", 1..=DISTINCT_MAX);
    let max_bytes = section.size("max_bytes", 1..=ATTRIBUTE_VALUE_BYTES_MAX);
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

/// Reads the source of the values, and the type that the values have in Envoy.
fn read_value(
    section: &mut Section<'_>,
    streams: Streams,
    main: &mut MetricGroup,
) -> Option<(DimensionValue, Type)> {
    let (mut keys, mut given, mut value) = (Vec::new(), Vec::new(), None);
    for (key, bytes_max) in &VALUE_KEYS {
        keys.push(*key);
        if section.has(key) {
            given.push(*key);
        }
        let text = section.text(key, 1..=*bytes_max);
        value = value.or(text.map(|text| (*key, text)));
    }
    if given.len() != 1 {
        let found = if given.is_empty() { "nothing".to_owned() } else { given.join(" and ") };
        section.note("attribute", &found, &format!("exactly one of {}", keys.join(", ")));
        return None;
    }
    let (key, value) = value?;
    let side = key.strip_suffix("_header");
    let allowed = match side {
        None if key == "attribute" && !source::is_path(&value) => {
            &format!("an attribute of Envoy under {}", source::ROOTS.join(", "))
        }
        Some(_) if !source::is_header(&value) => "a header's name in lower case",
        Some(_) if streams == Streams::Tcp => "only HTTP: TCP connections have no headers",
        _ => "",
    };
    if !allowed.is_empty() {
        section.note(key, &quoted(&value), allowed);
        return None;
    }
    let (source, kind) = match (key, side) {
        (_, Some(side)) => (Source::header(side, &value), Type::Text),
        ("attribute", _) => (Source::attribute(&value), source::type_of(&value)),
        ("cel", _) => (Source::expression(&value), Type::Text),
        _ => return Some((DimensionValue::Constant(value), Type::Text)),
    };
    Some((DimensionValue::Source(main.source(source)), kind))
}

fn read_paths(section: &mut Section<'_>) -> Paths {
    let texts = section.list("templates", TEMPLATES_MAX, 1..=ATTRIBUTE_VALUE_BYTES_MAX).unwrap_or_default();
    let mut templates = Vec::with_capacity(texts.len());
    for text in texts {
        match PathTemplate::parse(&text) {
            Some(template) => templates.push(template),
            None => section.note("templates", &quoted(&text), TEMPLATES_ALLOWED),
        }
    }
    let unmatched =
        section.choice("unmatched", &[("other", Unmatched::Other), ("collapse", Unmatched::Collapse)]);
    Paths { templates, unmatched: unmatched.unwrap_or_default() }
}

/// Encodes a configured text in the format in which the transform writes its results.
fn encode(transform: &Transform, text: &str) -> Option<Box<[u8]>> {
    match transform {
        Transform::Integer => Some(text.parse::<i64>().ok()?.to_le_bytes().into()),
        Transform::Boolean => Some([u8::from(text.parse::<bool>().ok()?)].into()),
        _ => Some(text.as_bytes().into()),
    }
}
