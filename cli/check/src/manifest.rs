//! What there is of ours in manifests of Kubernetes: Istio's EnvoyFilter and WasmPlugin; Envoy Gateway's EnvoyProxy,
//! EnvoyPatchPolicy and EnvoyExtensionPolicy; and an Envoy configuration in a ConfigMap.

use crate::envoy::{Around, Found, is_true};
use crate::plugin::{Attach, Configuration, Failure, Plugin, Policy, Role, VmId, Way};
use crate::yaml::json::{Dialect, to_json};
use crate::yaml::place::{Document, Place};
use crate::yaml::{Node, Style, Unreadable, Value, embedded};

/// Takes a document of a file for what it is: a manifest is told by its kind and name, and the YAML that a manifest holds as
/// text becomes part of it, or a document of its own.
///
/// # Errors
/// A manifest holds text that should be YAML and is not.
pub fn documents(file: &str, root: Node) -> Result<Vec<Document>, Unreadable> {
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
        // Envoy Gateway hands the bootstrap to Envoy as YAML.
        Some("EnvoyProxy") => Ok(vec![document(label, Dialect::Envoy, with_bootstrap(root)?)]),
        _ => Ok(vec![document(label, Dialect::Json, root)]),
    }
}

/// Whether a document is a whole configuration of an Envoy.
pub fn is_bootstrap(root: &Node) -> bool {
    let sections = ["static_resources", "dynamic_resources", "bootstrap_extensions", "admin", "stats_sinks"];
    kind(root).is_none() && sections.iter().any(|section| root.get(section).is_some())
}

/// The kind of a manifest; none for anything else.
pub fn kind(root: &Node) -> Option<&str> {
    root.get("api_version")?;
    root.get("kind")?.node.text()
}

/// Looks into a manifest.
pub fn look_into<'a>(manifest: &'a Document, found: &mut Found<'a>) {
    let place = manifest.place();
    let Some(spec) = place.get("spec") else { return };
    let namespace = place.at(&["metadata", "namespace"]).and_then(|name| name.text()).unwrap_or_default();
    match kind(&manifest.root) {
        Some("EnvoyFilter") => envoy_filter(&spec, namespace, found),
        Some("WasmPlugin") => found.plugins.extend(wasm_plugin(&spec, &place, namespace)),
        Some("EnvoyPatchPolicy") => envoy_patch_policy(&spec, found),
        Some("EnvoyExtensionPolicy") => {
            let plugins = spec.get("wasm");
            let plugins = plugins.iter().flat_map(Place::items);
            found.plugins.extend(plugins.filter_map(|plugin| extension_policy(&spec, &plugin)));
        }
        Some("EnvoyProxy") => {
            if let Some(bootstrap) = spec.get("bootstrap") {
                found.look_into(&bootstrap, &Around::default());
            }
        }
        _ => {}
    }
}

fn envoy_filter<'a>(spec: &Place<'a>, namespace: &str, found: &mut Found<'a>) {
    let patches = spec.get("config_patches");
    for patch in patches.iter().flat_map(Place::items) {
        let change = patch.get("patch");
        let Some(value) = change.as_ref().and_then(|change| change.get("value")) else { continue };
        if patch.text_of("apply_to") == Some("CLUSTER") {
            found.add_cluster(&value);
        }
        let condition = patch.get("match");
        let context = condition.as_ref().and_then(|condition| condition.text_of("context"));
        let listener = condition.as_ref().and_then(|condition| condition.get("listener"));
        let port = listener.as_ref().and_then(|listener| listener.text_of("port_number"));
        let selected =
            selection(namespace, spec.get("workload_selector").or_else(|| spec.get("target_refs")));
        let way = |kind: &str| Way {
            through: format!("{kind} {} {selected}", port.unwrap_or_default()),
            context: context.filter(|context| *context != "ANY").map(str::to_owned),
        };
        let around = Around::on(way("http"), way("tcp"));
        found.look_into(&value, &around);
    }
}

