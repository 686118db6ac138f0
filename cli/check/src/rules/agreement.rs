//! Checks the references between workers, consoles, services and clusters.

use std::collections::{BTreeMap, BTreeSet};

use tributary_plan::config::WorkerConfig;

use super::AcceptedPlugins;
use crate::deployment::Deployment;
use crate::envoy::Inventory;
use crate::finding::{Finding, Rule};
use crate::plugin::ConfiguredPlugin;
use crate::yaml::node_ref::NodeRef;

/// Judges the references between plugins and to clusters.
pub(super) fn judge(deployment: &Deployment<'_>, accepted: &AcceptedPlugins<'_>) -> Vec<Finding> {
    let inventory = &deployment.inventory;
    let mut findings = services(deployment);
    for (worker, config) in &accepted.workers {
        findings.extend(worker_vm_id(inventory, worker, config));
    }
    findings.extend(accepted.consoles.iter().filter_map(|(console, _)| console_vm_id(inventory, console)));
    for (service, config) in &accepted.services {
        for (index, destination) in config.destinations.iter().enumerate() {
            let place = service.place_of(&format!("destinations[{index}].cluster"));
            findings.extend(cluster(inventory, &place, &destination.cluster));
        }
    }
    findings
}

fn services(deployment: &Deployment<'_>) -> Vec<Finding> {
    let plugins = &deployment.inventory.plugins;
    let worker = plugins.iter().find(|plugin| plugin.module.is_worker());
    let services: Vec<_> = plugins.iter().filter(|plugin| plugin.is_service()).collect();
    let mut findings = Vec::new();
    match (worker, services.first()) {
        (Some(worker), None) => {
            let remedy = "add service.wasm as a bootstrap extension (envoy.bootstrap.wasm)";
            findings.push(if deployment.has_bootstrap {
                let message = format!(
                    "no service is configured: workers keep their counts, and nothing is exported; {remedy}"
                );
                Finding::error(&worker.place, Rule::Service, message)
            } else {
                let message = format!(
                    "these files have no service; add the file with the service to the command, or {remedy}"
                );
                Finding::warning(&worker.place, Rule::Service, message)
            });
        }
        (None, Some(service)) if deployment.has_bootstrap => {
            let message = "no worker is configured, so nothing is counted; attach worker_filter.wasm as an \
                           HTTP filter or an access logger, or add the LDS file that does to the command";
            findings.push(Finding::warning(&service.place, Rule::Service, message));
        }
        _ => {}
    }
    let mut by_vm_id: BTreeMap<&str, &ConfiguredPlugin<'_>> = BTreeMap::new();
    for service in services {
        let Some(vm_id) = &service.vm_id else { continue };
        if let Some(first) = by_vm_id.insert(vm_id, service) {
            let (file, at) = (&first.place.document.file, first.place.node.at);
            let message = format!(
                "this is a second service with the vm_id {vm_id:?}, after {file}:{at}: the service that \
                 starts last gets all batches, and the other one exports nothing; keep one service, with \
                 all destinations"
            );
            findings.push(Finding::error(&service.place, Rule::Service, message));
        }
    }
    findings
}

fn worker_vm_id(
    inventory: &Inventory<'_>,
    worker: &ConfiguredPlugin<'_>,
    config: &WorkerConfig,
) -> Vec<Finding> {
    let configured = Some(&config.service_vm_id).filter(|vm_id| !vm_id.is_empty());
    let Some(wanted) = configured.or(worker.vm_id.as_ref()) else {
        let message = "Envoy Gateway generates a vm_id for this plugin; set service_vm_id in config to the \
                       service's vm_id";
        return vec![Finding::error(&worker.place, Rule::VmId, message)];
    };
    let place = worker.configuration.nearest("service_vm_id");
    let mut findings = Vec::new();
    if let Some(known) = other_vm_ids(inventory, wanted) {
        let place = place.clone().or_else(|| worker.place.get("vm_config.vm_id"));
        let message = format!(
            "the worker sends its batches to the vm_id {wanted:?}, but the service has the vm_id {known}; \
             set the same vm_id for both, or set service_vm_id in the worker's configuration to the \
             service's vm_id"
        );
        findings.push(Finding::error(place.as_ref().unwrap_or(&worker.place), Rule::VmId, message));
    }
    if configured.is_some() && configured != worker.vm_id.as_ref() && !config.plan.counters.is_empty() {
        let message = "the service cannot export these counters: shared data is separate for each vm_id; set \
                       counters: [] or use the same vm_id for both";
        findings.push(Finding::warning(place.as_ref().unwrap_or(&worker.place), Rule::VmId, message));
    }
    findings
}

fn console_vm_id(inventory: &Inventory<'_>, console: &ConfiguredPlugin<'_>) -> Option<Finding> {
    let Some(own) = &console.vm_id else {
        let message = "Envoy Gateway generates a vm_id for this plugin, so the console cannot read what the \
                       service writes; attach it by an EnvoyPatchPolicy, with the vm_id of the service";
        return Some(Finding::error(&console.place, Rule::VmId, message));
    };
    let known = other_vm_ids(inventory, own)?;
    let message = format!(
        "the console reads what the service of the vm_id {own:?} writes, but the service has the vm_id \
         {known}; set the same vm_id for both"
    );
    let place = console.place.get("vm_config.vm_id");
    Some(Finding::error(place.as_ref().unwrap_or(&console.place), Rule::VmId, message))
}

/// Returns the `vm_id`s of all services, separated by commas; `None` if a service has the `vm_id` `wanted`,
/// or if no `vm_id` of a service is known.
fn other_vm_ids(inventory: &Inventory<'_>, wanted: &str) -> Option<String> {
    let services = inventory.plugins.iter().filter(|plugin| plugin.is_service());
    let vm_ids = services.filter_map(|service| Some(format!("{:?}", service.vm_id.as_ref()?)));
    let vm_ids: BTreeSet<_> = vm_ids.collect();
    let is_known = vm_ids.is_empty() || vm_ids.contains(&format!("{wanted:?}"));
    (!is_known).then(|| Vec::from_iter(vm_ids).join(", "))
}

fn cluster(inventory: &Inventory<'_>, place: &NodeRef<'_>, name: &str) -> Option<Finding> {
    let clusters = &inventory.clusters;
    // Istio's own clusters are called outbound|PORT|SUBSET|HOST.
    if clusters.contains(name) || name.starts_with("outbound|") {
        return None;
    }
    if inventory.more_clusters {
        let message = format!(
            "the cluster {name:?} is not in these files; the service can use it only if Envoy gets it by xDS"
        );
        return Some(Finding::warning(place, Rule::Cluster, message));
    }
    let known = clusters.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let known = if known.is_empty() { String::new() } else { format!(", which has {known}") };
    let message = format!("unknown cluster {name:?}; add it to static_resources.clusters{known}");
    Some(Finding::error(place, Rule::Cluster, message))
}
