//! The rules that judge a deployment.

use crate::deployment::Deployment;
use crate::finding::Finding;
use crate::plugin::{ParsedConfig, Plugin};

mod agreement;
mod attachment;
mod capability;
mod configuration;
mod failure;
mod interval;
mod log_stream;

pub use capability::{LINKED_BY_SDK, needed, needed_by_all};

/// A plugin and its parsed configuration; `None` if its module rejects it.
type ParsedPlugin<'a> = (&'a Plugin<'a>, Option<ParsedConfig>);

/// All findings about a deployment.
pub fn judge(deployment: &Deployment<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let plugins = &deployment.inventory.plugins;
    let parsed_plugins: Vec<ParsedPlugin<'_>> = plugins
        .iter()
        .map(|plugin| match configuration::parse(plugin) {
            Ok(parsed) => (plugin, Some(parsed)),
            Err(problems) => {
                findings.extend(problems);
                (plugin, None)
            }
        })
        .collect();
    for (plugin, parsed) in &parsed_plugins {
        if let Some(ParsedConfig::Worker(config)) = parsed {
            findings.extend(attachment::streams(plugin, config));
            findings.extend(attachment::grpc_messages(plugin, config));
        }
    }
    for plugin in plugins {
        findings.extend(attachment::judge(plugin));
        findings.extend(failure::judge(plugin));
        findings.extend(capability::judge(plugin));
    }
    findings.extend(attachment::counted_twice(plugins));
    findings.extend(agreement::judge(deployment, &parsed_plugins));
    findings.extend(interval::judge(&parsed_plugins));
    findings.extend(log_stream::judge(deployment, &parsed_plugins));
    findings
}
