//! Finds plugins and clusters in Kubernetes manifests: EnvoyFilter and WasmPlugin of Istio; EnvoyProxy,
//! EnvoyPatchPolicy and EnvoyExtensionPolicy of Envoy Gateway; and Envoy configurations in a ConfigMap.

use crate::envoy::{Inventory, Scope, is_true};
use crate::plugin::{
    AttachPoint, Configuration, FailureHandling, FailurePolicy, ModuleKind, Plugin, TrafficPath, VmId,
};
use crate::yaml::json::{Dialect, to_json};
use crate::yaml::node_ref::{Document, NodeRef};
use crate::yaml::{Node, Style, Value, YamlError, embedded};

/// Classifies a document of a file. A manifest is labelled by kind and name. YAML that a manifest contains as
/// text becomes part of it, or a document of its own.
///
/// # Errors
/// A manifest contains text that should be YAML but is not.
pub fn documents(file: &str, root: Node) -> Result<Vec<Document>, YamlError> {
    let dialect = if file.ends_with(".json") { Dialect::Json } else { Dialect::Envoy };
    let document = |label: String, dialect, root| Document { file: file.to_owned(), label, dialect, root };
    let Some(label) = label(&root) else { return Ok(vec![document(String::new(), dialect, root)]) };
    match kind(&root) {
        Some("ConfigMap") => {
            let files = root.get("data").map(|data| &data.node.value);
            let Some(Value::Map(files)) = files else { return Ok(Vec::new()) };
            let envoys = files.iter().filter_map(|entry| {
                let inner = embedded(&entry.node).ok().filter(is_bootstrap)?;
                let dialect = if entry.key.ends_with(".json") { Dialect::Json } else { Dialect::Envoy };
                Some(document(format!("{label}: {}", entry.key), dialect, inner))
            });
            Ok(envoys.collect())
        }
        // Envoy Gateway passes the bootstrap to Envoy as YAML.
        Some("EnvoyProxy") => Ok(vec![document(label, Dialect::Envoy, with_bootstrap(root)?)]),
        _ => Ok(vec![document(label, Dialect::Json, root)]),
    }
}

/// Whether a document is a bootstrap of Envoy.
pub fn is_bootstrap(root: &Node) -> bool {
    let sections = ["static_resources", "dynamic_resources", "bootstrap_extensions", "admin", "stats_sinks"];
    kind(root).is_none() && sections.iter().any(|section| root.get(section).is_some())
}

/// The kind of a manifest; `None` for other documents.
pub fn kind(root: &Node) -> Option<&str> {
    root.get("api_version")?;
    root.get("kind")?.node.text()
}

/// Scans a manifest.
pub fn scan<'a>(manifest: &'a Document, inventory: &mut Inventory<'a>) {
    let place = manifest.root_ref();
    let Some(spec) = place.get("spec") else { return };
    let namespace = place.at(&["metadata", "namespace"]).and_then(|name| name.text()).unwrap_or_default();
    match kind(&manifest.root) {
        Some("EnvoyFilter") => envoy_filter(&spec, namespace, inventory),
        Some("WasmPlugin") => inventory.plugins.extend(wasm_plugin(&spec, &place, namespace)),
        Some("EnvoyPatchPolicy") => envoy_patch_policy(&spec, inventory),
        Some("EnvoyExtensionPolicy") => {
            let plugins = spec.get("wasm");
            let plugins = plugins.iter().flat_map(NodeRef::items);
            inventory.plugins.extend(plugins.filter_map(|plugin| extension_policy(&spec, &plugin)));
        }
        Some("EnvoyProxy") => {
            if let Some(bootstrap) = spec.get("bootstrap") {
                inventory.scan(&bootstrap, &Scope::default());
            }
        }
        _ => {}
    }
}

fn envoy_filter<'a>(spec: &NodeRef<'a>, namespace: &str, inventory: &mut Inventory<'a>) {
    let patches = spec.get("config_patches");
    for patch in patches.iter().flat_map(NodeRef::items) {
        let change = patch.get("patch");
        let Some(value) = change.as_ref().and_then(|change| change.get("value")) else { continue };
        if patch.text_of("apply_to") == Some("CLUSTER") {
            inventory.add_cluster(&value);
        }
        let condition = patch.get("match");
        let context = condition.as_ref().and_then(|condition| condition.text_of("context"));
        let listener = condition.as_ref().and_then(|condition| condition.get("listener"));
        let port = listener.as_ref().and_then(|listener| listener.text_of("port_number"));
        let selected =
            selection(namespace, spec.get("workload_selector").or_else(|| spec.get("target_refs")));
        let traffic = |kind: &str| TrafficPath {
            through: format!("{kind} {} {selected}", port.unwrap_or_default()),
            context: context.filter(|context| *context != "ANY").map(str::to_owned),
        };
        let scope = Scope::for_traffic(traffic("http"), traffic("tcp"));
        inventory.scan(&value, &scope);
    }
}

