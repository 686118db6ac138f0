//! A value together with the file that it is in and the way to it.

use super::json::Dialect;
use super::{Entry, Node, Position, Value};

/// One document of a file.
#[derive(Clone, Debug)]
pub struct Document {
    /// The file's name as it was given.
    pub file: String,
    /// What it is called in paths: `EnvoyFilter NAME`, or nothing.
    pub label: String,
    /// Who reads it.
    pub dialect: Dialect,
    /// What is in it.
    pub root: Node,
}

/// A value in a document.
#[derive(Clone, Debug)]
pub struct Place<'a> {
    /// The document.
    pub document: &'a Document,
    /// The value.
    pub node: &'a Node,
    path: String,
}

impl Document {
    /// The whole of it.
    pub fn place(&self) -> Place<'_> {
        Place { document: self, node: &self.root, path: String::new() }
    }
}

impl<'a> Place<'a> {
    /// A value that is not in the document itself, but in a text that `self` holds.
    pub fn inside(&self, node: &'a Node) -> Self {
        Self { document: self.document, node, path: self.path.clone() }
    }

    /// What a path such as `destinations[0].path` leads to, or the last value on the way that is there.
    pub fn nearest(&self, path: &str) -> Self {
        let mut place = self.clone();
        for step in path.split(['.', '[']).filter(|step| !step.is_empty()) {
            let next = match step.strip_suffix(']').map(str::parse) {
                Some(Ok(index)) => place.items().nth(index),
                _ => place.get(step),
            };
            match next {
                Some(next) => place = next,
                None => break,
            }
        }
        place
    }

    /// The value of a key, by its name in snake case.
    pub fn get(&self, key: &str) -> Option<Self> {
        self.node.get(key).map(|entry| self.enter(entry))
    }

    /// The value at the end of several keys.
    pub fn at(&self, keys: &[&str]) -> Option<Self> {
        keys.iter().try_fold(self.clone(), |place, key| place.get(key))
    }

    /// The entries of a mapping: keys and values. None for anything else.
    pub fn entries(&self) -> impl Iterator<Item = (&'a str, Self)> + use<'a> {
        let entries = match &self.node.value {
            Value::Map(entries) => entries.as_slice(),
            _ => &[],
        };
        let this = self.clone();
        entries.iter().map(move |entry| (entry.key.as_str(), this.enter(entry)))
    }

    /// The items of a list; none for anything else.
    pub fn items(&self) -> impl Iterator<Item = Self> + use<'a> {
        let items = match &self.node.value {
            Value::List(items) => items.as_slice(),
            _ => &[],
        };
        let this = self.clone();
        items.iter().enumerate().map(move |(index, node)| Self {
            document: this.document,
            node,
            path: format!("{}[{index}]", this.path),
        })
    }

    /// The text of a scalar.
    pub fn text(&self) -> Option<&'a str> {
        self.node.text()
    }

    /// The text of a key's value, as in `place.text_of("name")`.
    pub fn text_of(&self, key: &str) -> Option<&'a str> {
        self.node.get(key)?.node.text()
    }

    /// Where it begins.
    pub fn position(&self) -> Position {
        self.node.at
    }

    /// The way to it from the document's root, as in `static_resources.clusters[0]`.
    pub fn path(&self) -> String {
        match self.document.label.as_str() {
            "" => self.path.clone(),
            label if self.path.is_empty() => label.to_owned(),
            label => format!("{label}: {}", self.path),
        }
    }

    fn enter(&self, entry: &'a Entry) -> Self {
        let dot = if self.path.is_empty() { "" } else { "." };
        let key = if entry.key.contains(['.', '/']) { format!("{:?}", entry.key) } else { entry.key.clone() };
        Self { document: self.document, node: &entry.node, path: format!("{}{dot}{key}", self.path) }
    }
}
