//! Paths in a YAML document, such as `destinations[0].path`.

use anyhow::{Context, Result, bail, ensure};
use serde_yaml_ng::{Mapping, Value};

/// One step of a path: a key of a mapping, or an index of a sequence.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

/// Returns the value at `path`.
pub(super) fn get<'a>(root: &'a Value, path: &str) -> Result<&'a Value> {
    let mut node = root;
    for step in parse(path)? {
        let next = match &step {
            Step::Key(key) => node.get(key.as_str()),
            Step::Index(index) => node.get(*index),
        };
        node = next.with_context(|| format!("there is no {step:?} on the way to {path:?}"))?;
    }
    Ok(node)
}

/// Sets the value at `path`, and creates missing mappings and sequences on the path. An index may be one
/// past the last item: then an item is added.
///
/// # Errors
/// The path is malformed, or a value on the path has another type than the path needs.
pub(super) fn set(root: &mut Value, path: &str, value: Value) -> Result<()> {
    let mut node = root;
    for step in parse(path)? {
        node = enter(node, &step).with_context(|| format!("cannot set {path:?}"))?;
    }
    *node = value;
    Ok(())
}

fn enter<'a>(node: &'a mut Value, step: &Step) -> Result<&'a mut Value> {
    match step {
        Step::Key(key) => {
            if node.is_null() {
                *node = Value::Mapping(Mapping::new());
            }
            let Value::Mapping(mapping) = node else { bail!("there is no key {key:?} in {node:?}") };
            Ok(mapping.entry(Value::from(key.as_str())).or_insert(Value::Null))
        }
        Step::Index(index) => {
            if node.is_null() {
                *node = Value::Sequence(Vec::new());
            }
            let Value::Sequence(sequence) = node else { bail!("there is no [{index}] in {node:?}") };
            let len = sequence.len();
            ensure!(*index <= len, "there is no [{index}] in a sequence of {len}");
            if *index == len {
                sequence.push(Value::Null);
            }
            sequence.get_mut(*index).context("the index was checked")
        }
    }
}

fn parse(path: &str) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    for part in path.split('.') {
        let mut brackets = part.split('[');
        let key = brackets.next().unwrap_or_default();
        ensure!(!key.is_empty(), "invalid path {path:?}: a key is empty");
        steps.push(Step::Key(key.to_owned()));
        for bracket in brackets {
            let index = bracket.strip_suffix(']').and_then(|index| index.parse().ok());
            steps.push(Step::Index(index.with_context(|| format!("invalid path {path:?}: bad index"))?));
        }
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Value {
        serde_yaml_ng::from_str("{a: {list: [{name: x}, {name: y}]}, n: 1}").unwrap()
    }

    #[test]
    fn a_value_that_was_set_is_found() {
        for path in ["a.list[1].name", "a.list[2].name", "new.list[0].key", "a.list[0].port.value"] {
            let mut document = document();
            set(&mut document, path, Value::from("z")).unwrap();
            assert_eq!(get(&document, path).unwrap(), "z", "{path}");
            assert_eq!(get(&document, "n").unwrap(), 1);
        }
    }

    #[test]
    fn rejects_invalid_paths() {
        for path in ["", "a..b", "a.list[x]", "a.list[1", "n.key", "a.list.key", "a.list[3]", "a[0]"] {
            let mut document = document();
            assert!(set(&mut document, path, Value::Null).is_err(), "{path:?}");
        }
        assert!(get(&document(), "a.list[2].name").is_err());
    }
}
