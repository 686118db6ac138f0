//! YAML whose values keep their positions in the file, for findings.

use std::fmt;

use saphyr::{MarkedYaml, YamlData, YamlLoader};
use saphyr_parser::{Marker, Parser, ScalarStyle, Span};
use serde::Serialize;

pub mod json;
pub mod node_ref;

/// A position in a file: line and column from 1, columns in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Position {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

/// A value and its position.
#[derive(Clone, Debug)]
pub struct Node {
    /// The position of its start.
    pub at: Position,
    /// The value.
    pub value: Value,
}

/// The value of a node.
#[derive(Clone, Debug)]
pub enum Value {
    /// A scalar; whether it is a number or text depends on the reader.
    Scalar(Scalar),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the file.
    Map(Vec<Entry>),
}

/// A scalar as written in the file.
#[derive(Clone, Debug)]
pub struct Scalar {
    /// Its text, without quotes.
    pub text: String,
    /// The style.
    pub style: Style,
}

/// The style of a scalar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Without quotes: a number, a boolean, null or text.
    Plain,
    /// In quotes, or folded: text whose parts have no positions of their own.
    Quoted,
    /// A block after `|`: text whose lines are lines of the file.
    Literal,
}

/// A key of a mapping and its value.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The position of the key.
    pub at: Position,
    /// The value.
    pub node: Node,
}

/// A syntax error.
#[derive(Clone, Debug)]
pub struct YamlError {
    /// Its position.
    pub at: Position,
    /// The reason.
    pub message: String,
}

/// Parses every document of a file.
///
/// # Errors
/// The text is not YAML.
pub fn documents(text: &str) -> Result<Vec<Node>, YamlError> {
    let mut loader: YamlLoader<'_, MarkedYaml<'_>> = YamlLoader::default();
    loader.early_parse(false);
    Parser::new_from_str(text).load(&mut loader, true).map_err(|error| unreadable(&error))?;
    if let Some(error) = loader.error() {
        return Err(unreadable(error));
    }
    Ok(loader.into_documents().into_iter().map(node).collect())
}

/// Parses the YAML or JSON text in a scalar. Its nodes have positions in the enclosing file; in a quoted or
/// folded text, all of them have the position of the scalar.
///
/// # Errors
/// The text is not one YAML document.
pub fn embedded(holder: &Node) -> Result<Node, YamlError> {
    let Value::Scalar(scalar) = &holder.value else {
        return Err(YamlError { at: holder.at, message: "found no text".to_owned() });
    };
    let place = |at: Position| match scalar.style {
        Style::Literal => {
            // The position of a block is its first line that is not empty.
            let skipped = scalar.text.bytes().take_while(|byte| *byte == b'\n').count();
            let line = (holder.at.line + at.line).saturating_sub(skipped + 1);
            Position { line, column: holder.at.column + at.column - 1 }
        }
        Style::Plain | Style::Quoted => holder.at,
    };
    let documents =
        documents(&scalar.text).map_err(|error| YamlError { at: place(error.at), message: error.message })?;
    let mut document = documents
        .into_iter()
        .next()
        .ok_or_else(|| YamlError { at: holder.at, message: "found an empty text".to_owned() })?;
    document.relocate(&place);
    Ok(document)
}

impl Node {
    /// The value of a key in snake case. Like protobuf, it also accepts the key in camel case.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        let Value::Map(entries) = &self.value else { return None };
        entries.iter().find(|entry| entry.key == key || is_camel_case_of(&entry.key, key))
    }

    /// The mutable value of a key, as [`Node::get`].
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        let Value::Map(entries) = &mut self.value else { return None };
        let entry = entries.iter_mut().find(|entry| entry.key == key || is_camel_case_of(&entry.key, key))?;
        Some(&mut entry.node)
    }

    /// The text of a scalar.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) => Some(&scalar.text),
            _ => None,
        }
    }

    fn relocate(&mut self, place: &impl Fn(Position) -> Position) {
        self.at = place(self.at);
        match &mut self.value {
            Value::Scalar(_) => {}
            Value::List(items) => items.iter_mut().for_each(|item| item.relocate(place)),
            Value::Map(entries) => entries.iter_mut().for_each(|entry| {
                entry.at = place(entry.at);
                entry.node.relocate(place);
            }),
        }
    }
}

impl fmt::Display for YamlError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "not YAML: {}", self.message)
    }
}

impl std::error::Error for YamlError {}

impl fmt::Display for Position {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.line, self.column)
    }
}

fn node(yaml: MarkedYaml<'_>) -> Node {
    let at = position(yaml.span);
    let value = match yaml.data {
        YamlData::Sequence(items) => Value::List(items.into_iter().map(node).collect()),
        YamlData::Mapping(entries) => {
            Value::Map(entries.into_iter().map(|(key, value)| entry(key, value)).collect())
        }
        YamlData::Tagged(_, tagged) => return node(*tagged),
        YamlData::Representation(text, style, _) => {
            let style = match style {
                ScalarStyle::Plain => Style::Plain,
                ScalarStyle::Literal => Style::Literal,
                _ => Style::Quoted,
            };
            Value::Scalar(Scalar { text: text.into_owned(), style })
        }
        // Only parsers that resolve types and aliases without a target produce these.
        YamlData::Value(_) | YamlData::Alias(_) | YamlData::BadValue => {
            Value::Scalar(Scalar { text: String::new(), style: Style::Plain })
        }
    };
    Node { at, value }
}

fn entry(key: MarkedYaml<'_>, value: MarkedYaml<'_>) -> Entry {
    let key = node(key);
    Entry { key: key.text().unwrap_or_default().to_owned(), at: key.at, node: node(value) }
}

fn position(span: Span) -> Position {
    of_marker(&span.start)
}

fn of_marker(marker: &Marker) -> Position {
    Position { line: marker.line(), column: marker.col() + 1 }
}

fn unreadable(error: &saphyr_parser::ScanError) -> YamlError {
    YamlError { at: of_marker(error.marker()), message: error.info().to_owned() }
}

fn is_camel_case_of(camel: &str, snake: &str) -> bool {
    let mut expected = snake.chars();
    let mut camel = camel.chars();
    loop {
        let next = match expected.next() {
            Some('_') => expected.next().map(|letter| letter.to_ascii_uppercase()),
            other => other,
        };
        match (next, camel.next()) {
            (None, None) => return true,
            (next, letter) if next == letter => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests;
