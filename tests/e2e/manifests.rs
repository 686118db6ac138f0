//! The manifests for Istio and Envoy Gateway, applied to the configuration of a real Envoy.
//!
//! The control planes do not run here. This applies manifests as their sources do: EnvoyFilter patches and
//! bootstraps are merged as protobuf (lists are appended), a WasmPlugin and an EnvoyExtensionPolicy become a
//! filter.

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};
use tributary_check::command::{self, Report};
use tributary_check::finding::{Rule, Severity};
use tributary_tests::config::EnvoyConfig;
use tributary_tests::envoy::{Envoy, EnvoyOptions};
use tributary_tests::load::{Load, Mix, Shape};
use tributary_tests::repository;
use tributary_tests::scene::{COUNTER, DURATION, Scene};
use tributary_tests::sink::{Sink, Store};
use tributary_tests::upstream::Upstream;

const REQUESTS: u64 = 1_000;
/// The directory of the modules in the manifests.
const MODULES: &str = "/var/local/tributary/";
const ISTIO_COLLECTOR: &str = "outbound|4318||otel-collector.observability.svc.cluster.local";

fn read(file: &str) -> Result<(String, String)> {
    let path = repository::root().join("envoy").join(file);
    Ok((file.to_owned(), std::fs::read_to_string(&path).with_context(|| path.display().to_string())?))
}

/// Reads the documents of a manifest, with the path of the built modules.
fn documents(file: &str) -> Result<Vec<Value>> {
    let text = read(file)?.1.replace(MODULES, "target/wasm/");
    serde_yaml_ng::Deserializer::from_str(&text).map(|document| Ok(Value::deserialize(document)?)).collect()
}

/// A configuration as made by a control plane: an HTTP and a TCP listener, each with a default filter chain.
fn base() -> Value {
    json!({
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "static_resources": {
            "listeners": [{
                "name": "ingress",
                "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
                "default_filter_chain": {"filters": [{
                    "name": "envoy.filters.network.http_connection_manager",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                        "stat_prefix": "ingress",
                        "route_config": {"virtual_hosts": [{
                            "name": "all",
                            "domains": ["*"],
                            "routes": [{"name": "users", "match": {"prefix": "/"}, "route": {"cluster": "app"}}]
                        }]},
                        "http_filters": [{
                            "name": "envoy.filters.http.router",
                            "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}
                        }]
                    }
                }]}
            }, {
                "name": "tcp",
                "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
                "default_filter_chain": {"filters": [{
                    "name": "envoy.filters.network.tcp_proxy",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
                        "stat_prefix": "tcp",
                        "cluster": "app"
                    }
                }]}
            }],
            "clusters": []
        }
    })
}

/// Merges as protobuf does: messages field by field, lists by appending.
fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (Value::Array(into), Value::Array(from)) => into.extend(from.iter().cloned()),
        (into, from) => *into = from.clone(),
    }
}

/// The HTTP filters of the HTTP listener.
fn http_filters(envoy: &mut Value) -> Result<&mut Vec<Value>> {
    let filters = "/static_resources/listeners/0/default_filter_chain/filters/0/typed_config/http_filters";
    envoy.pointer_mut(filters).and_then(Value::as_array_mut).context("no HTTP filters")
}

fn at<'a>(value: &'a Value, pointer: &str) -> Result<&'a Value> {
    value.pointer(pointer).with_context(|| format!("nothing at {pointer} of {value}"))
}

fn list<'a>(value: &'a Value, pointer: &str) -> Result<&'a Vec<Value>> {
    at(value, pointer)?.as_array().with_context(|| format!("no list at {pointer}"))
}

fn text<'a>(value: &'a Value, pointer: &str) -> Result<&'a str> {
    at(value, pointer)?.as_str().with_context(|| format!("no text at {pointer}"))
}

