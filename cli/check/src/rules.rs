//! What is judged of a deployment.

use crate::deployment::Deployment;
use crate::finding::Finding;
use crate::plugin::{Parsed, Plugin};

mod agreement;
mod attachment;
mod capability;
mod configuration;
mod failure;
mod interval;
mod log_stream;

pub use capability::{LINKED_BY_SDK, needed};

/// A plugin, and what its module makes of its configuration; none if it refuses it.
type Judged<'a> = (&'a Plugin<'a>, Option<Parsed>);

/// Everything that is wrong with a deployment.
pub fn judge(deployment: &Deployment<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let plugins = &deployment.found.plugins;
    let judged: Vec<Judged<'_>> = plugins
        .iter()
        .map(|plugin| match configuration::parse(plugin) {
            Ok(parsed) => (plugin, Some(parsed)),
            Err(problems) => {
                findings.extend(problems);
                (plugin, None)
            }
        })
        .collect();
    for (plugin, parsed) in &judged {
        if let Some(Parsed::Worker(config)) = parsed {
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
    findings.extend(agreement::judge(deployment, &judged));
    findings.extend(interval::judge(&judged));
    findings.extend(log_stream::judge(deployment, &judged));
    findings
}
