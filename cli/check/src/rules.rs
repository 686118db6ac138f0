//! The rules that judge a deployment.
//!
//! First, `configuration` calls the module's own validator, and keeps the plugins that it accepts.
//! `attachment`, `failure` and `capability` judge each plugin by itself; the other rules compare the accepted
//! plugins of one Envoy with each other and with its clusters.

use tributary_console::config::ConsoleConfig;
use tributary_plan::config::WorkerConfig;
use tributary_service::config::ServiceConfig;

use crate::deployment::Deployment;
use crate::finding::Finding;
use crate::plugin::ConfiguredPlugin;

mod agreement;
mod attachment;
mod capability;
mod cardinality;
mod configuration;
mod failure;
mod interval;
mod log_stream;

pub use capability::{LINKED_BY_SDK, needed, needed_by_all};

/// The plugins whose configuration their module accepts, each with its configuration.
#[derive(Default)]
struct AcceptedPlugins<'a> {
    workers: Vec<(&'a ConfiguredPlugin<'a>, WorkerConfig)>,
    services: Vec<(&'a ConfiguredPlugin<'a>, ServiceConfig)>,
    consoles: Vec<(&'a ConfiguredPlugin<'a>, ConsoleConfig)>,
}

/// Returns all findings about a deployment.
pub fn judge(deployment: &Deployment<'_>) -> Vec<Finding> {
    let plugins = &deployment.inventory.plugins;
    let mut accepted = AcceptedPlugins::default();
    let mut findings = Vec::new();
    for plugin in plugins {
        findings.extend(configuration::judge(plugin, &mut accepted));
        findings.extend(attachment::judge(plugin));
        findings.extend(failure::judge(plugin));
        findings.extend(capability::judge(plugin));
    }
    for (worker, config) in &accepted.workers {
        findings.extend(attachment::streams(worker, config));
        findings.extend(attachment::grpc_messages(worker, config));
        findings.extend(cardinality::judge(worker, config));
    }
    findings.extend(attachment::counted_twice(plugins));
    findings.extend(agreement::judge(deployment, &accepted));
    findings.extend(interval::judge(&accepted));
    findings.extend(log_stream::judge(&deployment.inventory.loggers, &accepted));
    findings
}