fn wasm_plugin<'a>(spec: &Place<'a>, manifest: &Place<'a>, namespace: &str) -> Option<Plugin<'a>> {
    let name = manifest.at(&["metadata", "name"]).and_then(|name| name.text()).unwrap_or_default();
    let attach = match spec.text_of("type") {
        Some("NETWORK") => Attach::NetworkFilter,
        _ => Attach::HttpFilter,
    };
    let role = Role::of(spec.text_of("url"), name, Some(attach))?;
    let strategy = spec.get("fail_strategy");
    let policy = match strategy.as_ref().and_then(Place::text) {
        Some("FAIL_OPEN") => Policy::Open,
        Some("FAIL_RELOAD") => Policy::Reload,
        _ => Policy::Closed,
    };
    let selected = selection(namespace, spec.get("selector").or_else(|| spec.get("target_refs")));
    let kind = if attach == Attach::HttpFilter { "http" } else { "tcp" };
    Some(Plugin {
        name: name.to_owned(),
        role,
        only_measures: Role::only_measures(spec.text_of("url")),
        attach,
        // Istio writes none.
        vm_id: VmId::Written(String::new()),
        configuration: spec.get("plugin_config").map_or(Configuration::None, Configuration::Struct),
        failure: Failure {
            policy,
            place: strategy.unwrap_or_else(|| spec.clone()),
            remedy: "set failStrategy: FAIL_RELOAD (Istio 1.25 or later), which makes the VM anew",
        },
        way: Some(Way { through: format!("{kind}  {selected}"), context: None }),
        remote_code: None,
        counts_grpc_messages: None,
        capabilities: None,
        place: spec.clone(),
    })
}

fn extension_policy<'a>(spec: &Place<'a>, plugin: &Place<'a>) -> Option<Plugin<'a>> {
    let code = plugin.get("code")?;
    let url = ["http", "image"].iter().find_map(|kind| code.get(kind)?.text_of("url"));
    let name = plugin.text_of("name").unwrap_or_default();
    let role = Role::of(url, name, Some(Attach::HttpFilter))?;
    let targets = spec.get("target_refs").or_else(|| spec.get("target_ref"));
    Some(Plugin {
        name: name.to_owned(),
        role,
        only_measures: Role::only_measures(url),
        attach: Attach::HttpFilter,
        vm_id: VmId::OfPolicy,
        configuration: plugin.get("config").map_or(Configuration::None, Configuration::Struct),
        failure: Failure {
            policy: if is_true(plugin, "fail_open") { Policy::FailOpen } else { Policy::Closed },
            place: plugin.get("fail_open").unwrap_or_else(|| plugin.clone()),
            remedy: "set failOpen: true, or attach it by an EnvoyPatchPolicy with failure_policy: FAIL_RELOAD",
        },
        way: targets.map(|targets| Way { through: written(&targets), context: None }),
        remote_code: None,
        counts_grpc_messages: None,
        capabilities: None,
        place: plugin.clone(),
    })
}

fn envoy_patch_policy<'a>(spec: &Place<'a>, found: &mut Found<'a>) {
    let patches = spec.get("json_patches");
    for patch in patches.iter().flat_map(Place::items) {
        let kind = patch.text_of("type").unwrap_or_default();
        let Some(value) = patch.at(&["operation", "value"]) else { continue };
        if kind.ends_with("envoy.config.cluster.v3.Cluster") {
            found.add_cluster(&value);
        }
        let way = Way { through: patch.text_of("name").unwrap_or_default().to_owned(), context: None };
        let around = Around::on(way.clone(), way);
        found.look_into(&value, &around);
    }
}

/// The manifest with the text of `spec.bootstrap.value` taken apart.
fn with_bootstrap(mut root: Node) -> Result<Node, Unreadable> {
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
    let name = name.and_then(|name| name.node.text()).unwrap_or("without a name");
    Some(format!("{} {name}", kind(root)?))
}

fn selection(namespace: &str, selector: Option<Place<'_>>) -> String {
    format!("{namespace} {}", selector.as_ref().map(written).unwrap_or_default())
}

fn written(place: &Place<'_>) -> String {
    to_json(place.node, Dialect::Json).to_string()
}