fn wasm_plugin<'a>(spec: &NodeRef<'a>, manifest: &NodeRef<'a>, namespace: &str) -> Option<Plugin<'a>> {
    let name = manifest.at(&["metadata", "name"]).and_then(|name| name.text()).unwrap_or_default();
    let attach = match spec.text_of("type") {
        Some("NETWORK") => AttachPoint::NetworkFilter,
        _ => AttachPoint::HttpFilter,
    };
    let module = ModuleKind::identify(spec.text_of("url"), name, Some(attach))?;
    let strategy = spec.get("fail_strategy");
    let policy = match strategy.as_ref().and_then(NodeRef::text) {
        Some("FAIL_OPEN") => FailurePolicy::Open,
        Some("FAIL_RELOAD") => FailurePolicy::Reload,
        _ => FailurePolicy::Closed,
    };
    let selected = selection(namespace, spec.get("selector").or_else(|| spec.get("target_refs")));
    let kind = if attach == AttachPoint::HttpFilter { "http" } else { "tcp" };
    Some(Plugin {
        name: name.to_owned(),
        module,
        attach_point: attach,
        // Istio sets none.
        vm_id: VmId::Configured(String::new()),
        configuration: spec.get("plugin_config").map_or(Configuration::None, Configuration::Struct),
        failure: FailureHandling {
            policy,
            place: strategy.unwrap_or_else(|| spec.clone()),
            remedy: "set failStrategy: FAIL_RELOAD (Istio 1.25 or later), which replaces the VM",
        },
        traffic: Some(TrafficPath { through: format!("{kind}  {selected}"), context: None }),
        remote_code: None,
        counts_grpc_messages: None,
        capabilities: None,
        place: spec.clone(),
    })
}

fn extension_policy<'a>(spec: &NodeRef<'a>, plugin: &NodeRef<'a>) -> Option<Plugin<'a>> {
    let code = plugin.get("code")?;
    let url = ["http", "image"].iter().find_map(|kind| code.get(kind)?.text_of("url"));
    let name = plugin.text_of("name").unwrap_or_default();
    let module = ModuleKind::identify(url, name, Some(AttachPoint::HttpFilter))?;
    let targets = spec.get("target_refs").or_else(|| spec.get("target_ref"));
    Some(Plugin {
        name: name.to_owned(),
        module,
        attach_point: AttachPoint::HttpFilter,
        vm_id: VmId::Generated,
        configuration: plugin.get("config").map_or(Configuration::None, Configuration::Struct),
        failure: FailureHandling {
            policy: if is_true(plugin, "fail_open") {
                FailurePolicy::FailOpen
            } else {
                FailurePolicy::Closed
            },
            place: plugin.get("fail_open").unwrap_or_else(|| plugin.clone()),
            remedy: "set failOpen: true, or attach it by an EnvoyPatchPolicy with failure_policy: FAIL_RELOAD",
        },
        traffic: targets.map(|targets| TrafficPath { through: written(&targets), context: None }),
        remote_code: None,
        counts_grpc_messages: None,
        capabilities: None,
        place: plugin.clone(),
    })
}

fn envoy_patch_policy<'a>(spec: &NodeRef<'a>, inventory: &mut Inventory<'a>) {
    let patches = spec.get("json_patches");
    for patch in patches.iter().flat_map(NodeRef::items) {
        let kind = patch.text_of("type").unwrap_or_default();
        let Some(value) = patch.at(&["operation", "value"]) else { continue };
        if kind.ends_with("envoy.config.cluster.v3.Cluster") {
            inventory.add_cluster(&value);
        }
        let traffic =
            TrafficPath { through: patch.text_of("name").unwrap_or_default().to_owned(), context: None };
        let scope = Scope::for_traffic(traffic.clone(), traffic);
        inventory.scan(&value, &scope);
    }
}

/// Parses the text of `spec.bootstrap.value` in a manifest.
fn with_bootstrap(mut root: Node) -> Result<Node, YamlError> {
    let value = ["spec", "bootstrap", "value"].iter().try_fold(&mut root, |node, key| node.get_mut(key));
    if let Some(node) = value
        && matches!(&node.value, Value::Scalar(scalar) if scalar.style != Style::Plain)
    {
        *node = embedded(node)?;
    }
    Ok(root)
}

fn label(root: &Node) -> Option<String> {
    let name = root.get("metadata").and_then(|metadata| metadata.node.get("name"));
    let name = name.and_then(|name| name.node.text()).unwrap_or("(unnamed)");
    Some(format!("{} {name}", kind(root)?))
}

fn selection(namespace: &str, selector: Option<NodeRef<'_>>) -> String {
    format!("{namespace} {}", selector.as_ref().map(written).unwrap_or_default())
}

fn written(place: &NodeRef<'_>) -> String {
    to_json(place.node, Dialect::Json).to_string()
}
