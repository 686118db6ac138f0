//! Validates the configuration of each plugin with the validator of its module.

use tributary_console::config::ConsoleConfig;
use tributary_plan::config::WorkerConfig;
use tributary_plan::plan::Plan;
use tributary_proto::config::{self, Problems};
use tributary_service::config::ServiceConfig;

use super::AcceptedPlugins;
use crate::finding::{Finding, Rule};
use crate::plugin::{Configuration, ConfiguredPlugin, ModuleKind};
use crate::yaml::embedded;
use crate::yaml::json::to_json;

/// Judges a plugin's configuration with its module's validator. A plugin with a valid configuration is added
/// to `accepted`.
pub(super) fn judge<'a>(
    plugin: &'a ConfiguredPlugin<'a>,
    accepted: &mut AcceptedPlugins<'a>,
) -> Vec<Finding> {
    let tree;
    let (json, place) = match &plugin.configuration {
        Configuration::None => (String::new(), plugin.place.clone()),
        Configuration::Struct(value) => {
            (to_json(value.node, value.document.dialect).to_string(), value.clone())
        }
        Configuration::Text(holder) => {
            tree = embedded(holder.node).unwrap_or_else(|_| holder.node.clone());
            (holder.text().unwrap_or_default().to_owned(), holder.embedded(&tree))
        }
        Configuration::Invalid(place, found) => {
            let message = format!("{found}, allowed: google.protobuf.Struct, or StringValue with JSON text");
            return vec![Finding::error(place, Rule::Configuration, message)];
        }
    };
    let problems = parse(plugin, json.as_bytes(), accepted).err().unwrap_or_default();
    let findings = problems.iter().map(|problem| {
        Finding::error(&place.nearest(&problem.path), Rule::Configuration, problem.to_string())
    });
    findings.collect()
}

fn parse<'a>(
    plugin: &'a ConfiguredPlugin<'a>,
    json: &[u8],
    accepted: &mut AcceptedPlugins<'a>,
) -> Result<(), Problems> {
    match plugin.module {
        ModuleKind::Worker => {
            let config = WorkerConfig::parse(json)?;
            reject_keys_of_full_worker(&config.plan)?;
            accepted.workers.push((plugin, config));
        }
        ModuleKind::FullWorker => accepted.workers.push((plugin, WorkerConfig::parse(json)?)),
        ModuleKind::Service => accepted.services.push((plugin, ServiceConfig::parse(json)?)),
        ModuleKind::Console => accepted.consoles.push((plugin, ConsoleConfig::parse(json)?)),
    }
    Ok(())
}

/// Reports the keys that only `worker_filter_full.wasm` accepts, with the message of
/// `worker_filter.wasm`. The validator in this program has all features, so it accepts these keys.
fn reject_keys_of_full_worker(plan: &Plan) -> Result<(), Problems> {
    config::read(b"", |root| {
        let mut note = |key: &str| root.note(key, "a key of worker_filter_full.wasm", "only in that module");
        for (index, counter) in plan.counters.iter().enumerate() {
            if counter.response_header.is_some() {
                note(&format!("counters[{index}].response_header"));
            }
        }
        if !plan.rules.is_empty() {
            note("headers");
        }
        if plan.tap.is_some() {
            note("tap");
        }
    })
}
