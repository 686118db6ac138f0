//! Items of the worker filter's CEL list, whose costs are measured one by one.

use serde_json::{Value, json};

/// An item whose cost is the difference to a list without it.
#[derive(Clone, Debug)]
pub(crate) struct CelItem {
    /// Its name in reports.
    pub(crate) name: String,
    /// The expression.
    pub(crate) cel: String,
}

/// A cheap item of every list.
const BASE: &str = "1";

/// The kinds of items that the worker filter generates.
const ITEMS: [(&str, &str); 8] = [
    ("constant", "2"),
    ("text", "request.method"),
    ("integer", "response.code"),
    ("duration", "request.duration"),
    ("guarded, present", "has(xds.route_name) ? xds.route_name : ''"),
    ("guarded, absent", "has(xds.cluster_name) ? xds.cluster_name : ''"),
    ("header, present", "'x-tenant' in request.headers ? request.headers['x-tenant'] : ''"),
    ("header, absent", "'x-absent' in request.headers ? request.headers['x-absent'] : ''"),
];

impl CelItem {
    /// The kinds of items that the worker filter generates.
    pub(crate) fn defaults() -> Vec<Self> {
        ITEMS.iter().map(|(name, cel)| Self { name: (*name).to_owned(), cel: (*cel).to_owned() }).collect()
    }

    /// An item from the command line.
    pub(crate) fn custom(cel: &str) -> Self {
        Self { name: cel.to_owned(), cel: cel.to_owned() }
    }
}

/// The worker filter's configuration whose list has the base item and `item`.
pub(crate) fn worker(item: Option<&CelItem>) -> Value {
    let cels = [BASE].into_iter().chain(item.map(|item| &*item.cel));
    let metric = |(number, cel)| json!({"name": format!("m{number}"), "kind": "counter", "value": cel});
    let metrics: Vec<_> = cels.enumerate().map(metric).collect();
    json!({"preset": "none", "counters": [], "metrics": metrics})
}
