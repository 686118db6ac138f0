//! Finds plugins and clusters in Kubernetes manifests: EnvoyFilter and WasmPlugin of Istio; EnvoyProxy,
//! EnvoyPatchPolicy and EnvoyExtensionPolicy of Envoy Gateway; and Envoy configurations in a ConfigMap.

use saphyr_parser::ScalarStyle;

use crate::envoy::{Inventory, Scope};
use crate::plugin::{
    Configuration, ConfiguredPlugin, ExtensionPoint, FailureHandling, FailurePolicy, ModuleKind, TrafficPath,
};
use crate::yaml::json::{Dialect, to_json};
use crate::yaml::node_ref::{Document, NodeRef};
use crate::yaml::{Node, YamlError, YamlValue, embedded};

/// Returns the documents that one YAML document of a file contains. A manifest is labelled by kind and name.
/// YAML text in an EnvoyProxy becomes part of the manifest; each bootstrap in a ConfigMap becomes a document.
///
/// # Errors
/// A manifest contains text that should be YAML but is not.
pub fn documents(file: &str, root: Node) -> Result<Vec<Document>, YamlError> {
    let document = |label: String, dialect, root| Document { file: file.to_owned(), label, dialect, root };
    let Some(kind) = kind(&root) else {
        return Ok(vec![document(String::new(), Dialect::of_file(file), root)]);
    };
    let label = format!("{kind} {}", root.get("metadata.name").and_then(Node::text).unwrap_or("(unnamed)"));
    match kind {
        "ConfigMap" => {
            let files = root.get("data").map(Node::entries).unwrap_or_default();
            let envoys = files.iter().filter_map(|(name, text)| {
                let inner = embedded(text).ok().filter(is_bootstrap)?;
                Some(document(format!("{label}: {name}"), Dialect::of_file(name), inner))
            });
            Ok(envoys.collect())
        }
        // Envoy Gateway passes the bootstrap to Envoy as YAML.
        "EnvoyProxy" => Ok(vec![document(label, Dialect::Envoy, with_bootstrap(root)?)]),
        _ => Ok(vec![document(label, Dialect::Json, root)]),
    }
}

/// Returns whether a document is a bootstrap of Envoy.
pub fn is_bootstrap(root: &Node) -> bool {
    let sections = ["static_resources", "dynamic_resources", "bootstrap_extensions", "admin", "stats_sinks"];
    kind(root).is_none() && sections.iter().any(|section| root.get(section).is_some())
}

/// Returns the `kind` of a Kubernetes manifest; `None` for other documents.
pub fn kind(root: &Node) -> Option<&str> {
    root.get("api_version")?;
    root.get("kind")?.text()
}

/// Adds the plugins and clusters of a manifest to the inventory.
pub fn scan<'a>(manifest: &'a Document, inventory: &mut Inventory<'a>) {
    let Some(spec) = manifest.root_ref().get("spec") else { return };
    match kind(&manifest.root) {
        Some("EnvoyFilter") => envoy_filter(&spec, inventory),
        Some("WasmPlugin") => inventory.plugins.extend(wasm_plugin(&spec)),
        Some("EnvoyPatchPolicy") => envoy_patch_policy(&spec, inventory),
        Some("EnvoyExtensionPolicy") => {
            let plugins = spec.items_of("wasm");
            inventory.plugins.extend(plugins.filter_map(|plugin| extension_policy(&spec, &plugin)));
        }
        Some("EnvoyProxy") => {
            spec.get("bootstrap").iter().for_each(|place| inventory.scan(place, &Scope::default()));
        }
        _ => {}
    }
}

fn envoy_filter<'a>(spec: &NodeRef<'a>, inventory: &mut Inventory<'a>) {
    for patch in spec.items_of("config_patches") {
        let Some(value) = patch.get("patch.value") else { continue };
        if patch.text_of("apply_to") == Some("CLUSTER") {
            inventory.add_cluster(&value);
        }
        let context = patch.text_of("match.context").filter(|context| *context != "ANY");
        let port = patch.text_of("match.listener.port_number").unwrap_or_default();
        let selected = selection(spec, "workload_selector");
        let traffic = |kind: &str| TrafficPath {
            through: format!("{kind} {port} {selected}"),
            context: context.map(str::to_owned),
        };
        inventory.scan(&value, &Scope::for_traffic(traffic("http"), traffic("tcp")));
    }
}

