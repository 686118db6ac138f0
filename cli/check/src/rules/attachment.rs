//! Finds modules at extension points where they do not work, and requests that would be counted twice.

use tributary_plan::config::WorkerConfig;
use tributary_plan::plan::Streams;

use crate::finding::{Finding, Rule};
use crate::plugin::{Configuration, ConfiguredPlugin, ExtensionPoint, ModuleKind, TrafficPath};
use crate::yaml::node_ref::NodeRef;

/// Judges whether the module works at its extension point.
pub(super) fn judge(plugin: &ConfiguredPlugin<'_>) -> impl Iterator<Item = Finding> {
    let message = match (plugin.module, plugin.extension_point) {
        (ModuleKind::Worker | ModuleKind::FullWorker, point) if point.is_for_services() => Some(
            "worker_filter.wasm sees no requests here; attach it as an HTTP filter, a network filter or an \
             access logger, and attach service.wasm here",
        ),
        (ModuleKind::Console, point) if point != ExtensionPoint::HttpFilter => {
            Some("console.wasm responds to HTTP requests; attach it as an HTTP filter of a separate listener")
        }
        (ModuleKind::Service, ExtensionPoint::Bootstrap { singleton: false }) => Some(
            "the service runs on every worker, and only the one that starts last gets batches; set \
             singleton: true beside config",
        ),
        (ModuleKind::Service, point) if !point.is_for_services() => Some(
            "service.wasm would run once per worker here and aggregate nothing; attach it as a bootstrap \
             extension (envoy.bootstrap.wasm, in Istio an EnvoyFilter with applyTo: BOOTSTRAP, in Envoy \
             Gateway EnvoyProxy.spec.bootstrap), and attach worker_filter.wasm here",
        ),
        _ => None,
    };
    let is_service_in_bootstrap = plugin.module == ModuleKind::Service
        && matches!(plugin.extension_point, ExtensionPoint::Bootstrap { .. });
    let remote = plugin.place.get("vm_config.code.remote").filter(|_| is_service_in_bootstrap);
    let remote = remote.map(|remote| {
        let message = "Envoy does not start if it cannot fetch the remote code of a bootstrap extension, a \
                       feature that Envoy documents as unstable; use a local file for the service";
        Finding::warning(&remote, Rule::Attachment, message)
    });
    message.map(|message| Finding::error(&plugin.place, Rule::Attachment, message)).into_iter().chain(remote)
}

/// Judges whether the worker measures the kind of streams that pass its extension point.
pub(super) fn streams(plugin: &ConfiguredPlugin<'_>, config: &WorkerConfig) -> Option<Finding> {
    let plan = &config.plan;
    let needs_open_streams = plan.in_flight || !plan.rules.is_empty() || plan.tap.is_some();
    let is_logger = matches!(plugin.extension_point, ExtensionPoint::AccessLogger { .. });
    let key = if is_logger && needs_open_streams { "" } else { "preset" };
    let message = match (plugin.extension_point, plan.streams) {
        (ExtensionPoint::NetworkFilter, _) if config.log_stream => return None,
        (_, _) if config.log_stream => {
            "a log stream arrives over connections; attach the worker as a network filter \
             (envoy.filters.network.wasm) of the internal listener that Envoy's fluentd access logger sends \
             to, as in envoy/log_stream.yaml"
        }
        (_, _) if is_logger && needs_open_streams => {
            "an access logger runs after a stream has ended, but in_flight, headers and tap need open \
             streams; attach the worker as a filter, or remove these keys"
        }
        (ExtensionPoint::HttpFilter, Streams::Tcp) => {
            "an HTTP filter sees requests, but this configuration measures TCP connections; attach it as a \
             network filter (envoy.filters.network.wasm) or as an access logger of tcp_proxy, or use \
             another preset"
        }
        (ExtensionPoint::NetworkFilter, Streams::Http) => {
            "a network filter sees TCP connections, but this configuration measures HTTP requests; set \
             preset: tcp, or attach it as an HTTP filter"
        }
        (ExtensionPoint::AccessLogger { streams: Some(Streams::Http) }, Streams::Tcp) => {
            "Envoy logs HTTP requests here, but this configuration measures TCP connections; attach it as \
             an access logger of tcp_proxy or of a listener, or use another preset"
        }
        (ExtensionPoint::AccessLogger { streams: Some(Streams::Tcp) }, Streams::Http) => {
            "Envoy logs TCP connections here, but this configuration measures HTTP requests; set preset: \
             tcp, or attach it as an access logger of the connection manager"
        }
        _ => return None,
    };
    Some(Finding::error(&place_in_struct(plugin, key), Rule::Attachment, message))
}

/// Judges whether Envoy counts the gRPC messages that a worker exports.
pub(super) fn grpc_messages(plugin: &ConfiguredPlugin<'_>, config: &WorkerConfig) -> Option<Finding> {
    let is_uncounted = config.plan.counts_grpc_messages() && plugin.counts_grpc_messages == Some(false);
    let message = "no message will be counted: grpc_messages reads the counts of Envoy's filter \
                   envoy.filters.http.grpc_stats; add this filter to http_filters, before the router, with \
                   emit_filter_state: true";
    let place = place_in_struct(plugin, "grpc_messages");
    is_uncounted.then(|| Finding::warning(&place, Rule::Attachment, message))
}

/// Returns the value of a key in a configuration that is a Struct, or the Struct if the key is absent.
/// Returns the plugin if the configuration is not a Struct.
fn place_in_struct<'a>(plugin: &ConfiguredPlugin<'a>, key: &str) -> NodeRef<'a> {
    match &plugin.configuration {
        Configuration::Struct(value) => value.nearest(key),
        _ => plugin.place.clone(),
    }
}

/// Judges whether the same requests pass several workers.
pub(super) fn counted_twice(plugins: &[ConfiguredPlugin<'_>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut seen: Vec<&ConfiguredPlugin<'_>> = Vec::new();
    for plugin in plugins.iter().filter(|plugin| plugin.module.is_worker()) {
        let Some(traffic) = &plugin.traffic else { continue };
        let overlaps = |other: &TrafficPath| other.overlaps(traffic);
        if let Some(first) = seen.iter().find(|other| other.traffic.as_ref().is_some_and(overlaps)) {
            let (file, at) = (&first.place.document.file, first.place.node.at);
            let message = format!(
                "every request here is already counted at {file}:{at}; attach the worker once, as a filter \
                 or as an access logger"
            );
            findings.push(Finding::error(&plugin.place, Rule::CountedTwice, message));
        }
        seen.push(plugin);
    }
    findings
}
