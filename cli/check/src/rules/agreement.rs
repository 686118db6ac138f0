//! Whether workers, services and clusters find each other.

use std::collections::{BTreeMap, BTreeSet};

use tributary_plan::config::WorkerConfig;

use super::Judged;
use crate::deployment::Deployment;
use crate::finding::{Finding, Rule};
use crate::plugin::{Configuration, Parsed, Plugin, Role, VmId};
use crate::yaml::place::Place;

/// Judges what plugins say of each other and of clusters.
pub(super) fn judge(deployment: &Deployment<'_>, judged: &[Judged<'_>]) -> Vec<Finding> {
    let mut findings = services(deployment);
    for (plugin, parsed) in judged {
        match parsed {
            Some(Parsed::Worker(config)) => findings.extend(vm_ids(deployment, plugin, config)),
            Some(Parsed::Service(config)) => {
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
    let plugins = &deployment.found.plugins;
    let workers = || plugins.iter().filter(|plugin| plugin.role == Role::Worker);
    let services = || plugins.iter().filter(|plugin| plugin.is_service());
    let mut findings = Vec::new();
    if let (Some(worker), None) = (workers().next(), services().next()) {
        let what_to_do = "add service.wasm as a bootstrap extension (envoy.bootstrap.wasm)";
        findings.push(if deployment.has_bootstrap {
            let message =
                format!("there is no service: workers fold and wait, and nothing is exported; {what_to_do}");
            Finding::error(&worker.place, Rule::Service, message)
        } else {
            let message = format!(
                "these files have no service; name the one with it as well, to check them together, or {what_to_do}"
            );
            Finding::warning(&worker.place, Rule::Service, message)
        });
    }
    if let (Some(service), None, true) = (services().next(), workers().next(), deployment.has_bootstrap) {
        let message = "there is no worker: nothing is counted; attach worker_filter.wasm as an HTTP filter or an access \
                       logger, or name the LDS file that does";
        findings.push(Finding::warning(&service.place, Rule::Service, message));
    }
    let mut by_vm_id: BTreeMap<&str, &Plugin<'_>> = BTreeMap::new();
    for service in services() {
        let VmId::Written(vm_id) = &service.vm_id else { continue };
        if let Some(first) = by_vm_id.insert(vm_id, service) {
            let (file, at) = (&first.place.document.file, first.place.position());
            let message = format!(
                "a second service with the vm_id {vm_id:?}, as at {file}:{at}: the one that starts last takes the queues, and \
                 the other adds up nothing; keep one, with all destinations"
            );
            findings.push(Finding::error(&service.place, Rule::Service, message));
        }
    }
    findings
}

fn vm_ids(deployment: &Deployment<'_>, worker: &Plugin<'_>, config: &WorkerConfig) -> Vec<Finding> {
    let services: BTreeSet<&str> = deployment
        .found
        .plugins
        .iter()
        .filter(|plugin| plugin.is_service())
        .filter_map(|plugin| match &plugin.vm_id {
            VmId::Written(vm_id) => Some(vm_id.as_str()),
            VmId::OfPolicy => None,
        })
        .collect();
    let asked = config.service_vm_id.as_str();
    let place = said(worker, "service_vm_id");
    let wanted = match (asked, &worker.vm_id) {
        ("", VmId::Written(own)) => own.as_str(),
        ("", VmId::OfPolicy) => {
            let message = "Envoy Gateway gives this plugin a vm_id of its own; name the service's as service_vm_id in config";
            return vec![Finding::error(&worker.place, Rule::VmId, message)];
        }
        (asked, _) => asked,
    };
    let mut findings = Vec::new();
    if !services.is_empty() && !services.contains(&wanted) {
        let known = services.iter().map(|vm_id| format!("{vm_id:?}")).collect::<Vec<_>>().join(", ");
        let place = place.clone().or_else(|| worker.place.at(&["vm_config", "vm_id"]));
        let message = format!(
            "the worker looks for its service under the vm_id {wanted:?}, but the service is under {known}; give both the same \
             vm_id, or name the service's as service_vm_id in the worker's configuration"
        );
        findings.push(Finding::error(place.as_ref().unwrap_or(&worker.place), Rule::VmId, message));
    }
    let foreign = !asked.is_empty() && worker.vm_id != VmId::Written(asked.to_owned());
    if foreign && !config.plan.counters.is_empty() {
        let message = "counters in shared data are not seen across vm_ids, so the service cannot export these; \
                       set counters: [] or give both the same vm_id";
        findings.push(Finding::warning(place.as_ref().unwrap_or(&worker.place), Rule::VmId, message));
    }
    findings
}

fn cluster(deployment: &Deployment<'_>, service: &Plugin<'_>, path: &str, name: &str) -> Option<Finding> {
    let found = &deployment.found;
    // Istio's own clusters: outbound|PORT|SUBSET|HOST.
    if found.clusters.contains(name) || name.starts_with("outbound|") {
        return None;
    }
    let place = said(service, path).unwrap_or_else(|| service.place.clone());
    if found.more_clusters {
        let message = format!(
            "the cluster {name:?} is in none of these files; if it comes by xDS, the service calls it once Envoy has it"
        );
        return Some(Finding::warning(&place, Rule::Cluster, message));
    }
    let known = found.clusters.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let known = if known.is_empty() { String::new() } else { format!(", but {known}") };
    let message = format!("there is no cluster {name:?}{known}; add it to static_resources.clusters");
    Some(Finding::error(&place, Rule::Cluster, message))
}

/// Where a plugin's configuration says something: in a tree the value itself, in a text the text.
fn said<'a>(plugin: &Plugin<'a>, path: &str) -> Option<Place<'a>> {
    match &plugin.configuration {
        Configuration::Struct(value) => Some(value.nearest(path)),
        Configuration::Text(text) => Some(text.clone()),
        Configuration::None | Configuration::Unreadable(..) => None,
    }
}
