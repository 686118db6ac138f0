//! Items of the worker filter's CEL list: what each kind costs a request.

use serde_json::{Value, json};

/// An item that is measured beside a list without it.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    /// What kind it is.
    pub(crate) name: String,
    /// What Envoy evaluates.
    pub(crate) cel: String,
}

/// What every list has: something that costs little.
const BASE: &str = "1";

/// The kinds that the worker filter writes.
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

impl Item {
    /// The kinds that the worker filter writes.
    pub(crate) fn known() -> Vec<Self> {
        ITEMS.iter().map(|(name, cel)| Self { name: (*name).to_owned(), cel: (*cel).to_owned() }).collect()
    }

    /// An item that somebody asks about.
    pub(crate) fn asked(cel: &str) -> Self {
        Self { name: cel.to_owned(), cel: cel.to_owned() }
    }
}

/// The worker filter's configuration that reads these items.
pub(crate) fn worker(item: Option<&Item>) -> Value {
    let cels = [BASE].into_iter().chain(item.map(|item| &*item.cel));
    let metric = |(number, cel)| json!({"name": format!("m{number}"), "kind": "counter", "value": cel});
    let metrics: Vec<_> = cels.enumerate().map(metric).collect();
    json!({"preset": "none", "counters": [], "metrics": metrics})
}
