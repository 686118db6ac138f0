//! Items of the worker filter's CEL list, whose costs are measured one by one.

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Value, json};

/// An item of the list. Its cost is the difference between a list with the item and a list without it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct CelItem {
    /// The name of the item in reports.
    pub(crate) name: String,
    /// The CEL expression of the item.
    pub(crate) cel: String,
}

/// A cheap item of every list.
const BASE: &str = "1";

impl CelItem {
    /// Returns the kinds of items that the worker filter generates.
    pub(crate) fn defaults() -> Result<Vec<Self>> {
        serde_yaml_ng::from_str(include_str!("items.yaml")).context("items.yaml")
    }
}

/// Returns the worker filter's configuration whose list has the base item and `item`.
pub(crate) fn worker(item: Option<&CelItem>) -> Value {
    let cels = [BASE].into_iter().chain(item.map(|item| &*item.cel));
    let metric = |(number, cel)| json!({"name": format!("m{number}"), "kind": "counter", "value": cel});
    let metrics: Vec<_> = cels.enumerate().map(metric).collect();
    json!({"preset": "none", "counters": [], "metrics": metrics})
}
