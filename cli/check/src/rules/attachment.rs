//! Modules at attach points where they do not work, and requests that would be counted twice.

use tributary_plan::config::WorkerConfig;
use tributary_plan::plan::Streams;

use crate::finding::{Finding, Rule};
use crate::plugin::{AttachPoint, Configuration, ModuleKind, Plugin};

/// Judges whether the module works at its attach point.
pub(super) fn judge(plugin: &Plugin<'_>) -> Vec<Finding> {
    let place = &plugin.place;
    let mut findings = Vec::new();
    match (plugin.module, plugin.attach_point) {
        (ModuleKind::Worker | ModuleKind::FullWorker, AttachPoint::Bootstrap { .. } | AttachPoint::StatSink) => {
            findings.push(Finding::error(
                place,
                Rule::Attachment,
                "worker_filter.wasm sees no requests here; attach it as an HTTP filter, a network filter or an access \
                 logger, and attach service.wasm here",
            ));
        }
        (
            ModuleKind::Console,
            AttachPoint::NetworkFilter
            | AttachPoint::AccessLogger { .. }
            | AttachPoint::Bootstrap { .. }
            | AttachPoint::StatSink,
        ) => findings.push(Finding::error(
            place,
            Rule::Attachment,
            "console.wasm responds to HTTP requests; attach it as an HTTP filter of a separate listener",
        )),
        (
            ModuleKind::Service,
            AttachPoint::HttpFilter | AttachPoint::NetworkFilter | AttachPoint::AccessLogger { .. },
        ) => {
            findings.push(Finding::error(
                place,
                Rule::Attachment,
                "service.wasm would run once per worker here and aggregate nothing; attach it as a bootstrap extension \
                 (envoy.bootstrap.wasm, in Istio an EnvoyFilter with applyTo: BOOTSTRAP, in Envoy Gateway \
                 EnvoyProxy.spec.bootstrap), and attach worker_filter.wasm here",
            ));
        }
        (ModuleKind::Service, AttachPoint::Bootstrap { singleton: false }) => findings.push(Finding::error(
            place,
            Rule::Attachment,
            "the service runs on every worker, and only the one that starts last gets batches; set singleton: true \
             beside config",
        )),
        _ => {}
    }
    if let (ModuleKind::Service, AttachPoint::Bootstrap { .. }, Some(remote)) =
        (plugin.module, plugin.attach_point, &plugin.remote_code)
    {
        findings.push(Finding::warning(
            remote,
            Rule::Attachment,
            "Envoy does not start if it cannot fetch the remote code of a bootstrap extension, a feature that Envoy \
             documents as unstable; use a local file for the service",
        ));
    }
    findings
}

/// Judges whether the worker measures the kind of streams that pass its attach point.
pub(super) fn streams(plugin: &Plugin<'_>, config: &WorkerConfig) -> Option<Finding> {
    let plan = &config.plan;
    let is_logger = matches!(plugin.attach_point, AttachPoint::AccessLogger { .. });
    let needs_open_streams = plan.in_flight || !plan.rules.is_empty() || plan.tap.is_some();
    let message = match (plugin.attach_point, plan.streams) {
        (AttachPoint::NetworkFilter, _) if config.log_stream => return None,
        (_, _) if config.log_stream => {
            "a log stream arrives over connections; attach the worker as a network filter (envoy.filters.network.wasm) of the \
             internal listener that Envoy's fluentd access logger sends to, as in envoy/log_stream.yaml"
        }
        (AttachPoint::AccessLogger { .. }, _) if needs_open_streams => {
            "an access logger runs after a stream has ended, but in_flight, headers and tap need open streams; attach the worker \
             as a filter, or remove these keys"
        }
        (AttachPoint::HttpFilter, Streams::Tcp) => {
            "an HTTP filter sees requests, but this configuration measures TCP connections; attach it as a network filter \
             (envoy.filters.network.wasm) or as an access logger of tcp_proxy, or use another preset"
        }
        (AttachPoint::NetworkFilter, Streams::Http) => {
            "a network filter sees TCP connections, but this configuration measures HTTP requests; set preset: tcp, or attach \
             it as an HTTP filter"
        }
        (AttachPoint::AccessLogger { streams: Some(Streams::Http) }, Streams::Tcp) => {
            "Envoy logs HTTP requests here, but this configuration measures TCP connections; attach it as an access logger of \
             tcp_proxy or of a listener, or use another preset"
        }
        (AttachPoint::AccessLogger { streams: Some(Streams::Tcp) }, Streams::Http) => {
            "Envoy logs TCP connections here, but this configuration measures HTTP requests; set preset: tcp, or attach it as \
             an access logger of the connection manager"
        }
        _ => return None,
    };
    let place = match &plugin.configuration {
        Configuration::Struct(value) if !(needs_open_streams && is_logger) => value.nearest("preset"),
        Configuration::Struct(value) => value.clone(),
        _ => plugin.place.clone(),
    };
    Some(Finding::error(&place, Rule::Attachment, message))
}

/// Judges whether Envoy counts the gRPC messages that a worker exports.
pub(super) fn grpc_messages(plugin: &Plugin<'_>, config: &WorkerConfig) -> Option<Finding> {
    if !config.plan.counts_grpc_messages() || plugin.counts_grpc_messages != Some(false) {
        return None;
    }
    let place = match &plugin.configuration {
        Configuration::Struct(value) => value.nearest("grpc_messages"),
        _ => plugin.place.clone(),
    };
    Some(Finding::warning(
        &place,
        Rule::Attachment,
        "no message will be counted: grpc_messages reads the counts of Envoy's filter envoy.filters.http.grpc_stats; add this \
         filter to http_filters, before the router, with emit_filter_state: true",
    ))
}

/// Judges whether the same requests pass several workers.
pub(super) fn counted_twice(plugins: &[Plugin<'_>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut seen: Vec<&Plugin<'_>> = Vec::new();
    for plugin in plugins.iter().filter(|plugin| plugin.module.is_worker()) {
        let Some(traffic) = &plugin.traffic else { continue };
        let before =
            seen.iter().find(|other| other.traffic.as_ref().is_some_and(|other| other.overlaps(traffic)));
        if let Some(before) = before {
            let (file, at) = (&before.place.document.file, before.place.position());
            findings.push(Finding::error(
                &plugin.place,
                Rule::CountedTwice,
                format!(
                    "every request here is already counted at {file}:{at}; attach the worker once, as a filter or as an \
                     access logger"
                ),
            ));
        }
        seen.push(plugin);
    }
    findings
}
