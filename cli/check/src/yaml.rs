//! YAML in which every value knows where it stands, so that a problem can be shown in the file.

use std::fmt;

use saphyr::{MarkedYaml, YamlData, YamlLoader};
use saphyr_parser::{Marker, Parser, ScalarStyle, Span};
use serde::Serialize;

pub mod json;
pub mod place;

/// A place in a file; line and column count from 1, columns in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// A value and where it begins.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where it begins.
    pub at: Position,
    /// What it is.
    pub value: Value,
}

/// What a node can be.
#[derive(Clone, Debug)]
pub enum Value {
    /// One value, not yet told to be a number or text: that depends on who reads it.
    Scalar(Scalar),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the file.
    Map(Vec<Entry>),
}

/// One value as it is written.
#[derive(Clone, Debug)]
pub struct Scalar {
    /// Its text, without quotes.
    pub text: String,
    /// How it is written.
    pub style: Style,
}

/// How a scalar is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Without quotes: it may be a number, a truth value or nothing.
    Plain,
    /// In quotes, or folded: text, whose parts have no place of their own.
    Quoted,
    /// A block after `|`: text, each line of which is a line of the file.
    Literal,
}

/// A key of a mapping and its value.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key begins.
    pub at: Position,
    /// The value.
    pub node: Node,
}

/// Why a text is not YAML.
#[derive(Clone, Debug)]
pub struct Unreadable {
    /// Where it ceases to be.
    pub at: Position,
    /// What is wrong there.
    pub message: String,
}

/// Reads every document of a file.
///
/// # Errors
/// The text is not YAML.
pub fn documents(text: &str) -> Result<Vec<Node>, Unreadable> {
    let mut loader: YamlLoader<'_, MarkedYaml<'_>> = YamlLoader::default();
    loader.early_parse(false);
    Parser::new_from_str(text).load(&mut loader, true).map_err(|error| unreadable(&error))?;
    if let Some(error) = loader.error() {
        return Err(unreadable(error));
    }
    Ok(loader.into_documents().into_iter().map(node).collect())
}

/// Reads the YAML or JSON that a scalar holds as text; its nodes know where they stand in the file around it.
///
/// Where the text does not stand in the file as it is (in quotes, or folded), all of it stands where the scalar begins.
///
/// # Errors
/// The text is not one YAML document.
pub fn embedded(holder: &Node) -> Result<Node, Unreadable> {
    let Value::Scalar(scalar) = &holder.value else {
        return Err(Unreadable { at: holder.at, message: "found no text".to_owned() });
    };
    let place = |at: Position| match scalar.style {
        Style::Literal => {
            // The holder begins at the first line that is not empty.
            let skipped = scalar.text.bytes().take_while(|byte| *byte == b'\n').count();
            let line = (holder.at.line + at.line).saturating_sub(skipped + 1);
            Position { line, column: holder.at.column + at.column - 1 }
        }
        Style::Plain | Style::Quoted => holder.at,
    };
    let documents = documents(&scalar.text)
        .map_err(|error| Unreadable { at: place(error.at), message: error.message })?;
    let mut document = documents
        .into_iter()
        .next()
        .ok_or_else(|| Unreadable { at: holder.at, message: "found an empty text".to_owned() })?;
    document.relocate(&place);
    Ok(document)
}

impl Node {
    /// The value of a key, by its name in snake case; protobuf takes the name in camel case as well.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        let Value::Map(entries) = &self.value else { return None };
        entries.iter().find(|entry| entry.key == key || is_camel_case_of(&entry.key, key))
    }

    /// As [`Node::get`], to change the value.
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
        // What remains is made only by readers that tell numbers from text, and by aliases to nothing.
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

fn unreadable(error: &saphyr_parser::ScanError) -> Unreadable {
    Unreadable { at: of_marker(error.marker()), message: error.info().to_owned() }
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
