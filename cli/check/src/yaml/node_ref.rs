//! A value with its document and its path.

use super::Node;
use super::json::Dialect;

/// One YAML document of a file.
#[derive(Clone, Debug)]
pub struct Document {
    /// The name of the file, as in the arguments of the command.
    pub file: String,
    /// The prefix of the paths of the document's values, such as `EnvoyFilter NAME`; empty if the document
    /// is no manifest.
    pub label: String,
    /// The rules by which the program that reads the file converts scalars.
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
    /// Returns the root node with its document.
    pub fn root_ref(&self) -> NodeRef<'_> {
        NodeRef { document: self, node: &self.root, path: String::new() }
    }
}

impl<'a> NodeRef<'a> {
    /// Returns a reference to a value that was parsed from the text of this node. The path of the value is
    /// the path of this node.
    pub fn embedded(&self, node: &'a Node) -> Self {
        Self { node, ..self.clone() }
    }

    /// Returns the value at a path such as `destinations[0].path`, or the last value on the path that
    /// exists.
    pub fn nearest(&self, path: &str) -> Self {
        let mut node = self.clone();
        for step in path.split(['.', '[']).filter(|step| !step.is_empty()) {
            let next = match step.strip_suffix(']').map(str::parse) {
                Some(Ok(index)) => node.items().nth(index),
                _ => node.get(step),
            };
            let Some(next) = next else { break };
            node = next;
        }
        node
    }

    /// Returns the value at a path of keys in snake case, such as `vm_config.vm_id`.
    pub fn get(&self, path: &str) -> Option<Self> {
        path.split('.').try_fold(self.clone(), |place, key| {
            place.node.entry(key).map(|(name, value)| place.enter(name, value))
        })
    }

    /// Returns the keys and values of a mapping; empty for other values.
    pub fn entries(&self) -> impl Iterator<Item = (&'a str, Self)> + use<'a> {
        let this = self.clone();
        self.node.entries().iter().map(move |(key, value)| (key.as_str(), this.enter(key, value)))
    }

    /// Returns the items of a list; empty for other values.
    pub fn items(&self) -> impl Iterator<Item = Self> + use<'a> {
        let this = self.clone();
        let place = move |(index, node)| Self { node, path: format!("{}[{index}]", this.path), ..this };
        self.node.items().iter().enumerate().map(place)
    }

    /// Returns the items of the list at a path of keys; empty if there is no list.
    pub fn items_of(&self, path: &str) -> impl Iterator<Item = Self> + use<'a> {
        self.get(path).into_iter().flat_map(|list| list.items())
    }

    /// Returns the text of a scalar.
    pub fn text(&self) -> Option<&'a str> {
        self.node.text()
    }

    /// Returns the text at a path of keys, as in `place.text_of("metadata.name")`.
    pub fn text_of(&self, path: &str) -> Option<&'a str> {
        self.node.get(path)?.text()
    }

    /// Returns whether the value at a path of keys is present, and is true in YAML.
    pub fn is_true(&self, path: &str) -> bool {
        matches!(self.text_of(path), Some("true" | "True" | "TRUE" | "yes" | "on"))
    }

    /// Returns the path from the document's root, such as `static_resources.clusters[0]`.
    pub fn path(&self) -> String {
        match self.document.label.as_str() {
            "" => self.path.clone(),
            label if self.path.is_empty() => label.to_owned(),
            label => format!("{label}: {}", self.path),
        }
    }

    fn enter(&self, key: &str, node: &'a Node) -> Self {
        let dot = if self.path.is_empty() { "" } else { "." };
        let key = if key.contains(['.', '/']) { format!("{key:?}") } else { key.to_owned() };
        Self { node, path: format!("{}{dot}{key}", self.path), ..*self }
    }
}
