//! Parses YAML into values that keep their positions in the file, so that findings can show them.

use std::fmt;

use saphyr::{MarkedYaml, YamlData, YamlLoader};
use saphyr_parser::{Marker, Parser, ScalarStyle, ScanError};
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
    /// The position of the first character of the value.
    pub at: Position,
    /// The value.
    pub value: YamlValue,
}

/// The value of a node.
#[derive(Clone, Debug)]
pub enum YamlValue {
    /// The text of a scalar, without quotes. Whether it is a number or text depends on the [`json::Dialect`].
    Scalar(String, ScalarStyle),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the file.
    Map(Vec<(String, Node)>),
}

/// A syntax error.
#[derive(Clone, Debug)]
pub struct YamlError {
    /// The position of the error.
    pub at: Position,
    /// The reason.
    pub message: String,
}

/// Parses every document of a file.
///
/// # Errors
/// The text is not YAML.
pub fn documents(text: &str) -> Result<Vec<Node>, YamlError> {
    parse(text, |at| at)
}

/// Parses the YAML or JSON text in a scalar. The nodes have positions in the enclosing file; in a quoted or
/// folded text, all nodes have the position of the scalar.
///
/// # Errors
/// The text is not YAML, or empty.
pub fn embedded(holder: &Node) -> Result<Node, YamlError> {
    let place = |at: Position| match &holder.value {
        YamlValue::Scalar(text, ScalarStyle::Literal) => {
            // The position of a block is its first line that is not empty.
            let skipped = text.bytes().take_while(|byte| *byte == b'\n').count();
            let line = (holder.at.line + at.line).saturating_sub(skipped + 1);
            Position { line, column: holder.at.column + at.column - 1 }
        }
        _ => holder.at,
    };
    let documents = parse(holder.text().unwrap_or_default(), place)?;
    let message = "found an empty text".to_owned();
    documents.into_iter().next().ok_or(YamlError { at: holder.at, message })
}

impl Node {
    /// Returns the entries of a mapping; empty for other values.
    pub fn entries(&self) -> &[(String, Self)] {
        if let YamlValue::Map(entries) = &self.value { entries } else { &[] }
    }

    /// Returns the items of a list; empty for other values.
    pub fn items(&self) -> &[Self] {
        if let YamlValue::List(items) = &self.value { items } else { &[] }
    }

    /// Returns the entry of a key in snake case. Like protobuf, it also accepts the key in camel case.
    pub fn entry(&self, key: &str) -> Option<&(String, Self)> {
        self.entries().iter().find(|(name, _)| is_key(name, key))
    }

    /// Returns the value at a path of keys, such as `metadata.name`.
    pub fn get(&self, path: &str) -> Option<&Self> {
        path.split('.').try_fold(self, |node, key| node.entry(key).map(|(_, value)| value))
    }

    /// Returns the mutable value of a key.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Self> {
        let YamlValue::Map(entries) = &mut self.value else { return None };
        entries.iter_mut().find(|(name, _)| is_key(name, key)).map(|(_, value)| value)
    }

    /// Returns the text of a scalar.
    pub fn text(&self) -> Option<&str> {
        if let YamlValue::Scalar(text, _) = &self.value { Some(text) } else { None }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.line, self.column)
    }
}

/// Parses every document of a text. `place` converts a position in the text to the position in its file.
fn parse(text: &str, place: impl Fn(Position) -> Position) -> Result<Vec<Node>, YamlError> {
    let failed = |error: &ScanError| YamlError {
        at: place(position(error.marker())),
        message: error.info().to_owned(),
    };
    let mut loader: YamlLoader<'_, MarkedYaml<'_>> = YamlLoader::default();
    loader.early_parse(false);
    Parser::new_from_str(text).load(&mut loader, true).map_err(|error| failed(&error))?;
    match loader.error() {
        Some(error) => Err(failed(error)),
        None => Ok(loader.into_documents().into_iter().map(|yaml| node(yaml, &place)).collect()),
    }
}

fn node(yaml: MarkedYaml<'_>, place: &impl Fn(Position) -> Position) -> Node {
    let value = match yaml.data {
        YamlData::Sequence(items) => {
            YamlValue::List(items.into_iter().map(|item| node(item, place)).collect())
        }
        YamlData::Mapping(entries) => {
            let key = |key| node(key, place).text().unwrap_or_default().to_owned();
            YamlValue::Map(entries.into_iter().map(|(name, value)| (key(name), node(value, place))).collect())
        }
        YamlData::Tagged(_, tagged) => return node(*tagged, place),
        YamlData::Representation(text, style, _) => YamlValue::Scalar(text.into_owned(), style),
        // A parser produces these nodes only if it resolves types, or if an alias has no target.
        YamlData::Value(_) | YamlData::Alias(_) | YamlData::BadValue => {
            YamlValue::Scalar(String::new(), ScalarStyle::Plain)
        }
    };
    Node { at: place(position(&yaml.span.start)), value }
}

fn position(marker: &Marker) -> Position {
    Position { line: marker.line(), column: marker.col() + 1 }
}

/// Returns whether `name` is `key`, which is in snake case, or the same key in camel case.
fn is_key(name: &str, key: &str) -> bool {
    let underscore = |letter: char| letter.is_ascii_uppercase().then_some('_');
    let snake =
        name.chars().flat_map(|letter| underscore(letter).into_iter().chain([letter.to_ascii_lowercase()]));
    name == key || snake.eq(key.chars())
}

#[cfg(test)]
mod tests;