/// Applies a manifest to a proxy in `context`.
fn apply(envoy: &mut Value, manifest: &Value, context: &str) -> Result<()> {
    match text(manifest, "/kind")? {
        "EnvoyFilter" => {
            let patches = list(manifest, "/spec/configPatches")?;
            patches.iter().try_for_each(|patch| apply_patch(envoy, patch, context))
        }
        "WasmPlugin" => {
            let spec = at(manifest, "/spec")?;
            anyhow::ensure!(text(spec, "/url")?.starts_with("oci://"));
            let mut plugin = filter(&spec["pluginConfig"].to_string(), json!(null));
            merge(
                &mut plugin,
                &json!({"typed_config": {"config": {"failure_policy": spec["failStrategy"]}}}),
            );
            http_filters(envoy)?.insert(0, plugin);
            Ok(())
        }
        "EnvoyProxy" => {
            anyhow::ensure!(text(manifest, "/spec/bootstrap/type")? == "Merge");
            let bootstrap: Value = serde_yaml_ng::from_str(text(manifest, "/spec/bootstrap/value")?)?;
            merge(envoy, &bootstrap);
            Ok(())
        }
        "EnvoyPatchPolicy" => {
            let patches = list(manifest, "/spec/jsonPatches")?;
            patches.iter().try_for_each(|patch| {
                anyhow::ensure!(text(patch, "/operation/op")? == "add");
                let (path, index) = text(patch, "/operation/path")?.rsplit_once('/').context("a path")?;
                let listener = envoy.pointer_mut("/static_resources/listeners/0").context("a listener")?;
                let items =
                    listener.pointer_mut(path).and_then(Value::as_array_mut).context("no such list")?;
                items.insert(index.parse()?, at(patch, "/operation/value")?.clone());
                Ok(())
            })
        }
        "EnvoyExtensionPolicy" => {
            for wasm in list(manifest, "/spec/wasm")? {
                let mut plugin = filter(
                    &wasm["config"].to_string(),
                    json!("envoyextensionpolicy/default/tributary/wasm/0"),
                );
                merge(&mut plugin, &json!({"typed_config": {"config": {"fail_open": wasm["failOpen"]}}}));
                http_filters(envoy)?.insert(0, plugin);
            }
            Ok(())
        }
        other => bail!("unknown kind {other}"),
    }
}

fn apply_patch(envoy: &mut Value, patch: &Value, context: &str) -> Result<()> {
    if patch.pointer("/match/context").is_some_and(|wanted| wanted != context && wanted != "ANY") {
        return Ok(());
    }
    let value = at(patch, "/patch/value")?;
    match (text(patch, "/applyTo")?, text(patch, "/patch/operation")?) {
        ("BOOTSTRAP", "MERGE") => merge(envoy, value),
        ("NETWORK_FILTER", "INSERT_BEFORE") => {
            let filters = envoy.pointer_mut("/static_resources/listeners/1/default_filter_chain/filters");
            filters.and_then(Value::as_array_mut).context("filters")?.insert(0, value.clone());
        }
        ("HTTP_FILTER", "INSERT_FIRST") => http_filters(envoy)?.insert(0, value.clone()),
        other => bail!("unknown patch {other:?}"),
    }
    Ok(())
}

/// Returns the filter that the control planes make for a plugin from a registry.
fn filter(configuration: &str, vm_id: Value) -> Value {
    let mut vm_config = json!({
        "runtime": "envoy.wasm.runtime.v8",
        "code": {"local": {"filename": "target/wasm/worker_filter.wasm"}}
    });
    if !vm_id.is_null() {
        merge(&mut vm_config, &json!({"vm_id": vm_id}));
    }
    json!({
        "name": "envoy.filters.http.wasm",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {
                "name": "by_policy",
                "vm_config": vm_config,
                "configuration": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": configuration}
            }
        }
    })
}

/// Starts an Envoy after applying these manifests.
async fn start(files: &[&str], context: &str, collector: &str) -> Result<Scene> {
    let mut envoy = base();
    for file in files {
        for document in documents(file)? {
            apply(&mut envoy, &document, context).with_context(|| (*file).to_owned())?;
        }
    }
    let (upstream, sink) = (Upstream::start(0).await?, Sink::start(0).await?);
    let config = EnvoyConfig::parse(&files.join(" + "), &envoy.to_string())?
        .static_cluster("app", upstream.address())
        .static_cluster(collector, sink.address())
        .free_ports()
        .service("interval", "200ms");
    let envoy = Envoy::start(&config, &EnvoyOptions::workers(2)).await?;
    Ok(Scene { upstream, sink, envoy })
}

