//! Modules where they cannot work, and requests that would be counted twice.

use tributary_plan::config::{Role as WorkerRole, WorkerConfig};
use tributary_plan::plan::Streams;

use crate::finding::{Finding, Rule};
use crate::plugin::{Attach, Configuration, Plugin, Role};

/// Whether the module works where it is attached.
pub(super) fn judge(plugin: &Plugin<'_>) -> Vec<Finding> {
    let place = &plugin.place;
    let mut findings = Vec::new();
    match (plugin.role, plugin.attach) {
        (Role::Worker, Attach::Bootstrap { .. } | Attach::StatSink) => findings.push(Finding::error(
            place,
            Rule::Attachment,
            "worker_filter.wasm sees no requests here; attach it as an HTTP filter, a network filter or an access logger, \
             and service.wasm here",
        )),
        (Role::Service, Attach::HttpFilter | Attach::NetworkFilter | Attach::AccessLogger { .. }) => {
            findings.push(Finding::error(
                place,
                Rule::Attachment,
                "service.wasm would run once per worker here, and add nothing up; make it a bootstrap extension \
                 (envoy.bootstrap.wasm, in Istio an EnvoyFilter with applyTo: BOOTSTRAP, in Envoy Gateway \
                 EnvoyProxy.spec.bootstrap), and attach worker_filter.wasm here",
            ));
        }
        (Role::Service, Attach::Bootstrap { singleton: false }) => findings.push(Finding::error(
            place,
            Rule::Attachment,
            "the service runs on every worker, and the last one takes the queues of all others; set singleton: true beside \
             config",
        )),
        _ => {}
    }
    if let (Role::Service, Attach::Bootstrap { .. }, Some(remote)) =
        (plugin.role, plugin.attach, &plugin.remote_code)
    {
        findings.push(Finding::warning(
            remote,
            Rule::Attachment,
            "Envoy calls remote code of a bootstrap extension unstable, and does not start without it; give the service as a \
             local file",
        ));
    }
    findings
}

/// Whether the worker measures the streams that pass where it is attached: a filter of the other kind counts what it knows nothing of.
pub(super) fn streams(plugin: &Plugin<'_>, config: &WorkerConfig) -> Option<Finding> {
    let plan = &config.plan;
    let is_logger = matches!(plugin.attach, Attach::AccessLogger { .. });
    let under_way = plan.in_flight || !plan.rules.is_empty() || plan.tap.is_some();
    let message = match (plugin.attach, plan.streams) {
        (Attach::HttpFilter, _) if config.role == WorkerRole::Console => return None,
        (_, _) if config.role == WorkerRole::Console => {
            "a console answers requests, which it can only as an HTTP filter; attach it as one, on a listener of its own"
        }
        (Attach::NetworkFilter, _) if config.role == WorkerRole::LogStream => return None,
        (_, _) if config.role == WorkerRole::LogStream => {
            "a log stream comes over connections; attach the worker as a network filter (envoy.filters.network.wasm) to the \
             internal listener that Envoy's fluentd access logger sends to, as envoy/log_stream.yaml does"
        }
        (Attach::AccessLogger { .. }, _) if under_way => {
            "an access logger is called when a stream has ended, and in_flight, headers and tap are about streams under way; \
             attach it as a filter, or leave them out"
        }
        (Attach::HttpFilter, Streams::Tcp) => {
            "an HTTP filter sees requests, but this configuration measures TCP connections; attach it as a network filter \
             (envoy.filters.network.wasm) or as an access logger of tcp_proxy, or choose another preset"
        }
        (Attach::NetworkFilter, Streams::Http) => {
            "a network filter sees TCP connections, but this configuration measures HTTP requests; set preset: tcp, or attach \
             it as an HTTP filter"
        }
        (Attach::AccessLogger { streams: Some(Streams::Http) }, Streams::Tcp) => {
            "requests are logged here, but this configuration measures TCP connections; make it an access logger of tcp_proxy or \
             of a listener, or choose another preset"
        }
        (Attach::AccessLogger { streams: Some(Streams::Tcp) }, Streams::Http) => {
            "TCP connections are logged here, but this configuration measures HTTP requests; set preset: tcp, or make it an \
             access logger of the connection manager"
        }
        _ => return None,
    };
    let place = match &plugin.configuration {
        Configuration::Struct(value) if !(under_way && is_logger) => value.nearest("preset"),
        Configuration::Struct(value) => value.clone(),
        _ => plugin.place.clone(),
    };
    Some(Finding::error(&place, Rule::Attachment, message))
}

/// Whether the messages that a worker is to count are counted by Envoy.
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
        "no message will be counted: grpc_messages takes what Envoy's filter envoy.filters.http.grpc_stats counts; add it to \
         http_filters, before the router, with emit_filter_state: true",
    ))
}

/// Workers that the same requests pass.
pub(super) fn counted_twice(plugins: &[Plugin<'_>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut seen: Vec<&Plugin<'_>> = Vec::new();
    for plugin in plugins.iter().filter(|plugin| plugin.role == Role::Worker) {
        let Some(way) = &plugin.way else { continue };
        let before = seen.iter().find(|other| other.way.as_ref().is_some_and(|other| other.overlaps(way)));
        if let Some(before) = before {
            let (file, at) = (&before.place.document.file, before.place.position());
            findings.push(Finding::error(
                &plugin.place,
                Rule::CountedTwice,
                format!(
                    "every request that passes here is counted at {file}:{at} already; attach the worker once, as a filter \
                     or as an access logger"
                ),
            ));
        }
        seen.push(plugin);
    }
    findings
}
