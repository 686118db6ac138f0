//! Lookups in an Envoy configuration: listeners and clusters by name, Wasm plugins.

use anyhow::{Context, Result, ensure};
use serde_yaml_ng::Value;

/// Calls `see` with `node`, and then with every node below it, from the top down.
pub(super) fn visit(node: &mut Value, see: &mut dyn FnMut(&mut Value)) {
    see(node);
    match node {
        Value::Mapping(mapping) => mapping.iter_mut().for_each(|(_, value)| visit(value, see)),
        Value::Sequence(sequence) => sequence.iter_mut().for_each(|value| visit(value, see)),
        _ => {}
    }
}

/// Returns `static_resources.KIND` of the document.
pub(super) fn sequence<'a>(document: &'a mut Value, kind: &str) -> Result<&'a mut Vec<Value>> {
    let resources = document.get_mut("static_resources").and_then(|resources| resources.get_mut(kind));
    let sequence = resources.and_then(Value::as_sequence_mut);
    sequence.with_context(|| format!("the configuration has no static_resources.{kind}"))
}

/// Returns the item called `name` of `static_resources.KIND`.
pub(super) fn named<'a>(document: &'a mut Value, kind: &str, name: &str) -> Result<&'a mut Value> {
    let known = names(document, kind);
    let found = sequence(document, kind)?.iter_mut().find(|item| name_of(item) == Some(name));
    found.with_context(|| format!("static_resources.{kind} has no {name:?}, but {known:?}"))
}

/// Like [`named`], but not mutable.
pub(super) fn find_named<'a>(document: &'a Value, kind: &str, name: &str) -> Result<&'a Value> {
    let found = items(document, kind).find(|item| name_of(item) == Some(name));
    found.with_context(|| format!("static_resources.{kind} has no {name:?}, but {:?}", names(document, kind)))
}

/// Returns the names of the items of `static_resources.KIND`.
pub(super) fn names(document: &Value, kind: &str) -> Vec<String> {
    items(document, kind).filter_map(|item| name_of(item).map(str::to_owned)).collect()
}

/// Replaces the item of the same name with `item`. If there is no such item, inserts `item` as the first
/// item.
pub(super) fn put_named(items: &mut Vec<Value>, item: Value) -> Result<()> {
    let name = name_of(&item).context("the added item has no name")?.to_owned();
    match items.iter_mut().find(|other| name_of(other) == Some(&name)) {
        Some(other) => *other = item,
        None => items.insert(0, item),
    }
    Ok(())
}

/// Applies `edit` to each `PluginConfig` (recognised by its `vm_config`) called `name`; fails if no plugin
/// has this name.
pub(super) fn each_plugin(
    document: &mut Value,
    name: &str,
    mut edit: impl FnMut(&mut Value) -> Result<()>,
) -> Result<()> {
    let mut known = Vec::new();
    let mut result = Ok(());
    visit(document, &mut |node| {
        if node.get("vm_config").is_some() {
            let plugin = name_of(node).unwrap_or_default().to_owned();
            if plugin == name && result.is_ok() {
                result = edit(node);
            }
            known.push(plugin);
        }
    });
    ensure!(known.iter().any(|plugin| plugin == name), "there is no Wasm plugin {name:?}, but {known:?}");
    result
}

/// Returns whether a list item is a Wasm extension.
pub(super) fn is_wasm_extension(item: &Value) -> bool {
    let kind = item.get("typed_config").and_then(|config| config.get("@type")).and_then(Value::as_str);
    kind.is_some_and(|kind| kind.contains(".wasm.v3."))
}

/// Removes the first Wasm extension from the list `list` of a node.
pub(super) fn remove_wasm_extension(node: &mut Value, list: &str) -> Option<Value> {
    let extensions = node.get_mut(list)?.as_sequence_mut()?;
    let at = extensions.iter().position(is_wasm_extension)?;
    Some(extensions.remove(at))
}

fn items<'a>(document: &'a Value, kind: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    let resources = document.get("static_resources").and_then(|resources| resources.get(kind));
    resources.and_then(Value::as_sequence).into_iter().flatten()
}

/// Returns whether an item is called `name`.
pub(super) fn is_named(item: &Value, name: &str) -> bool {
    name_of(item) == Some(name)
}

fn name_of(item: &Value) -> Option<&str> {
    item.get("name").and_then(Value::as_str)
}
