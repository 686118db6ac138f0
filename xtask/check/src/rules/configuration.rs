//! The modules' own verdict on their configurations.

use crate::finding::{Finding, Rule};
use crate::plugin::{Configuration, Parsed, Plugin};
use crate::yaml::embedded;
use crate::yaml::json::to_json;
use crate::yaml::place::Place;

/// What the module makes of the plugin's configuration, or every problem it has with it.
pub(super) fn parse(plugin: &Plugin<'_>) -> Result<Parsed, Vec<Finding>> {
    let verdict = |json: &[u8], tree: &Place<'_>| {
        plugin.role.parse(json).map_err(|problems| {
            let finding = |problem: &tributary_proto::config::Problem| {
                Finding::error(&tree.nearest(&problem.path), Rule::Configuration, problem.to_string())
            };
            problems.iter().map(finding).collect()
        })
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
