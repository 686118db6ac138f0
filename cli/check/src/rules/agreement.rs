//! References between workers, services and clusters.

use std::collections::{BTreeMap, BTreeSet};

use tributary_plan::config::WorkerConfig;

use super::ParsedPlugin;
use crate::deployment::Deployment;
use crate::finding::{Finding, Rule};
use crate::plugin::{ParsedConfig, Plugin, VmId};

/// Judges the references between plugins and to clusters.
pub(super) fn judge(deployment: &Deployment<'_>, plugins: &[ParsedPlugin<'_>]) -> Vec<Finding> {
    let mut findings = services(deployment);
    for (plugin, parsed) in plugins {
        match parsed {
            Some(ParsedConfig::Worker(config)) => findings.extend(worker_vm_id(deployment, plugin, config)),
            Some(ParsedConfig::Console(_)) => findings.extend(console_vm_id(deployment, plugin)),
            Some(ParsedConfig::Service(config)) => {
                for (index, destination) in config.destinations.iter().enumerate() {
                    let path = format!("destinations[{index}].cluster");
                    findings.extend(cluster(deployment, plugin, &path, &destination.cluster));
                }
            }
            None => {}
        }
    }
    findings
}

fn services(deployment: &Deployment<'_>) -> Vec<Finding> {
    let plugins = &deployment.inventory.plugins;
    let workers = || plugins.iter().filter(|plugin| plugin.module.is_worker());
    let services = || plugins.iter().filter(|plugin| plugin.is_service());
    let mut findings = Vec::new();
    if let (Some(worker), None) = (workers().next(), services().next()) {
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
    if let (Some(service), None, true) = (services().next(), workers().next(), deployment.has_bootstrap) {
        let message = "no worker is configured, so nothing is counted; attach worker_filter.wasm as an HTTP filter or an \
                       access logger, or add the LDS file that does to the command";
        findings.push(Finding::warning(&service.place, Rule::Service, message));
    }
    let mut by_vm_id: BTreeMap<&str, &Plugin<'_>> = BTreeMap::new();
    for service in services() {
        let VmId::Configured(vm_id) = &service.vm_id else { continue };
        if let Some(first) = by_vm_id.insert(vm_id, service) {
            let (file, at) = (&first.place.document.file, first.place.position());
            let message = format!(
                "this is a second service with the vm_id {vm_id:?}, after {file}:{at}: the service that starts last gets all \
                 batches, and the other one exports nothing; keep one service, with all destinations"
            );
            findings.push(Finding::error(&service.place, Rule::Service, message));
        }
    }
    findings
}

/// The `vm_id` of each service, quoted.
fn service_vm_ids(deployment: &Deployment<'_>) -> BTreeSet<String> {
    let services = deployment.inventory.plugins.iter().filter(|plugin| plugin.is_service());
    let vm_ids = services.filter_map(|plugin| match &plugin.vm_id {
        VmId::Configured(vm_id) => Some(format!("{vm_id:?}")),
        VmId::Generated => None,
    });
    vm_ids.collect()
}

fn console_vm_id(deployment: &Deployment<'_>, console: &Plugin<'_>) -> Option<Finding> {
    let VmId::Configured(own) = &console.vm_id else {
        let message = "Envoy Gateway generates a vm_id for this plugin, so the console cannot read what the service writes; \
                       attach it by an EnvoyPatchPolicy, with the vm_id of the service";
        return Some(Finding::error(&console.place, Rule::VmId, message));
    };
    let services = service_vm_ids(deployment);
    if services.is_empty() || services.contains(&format!("{own:?}")) {
        return None;
    }
    let known = Vec::from_iter(services).join(", ");
    let message = format!(
        "the console reads what the service of the vm_id {own:?} writes, but the service has the vm_id {known}; set the same \
         vm_id for both"
    );
    let place = console.place.at(&["vm_config", "vm_id"]);
    Some(Finding::error(place.as_ref().unwrap_or(&console.place), Rule::VmId, message))
}

fn worker_vm_id(deployment: &Deployment<'_>, worker: &Plugin<'_>, config: &WorkerConfig) -> Vec<Finding> {
    let services = service_vm_ids(deployment);
    let configured = config.service_vm_id.as_str();
    let place = worker.configuration.nearest("service_vm_id");
    let wanted = match (configured, &worker.vm_id) {
        ("", VmId::Configured(own)) => own.as_str(),
        ("", VmId::Generated) => {
            let message = "Envoy Gateway generates a vm_id for this plugin; set service_vm_id in config to the service's vm_id";
            return vec![Finding::error(&worker.place, Rule::VmId, message)];
        }
        (configured, _) => configured,
    };
    let mut findings = Vec::new();
    if !services.is_empty() && !services.contains(&format!("{wanted:?}")) {
        let known = Vec::from_iter(services).join(", ");
        let place = place.clone().or_else(|| worker.place.at(&["vm_config", "vm_id"]));
        let message = format!(
            "the worker sends its batches to the vm_id {wanted:?}, but the service has the vm_id {known}; set the same vm_id \
             for both, or set service_vm_id in the worker's configuration to the service's vm_id"
        );
        findings.push(Finding::error(place.as_ref().unwrap_or(&worker.place), Rule::VmId, message));
    }
    let foreign = !configured.is_empty() && worker.vm_id != VmId::Configured(configured.to_owned());
    if foreign && !config.plan.counters.is_empty() {
        let message = "the service cannot export these counters: shared data is separate for each vm_id; set counters: [] or use \
                       the same vm_id for both";
        findings.push(Finding::warning(place.as_ref().unwrap_or(&worker.place), Rule::VmId, message));
    }
    findings
}

fn cluster(deployment: &Deployment<'_>, service: &Plugin<'_>, path: &str, name: &str) -> Option<Finding> {
    let found = &deployment.inventory;
    // Istio's own clusters: outbound|PORT|SUBSET|HOST.
    if found.clusters.contains(name) || name.starts_with("outbound|") {
        return None;
    }
    let place = service.configuration.nearest(path).unwrap_or_else(|| service.place.clone());
    if found.more_clusters {
        let message = format!(
            "the cluster {name:?} is not in these files; the service can use it only if Envoy gets it by xDS"
        );
        return Some(Finding::warning(&place, Rule::Cluster, message));
    }
    let known = found.clusters.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let known = if known.is_empty() { String::new() } else { format!(", which has {known}") };
    let message = format!("unknown cluster {name:?}; add it to static_resources.clusters{known}");
    Some(Finding::error(&place, Rule::Cluster, message))
}
