//! `dimensions`: under what is counted, besides what the preset has.

use tributary_proto::config::{Section, quoted};
use tributary_proto::limits::{ATTRIBUTE_KEY_BYTES_MAX, ATTRIBUTE_VALUE_BYTES_MAX, ATTRIBUTES_MAX};

use crate::form::Form;
use crate::path::{Paths, Template, Unmatched};
use crate::plan::{Dimension, Origin, Part, Plan, Streams};
use crate::preset::VALUE_BYTES_DEFAULT;
use crate::source::{self, PATH_BYTES_MAX, Source, Type};

/// Bytes of an expression. Envoy has no limit; what is longer is better two.
pub(super) const EXPRESSION_BYTES_MAX: usize = 1024;

const HEADER_BYTES_MAX: usize = 128;
const ALLOW_MAX: usize = 256;
const TEMPLATES_MAX: usize = 256;
const DISTINCT_MAX: u64 = 100_000;

/// Values that `paths` with `unmatched: collapse` keeps apart where `max_values` is not said.
const COLLAPSED_DEFAULT: usize = 200;

/// The keys of which a dimension has exactly one.
const ORIGINS: [&str; 5] = ["attribute", "request_header", "response_header", "cel", "value"];

/// Adds the dimensions to the plan; one with the name of a preset's takes its place.
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

fn read_one(section: &mut Section<'_>, streams: Streams, main: &mut Part) -> Option<Dimension> {
    let name = section.required().text("name", 1..=ATTRIBUTE_KEY_BYTES_MAX);
    let origin = read_origin(section, streams, main);
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
    let (origin, of_origin) = origin?;
    let collapses = paths.as_ref().is_some_and(|paths| paths.unmatched == Unmatched::Collapse);
    if kind == Some(Type::Text) && of_origin == Type::Boolean {
        section.note("type", &quoted("text"), "\"boolean\" for a truth value");
    }
    let form = match (paths, kind.unwrap_or(of_origin), of_origin) {
        (Some(paths), ..) => Form::Path(paths),
        (None, Type::Text, Type::Integer | Type::Duration) => Form::Decimal,
        (None, Type::Text, _) => Form::Text,
        (None, Type::Integer | Type::Duration, _) => Form::Integer,
        (None, Type::Boolean, _) => Form::Boolean,
    };
    let mut wire = |key: &'static str, text: &str| {
        let value = as_value(&form, text);
        if value.is_none() {
            section.note(key, &quoted(text), "values of the dimension's type");
        }
        value
    };
    let default = default.and_then(|text| wire("default", &text));
    let allow = allow.iter().filter_map(|text| wire("allow", text)).collect();
    Some(Dimension {
        name: name?,
        origin,
        form,
        default,
        allow,
        max_values: max_values.or(collapses.then_some(COLLAPSED_DEFAULT)),
        max_bytes: max_bytes.unwrap_or(VALUE_BYTES_DEFAULT),
    })
}

/// Where the values come from, and of what type they are there.
fn read_origin(section: &mut Section<'_>, streams: Streams, main: &mut Part) -> Option<(Origin, Type)> {
    let given: Vec<&str> = ORIGINS.into_iter().filter(|key| section.has(key)).collect();
    let attribute = section.text("attribute", 1..=PATH_BYTES_MAX);
    let request = section.text("request_header", 1..=HEADER_BYTES_MAX);
    let response = section.text("response_header", 1..=HEADER_BYTES_MAX);
    let cel = section.text("cel", 1..=EXPRESSION_BYTES_MAX);
    let value = section.text("value", 1..=ATTRIBUTE_VALUE_BYTES_MAX);
    if given.len() != 1 {
        let found = if given.is_empty() { "nothing".to_owned() } else { given.join(" and ") };
        section.note("attribute", &found, &format!("exactly one of {}", ORIGINS.join(", ")));
        return None;
    }
    if let Some(value) = value {
        return Some((Origin::Constant(value), Type::Text));
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
            section.note(key, &quoted(&name), "no headers: TCP connections have none");
            return None;
        }
        let of = if key == "request_header" { Source::request_header } else { Source::response_header };
        (of(&name), Type::Text)
    };
    Some((Origin::Source(main.source(source)), kind))
}

fn read_paths(section: &mut Section<'_>) -> Paths {
    let texts = section.list("templates", TEMPLATES_MAX, 1..=ATTRIBUTE_VALUE_BYTES_MAX).unwrap_or_default();
    let mut templates = Vec::with_capacity(texts.len());
    for text in texts {
        match Template::parse(&text) {
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

/// A configured text as a value in the form's wire form.
fn as_value(form: &Form, text: &str) -> Option<Box<[u8]>> {
    match form {
        Form::Integer => Some(text.parse::<i64>().ok()?.to_le_bytes().into()),
        Form::Boolean => Some([u8::from(text.parse::<bool>().ok()?)].into()),
        _ => Some(text.as_bytes().into()),
    }
}

/// What an attribute's path may be, for a person.
pub(super) fn paths_allowed() -> String {
    format!("an attribute of Envoy below {}", source::ROOTS.join(", "))
}
