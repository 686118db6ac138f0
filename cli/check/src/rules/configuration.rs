//! The results of the modules' own validators.

use tributary_plan::config::Role;

use crate::finding::{Finding, Rule};
use crate::plugin::{Configuration, ParsedConfig, Plugin};
use crate::yaml::embedded;
use crate::yaml::json::to_json;
use crate::yaml::node_ref::NodeRef;

/// `worker_filter.wasm`'s own message about keys of `worker_filter_full.wasm`.
const ONLY_IN_FULL: &str = "found a key of worker_filter_full.wasm, allowed: only in that module";

/// Parses a plugin's configuration with its module's validator.
pub(super) fn parse(plugin: &Plugin<'_>) -> Result<ParsedConfig, Vec<Finding>> {
    let validate = |json: &[u8], tree: &NodeRef<'_>| {
        let parsed = plugin.module.parse(json).map_err(|problems| {
            let finding = |problem: &tributary_proto::config::Problem| {
                Finding::error(&tree.nearest(&problem.path), Rule::Configuration, problem.to_string())
            };
            problems.iter().map(finding).collect::<Vec<_>>()
        })?;
        let rejected = if plugin.only_measures { only_in_full(&parsed) } else { Vec::new() };
        if rejected.is_empty() {
            return Ok(parsed);
        }
        Err(rejected
            .iter()
            .map(|key| {
                Finding::error(&tree.nearest(key), Rule::Configuration, format!("{key}: {ONLY_IN_FULL}"))
            })
            .collect())
    };
    match &plugin.configuration {
        Configuration::None => validate(b"", &plugin.place),
        Configuration::Struct(value) => {
            let json = to_json(value.node, value.document.dialect).to_string();
            validate(json.as_bytes(), value)
        }
        Configuration::Text(holder) => {
            let text = holder.text().unwrap_or_default();
            match embedded(holder.node) {
                Ok(tree) => validate(text.as_bytes(), &holder.embedded(&tree)),
                Err(_) => validate(text.as_bytes(), holder),
            }
        }
        Configuration::Invalid(place, found) => {
            let message = format!("{found}, allowed: google.protobuf.Struct, or StringValue with JSON text");
            Err(vec![Finding::error(place, Rule::Configuration, message)])
        }
    }
}

/// The keys of a worker's configuration that `worker_filter.wasm` rejects.
fn only_in_full(parsed: &ParsedConfig) -> Vec<String> {
    let ParsedConfig::Worker(config) = parsed else { return Vec::new() };
    let plan = &config.plan;
    let counters = plan.counters.iter().enumerate().filter(|(_, counter)| counter.response_header.is_some());
    let mut keys: Vec<_> = counters.map(|(index, _)| format!("counters[{index}].response_header")).collect();
    keys.extend((!plan.rules.is_empty()).then(|| "headers".to_owned()));
    keys.extend(plan.tap.is_some().then(|| "tap".to_owned()));
    keys.extend((config.role != Role::Filter).then(|| "role".to_owned()));
    keys
}
