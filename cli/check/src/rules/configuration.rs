//! The modules' own verdict on their configurations.

use tributary_plan::config::Role;

use crate::finding::{Finding, Rule};
use crate::plugin::{Configuration, Parsed, Plugin};
use crate::yaml::embedded;
use crate::yaml::json::to_json;
use crate::yaml::place::Place;

/// What only `worker_filter_full.wasm` takes, in the words of the other module.
const ONLY_IN_FULL: &str =
    "found a key of worker_filter_full.wasm, allowed: only there: this module only measures";

/// What the module makes of the plugin's configuration, or every problem it has with it.
pub(super) fn parse(plugin: &Plugin<'_>) -> Result<Parsed, Vec<Finding>> {
    let verdict = |json: &[u8], tree: &Place<'_>| {
        let parsed = plugin.role.parse(json).map_err(|problems| {
            let finding = |problem: &tributary_proto::config::Problem| {
                Finding::error(&tree.nearest(&problem.path), Rule::Configuration, problem.to_string())
            };
            problems.iter().map(finding).collect::<Vec<_>>()
        })?;
        let refused = if plugin.only_measures { only_in_full(&parsed) } else { Vec::new() };
        if refused.is_empty() {
            return Ok(parsed);
        }
        Err(refused
            .iter()
            .map(|key| {
                Finding::error(&tree.nearest(key), Rule::Configuration, format!("{key}: {ONLY_IN_FULL}"))
            })
            .collect())
    };
    match &plugin.configuration {
        Configuration::None => verdict(b"", &plugin.place),
        Configuration::Struct(value) => {
            let json = to_json(value.node, value.document.dialect).to_string();
            verdict(json.as_bytes(), value)
        }
        Configuration::Text(holder) => {
            let text = holder.text().unwrap_or_default();
            match embedded(holder.node) {
                Ok(tree) => verdict(text.as_bytes(), &holder.inside(&tree)),
                Err(_) => verdict(text.as_bytes(), holder),
            }
        }
        Configuration::Unreadable(place, found) => {
            let message = format!("{found}, allowed: google.protobuf.Struct, or StringValue with JSON text");
            Err(vec![Finding::error(place, Rule::Configuration, message)])
        }
    }
}

/// The keys of a worker's configuration that the measuring module refuses.
fn only_in_full(parsed: &Parsed) -> Vec<String> {
    let Parsed::Worker(config) = parsed else { return Vec::new() };
    let plan = &config.plan;
    let counters = plan.counters.iter().enumerate().filter(|(_, counter)| counter.response_header.is_some());
    let mut keys: Vec<_> = counters.map(|(index, _)| format!("counters[{index}].response_header")).collect();
    keys.extend((!plan.rules.is_empty()).then(|| "headers".to_owned()));
    keys.extend(plan.tap.is_some().then(|| "tap".to_owned()));
    keys.extend((config.role != Role::Filter).then(|| "role".to_owned()));
    keys
}