fn wasm_plugin<'a>(spec: &NodeRef<'a>) -> Option<ConfiguredPlugin<'a>> {
    let name = spec.document.root.get("metadata.name").and_then(Node::text).unwrap_or_default();
    let (extension_point, kind) = match spec.text_of("type") {
        Some("NETWORK") => (ExtensionPoint::NetworkFilter, "tcp"),
        _ => (ExtensionPoint::HttpFilter, "http"),
    };
    Some(ConfiguredPlugin {
        module: ModuleKind::identify(spec.text_of("url"), name, Some(extension_point))?,
        extension_point,
        // Istio sets no `vm_id`.
        vm_id: Some(String::new()),
        configuration: spec.get("plugin_config").map_or(Configuration::None, Configuration::Struct),
        failure: FailureHandling {
            policy: FailurePolicy::named(spec.text_of("fail_strategy")),
            place: spec.get("fail_strategy").unwrap_or_else(|| spec.clone()),
            remedy: "set failStrategy: FAIL_RELOAD (Istio 1.25 or later), which replaces the VM",
        },
        traffic: Some(TrafficPath {
            through: format!("{kind}  {}", selection(spec, "selector")),
            context: None,
        }),
        counts_grpc_messages: None,
        place: spec.clone(),
    })
}

fn extension_policy<'a>(spec: &NodeRef<'a>, plugin: &NodeRef<'a>) -> Option<ConfiguredPlugin<'a>> {
    let url = ["code.http.url", "code.image.url"].iter().find_map(|path| plugin.text_of(path));
    let name = plugin.text_of("name").unwrap_or_default();
    let extension_point = ExtensionPoint::HttpFilter;
    let targets = spec.get("target_refs").or_else(|| spec.get("target_ref"));
    let is_open = plugin.is_true("fail_open");
    Some(ConfiguredPlugin {
        module: ModuleKind::identify(url, name, Some(extension_point))?,
        extension_point,
        vm_id: None,
        configuration: plugin.get("config").map_or(Configuration::None, Configuration::Struct),
        failure: FailureHandling {
            policy: if is_open { FailurePolicy::FailOpen } else { FailurePolicy::Closed },
            place: plugin.get("fail_open").unwrap_or_else(|| plugin.clone()),
            remedy: "set failOpen: true, or attach it by an EnvoyPatchPolicy with failure_policy: \
                     FAIL_RELOAD",
        },
        traffic: targets.map(|targets| TrafficPath { through: json_text(&targets), context: None }),
        counts_grpc_messages: None,
        place: plugin.clone(),
    })
}

fn envoy_patch_policy<'a>(spec: &NodeRef<'a>, inventory: &mut Inventory<'a>) {
    for patch in spec.items_of("json_patches") {
        let Some(value) = patch.get("operation.value") else { continue };
        let kind = patch.text_of("type").unwrap_or_default();
        if kind.ends_with("envoy.config.cluster.v3.Cluster") {
            inventory.add_cluster(&value);
        }
        let through = patch.text_of("name").unwrap_or_default().to_owned();
        let traffic = TrafficPath { through, context: None };
        inventory.scan(&value, &Scope::for_traffic(traffic.clone(), traffic));
    }
}

/// Parses the text of `spec.bootstrap.value` in a manifest.
fn with_bootstrap(mut root: Node) -> Result<Node, YamlError> {
    let value = ["spec", "bootstrap", "value"].iter().try_fold(&mut root, |node, key| node.get_mut(key));
    if let Some(node) = value
        && matches!(&node.value, YamlValue::Scalar(_, style) if *style != ScalarStyle::Plain)
    {
        *node = embedded(node)?;
    }
    Ok(root)
}

/// Returns a text that identifies the proxies that an Istio manifest selects. The text consists of the
/// namespace, and the labels or target references.
fn selection(spec: &NodeRef<'_>, labels: &str) -> String {
    let namespace = spec.document.root.get("metadata.namespace").and_then(Node::text).unwrap_or_default();
    let selector = spec.get(labels).or_else(|| spec.get("target_refs"));
    format!("{namespace} {}", selector.as_ref().map(json_text).unwrap_or_default())
}

fn json_text(place: &NodeRef<'_>) -> String {
    to_json(place.node, Dialect::Json).to_string()
}