/// Sends requests and waits until the collector has each request, also in the shared counter if the worker
/// has one.
async fn counts(scene: &Scene, with_counter: bool) -> Result<()> {
    scene.load(REQUESTS, [Shape::get("users", "/users/1")]).await?;
    let counted = |store: &Store| (store.count(DURATION, &[]), store.sum(COUNTER, &[]));
    let expected = (REQUESTS, if with_counter { REQUESTS } else { 0 });
    scene.sink.wait_until_equal("the requests and the counter", expected, counted).await?;
    assert_eq!(scene.sink.problems(), Vec::<String>::new());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn istio_sidecars_count_requests_and_connections_with_istios_names() -> Result<()> {
    let files = ["istio/service.yaml", "istio/sidecar.yaml"];
    let scene = start(&files, "SIDECAR_INBOUND", ISTIO_COLLECTOR).await?;
    scene.load(REQUESTS, [Shape::get("users", "/users/1")]).await?;
    let query = Shape::get("query", "/").header("connection", "close");
    let tally = Load::new(scene.envoy.listener("tcp")?, 50, Mix::new(1, [query])?).run(|_| ()).await?;
    assert_eq!((tally.failed(), tally.connections), (0, 50));
    let counted = |store: &Store| {
        let requests = store.sum("istio_requests_total", &[("response_code", "200")]);
        (requests, store.sum("istio_tcp_connections_closed_total", &[("request_protocol", "tcp")]))
    };
    scene.sink.wait_until_equal("the requests and connections", (REQUESTS, 50), counted).await
}

#[tokio::test(flavor = "multi_thread")]
async fn istio_gateways_count_requests() -> Result<()> {
    let scene = start(&["istio/service.yaml", "istio/gateway.yaml"], "GATEWAY", ISTIO_COLLECTOR).await?;
    counts(&scene, true).await?;
    let received = scene.sink.received();
    let host = received.first().and_then(|request| request.headers.get("host")).context("a host")?;
    assert_eq!(host.to_str()?, "otel-collector.observability.svc.cluster.local");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_istio_wasm_plugin_counts_requests() -> Result<()> {
    let files = ["istio/service.yaml", "istio/wasm_plugin.yaml"];
    counts(&start(&files, "SIDECAR_INBOUND", ISTIO_COLLECTOR).await?, false).await
}

#[tokio::test(flavor = "multi_thread")]
async fn envoy_gateway_counts_with_a_patch_and_with_an_extension_policy() -> Result<()> {
    let patched = start(&["gateway/proxy.yaml", "gateway/patch_policy.yaml"], "", "otlp_collector").await?;
    counts(&patched, true).await?;
    let extended =
        start(&["gateway/proxy.yaml", "gateway/extension_policy.yaml"], "", "otlp_collector").await?;
    counts(&extended, false).await
}

fn check(files: &[&str]) -> Result<Report> {
    Ok(command::check(&files.iter().map(|file| read(file)).collect::<Result<Vec<_>>>()?))
}

#[test]
fn the_check_finds_in_the_manifests_only_what_their_comments_explain() -> Result<()> {
    for (files, findings) in [
        (&["istio/service.yaml", "istio/sidecar.yaml", "istio/gateway.yaml"][..], &[][..]),
        (&["istio/service.yaml", "istio/wasm_plugin.yaml"], &[]),
        (&["gateway/proxy.yaml", "gateway/patch_policy.yaml"], &[]),
        // An EnvoyExtensionPolicy has no failure policy except failOpen.
        (
            &["gateway/proxy.yaml", "gateway/extension_policy.yaml"],
            &[(Severity::Warning, Rule::FailurePolicy)],
        ),
        // Both count every request.
        (
            &["istio/service.yaml", "istio/sidecar.yaml", "istio/wasm_plugin.yaml"],
            &[(Severity::Error, Rule::CountedTwice)],
        ),
    ] {
        let report = check(files)?;
        let found: Vec<_> = report.findings.iter().map(|finding| (finding.severity, finding.rule)).collect();
        assert_eq!(found, findings, "{files:?}: {}", report.lines());
    }
    Ok(())
}
