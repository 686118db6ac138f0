//! A value with its document and its path.

use super::json::Dialect;
use super::{Entry, Node, Position, Value};

/// One document of a file.
#[derive(Clone, Debug)]
pub struct Document {
    /// The file's name as it was given.
    pub file: String,
    /// The start of its paths: `EnvoyFilter NAME`, or empty.
    pub label: String,
    /// The reader of the file.
    pub dialect: Dialect,
    /// The root node.
    pub root: Node,
}

/// A value in a document.
#[derive(Clone, Debug)]
pub struct NodeRef<'a> {
    /// The document.
    pub document: &'a Document,
    /// The value.
    pub node: &'a Node,
    path: String,
}

impl Document {
    /// The root node with its document.
    pub fn root_ref(&self) -> NodeRef<'_> {
        NodeRef { document: self, node: &self.root, path: String::new() }
    }
}

impl<'a> NodeRef<'a> {
    /// A value that was parsed from the text of this node.
    pub fn embedded(&self, node: &'a Node) -> Self {
        Self { document: self.document, node, path: self.path.clone() }
    }

    /// The value at a path such as `destinations[0].path`, or the last value on the path that exists.
    pub fn nearest(&self, path: &str) -> Self {
        let mut node = self.clone();
        for step in path.split(['.', '[']).filter(|step| !step.is_empty()) {
            let next = match step.strip_suffix(']').map(str::parse) {
                Some(Ok(index)) => node.items().nth(index),
                _ => node.get(step),
            };
            match next {
                Some(next) => node = next,
                None => break,
            }
        }
        node
    }

    /// The value of a key in snake case.
    pub fn get(&self, key: &str) -> Option<Self> {
        self.node.get(key).map(|entry| self.enter(entry))
    }

    /// The value at a path of keys.
    pub fn at(&self, keys: &[&str]) -> Option<Self> {
        keys.iter().try_fold(self.clone(), |node, key| node.get(key))
    }

    /// The keys and values of a mapping; empty for other values.
    pub fn entries(&self) -> impl Iterator<Item = (&'a str, Self)> + use<'a> {
        let entries = match &self.node.value {
            Value::Map(entries) => entries.as_slice(),
            _ => &[],
        };
        let this = self.clone();
        entries.iter().map(move |entry| (entry.key.as_str(), this.enter(entry)))
    }

    /// The items of a list; empty for other values.
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

    /// The position of its start.
    pub fn position(&self) -> Position {
        self.node.at
    }

    /// The path from the document's root, such as `static_resources.clusters[0]`.
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
