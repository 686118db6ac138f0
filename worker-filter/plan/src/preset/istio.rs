//! The metrics and labels that Istio's dashboards use (Istio, "Istio Standard Metrics"), with the values that Istio's own stats
//! filter gives them (Envoy contrib, `istio_stats.cc`).
//!
//! Which side of a request a proxy is on is its listener's direction. What is known of the proxy's own workload comes from
//! Envoy's node metadata. What is known of the peer's comes from the map that Istio's peer discovery leaves in the filter state
//! (`downstream_peer`, `upstream_peer`), from its certificate, and, of an upstream, from the metadata of its endpoint; the rest
//! is `unknown`.
//!
//! One value of a stream often serves many labels, and is read once: see [`Facet`].

mod places;

use super::otel::IS_CALL;
use super::{NS_IN_MS, Node, Options, SIZE_BOUNDS};
use crate::form::Form;
use crate::plan::{Part, Plan, Side, Streams, Value};
use crate::source::Source;
use crate::workload::{Facet, NAMESPACE_PLACE};

/// Milliseconds.
const MILLISECONDS: (&str, u64) = ("milliseconds", NS_IN_MS);

/// What is said of one thing on both sides.
type Row = (&'static str, Option<usize>, &'static str, &'static str, [&'static str; 2]);

/// What is said of each side: the key in a peer's map, the place in an endpoint's metadata, the path in the node's, what stands
/// for it where it is not known, and the labels of both sides.
const WORKLOAD: [Row; 7] = [
    ("workload", Some(0), "WORKLOAD_NAME", UNKNOWN, ["source_workload", "destination_workload"]),
    (
        "namespace",
        Some(NAMESPACE_PLACE),
        "NAMESPACE",
        UNKNOWN,
        ["source_workload_namespace", "destination_workload_namespace"],
    ),
    ("cluster", Some(4), "CLUSTER_ID", UNKNOWN, ["source_cluster", "destination_cluster"]),
    ("app", NOWHERE, "LABELS\0app", UNKNOWN, ["source_app", "destination_app"]),
    ("version", NOWHERE, "LABELS\0version", UNKNOWN, ["source_version", "destination_version"]),
    (
        "service",
        Some(2),
        CANONICAL_NAME,
        UNKNOWN,
        ["source_canonical_service", "destination_canonical_service"],
    ),
    (
        "revision",
        Some(3),
        "LABELS\0service.istio.io/canonical-revision",
        LATEST,
        ["source_canonical_revision", "destination_canonical_revision"],
    ),
];

/// No place in an endpoint's metadata.
const NOWHERE: Option<usize> = Some(usize::MAX);

/// Distinct values of a label that a worker keeps apart: where Istio knows of no service, a client can name any.
const NAMES_MAX: usize = 500;

/// Where the node's metadata has what stands for a service that nobody names.
const CANONICAL_NAME: &str = "LABELS\0service.istio.io/canonical-name";

/// What stands for anything that is not known.
const UNKNOWN: &str = "unknown";

/// What stands for a revision that is not known.
const LATEST: &str = "latest";

/// `istio_requests_total`, `istio_request_duration_milliseconds`, `istio_request_bytes` and `istio_response_bytes`.
pub(super) fn http(options: Options, node: &Node<'_>) -> Plan {
    let mut main = Part::default();
    labels(&mut main, node);
    let protocol = format!("{IS_CALL} ? 'grpc' : 'http'");
    main.text_or("request_protocol", Source::expression(&protocol), "http");
    main.dimension("response_code", Source::status(), Form::StatusText);
    main.dimension("response_flags", Source::attribute("response.flags"), Form::FlagsShort);
    let status = format!("{IS_CALL} && has(response.grpc_status) ? response.grpc_status : ''");
    main.dimension("grpc_response_status", Source::expression(&status), Form::Decimal);
    main.counter("istio_requests_total", "1", "Requests.", Value::One);
    let value = Value::OfEach(main.source(Source::attribute("request.duration")));
    let name = "istio_request_duration_milliseconds";
    main.durations(name, MILLISECONDS, "Duration of requests.", value);
    for (name, path, description) in [
        ("istio_request_bytes", "request.total_size", "Size of requests."),
        ("istio_response_bytes", "response.total_size", "Size of responses."),
    ] {
        let value = Value::Of(main.source(Source::attribute(path)));
        main.histogram(name, "By", description, &SIZE_BOUNDS, value);
    }
    if options.grpc_messages {
        let messages = main.source(Source::grpc_messages());
        for (name, side, description) in [
            ("istio_request_messages_total", Side::Request, "gRPC messages received."),
            ("istio_response_messages_total", Side::Response, "gRPC messages sent."),
        ] {
            let value = Value::Messages(messages, side);
            main.counter(name, "1", description, value);
        }
    }
    Plan::of(Streams::Http, main)
}

/// `istio_tcp_connections_opened_total`, `istio_tcp_connections_closed_total`, `istio_tcp_sent_bytes_total` and
/// `istio_tcp_received_bytes_total`.
pub(super) fn tcp(node: &Node<'_>) -> Plan {
    let mut main = Part::default();
    labels(&mut main, node);
    main.constant("request_protocol", "tcp");
    main.dimension("response_flags", Source::attribute("response.flags"), Form::FlagsShort);
    main.counter("istio_tcp_connections_opened_total", "1", "Connections opened.", Value::Opened);
    main.counter("istio_tcp_connections_closed_total", "1", "Connections closed.", Value::One);
    let received = Value::Of(main.source(Source::attribute("request.size")));
    main.counter("istio_tcp_received_bytes_total", "By", "Bytes received.", received);
    let sent = Value::Of(main.source(Source::attribute("response.size")));
    main.counter("istio_tcp_sent_bytes_total", "By", "Bytes sent.", sent);
    Plan::of(Streams::Tcp, main)
}

/// The labels that requests and connections share.
fn labels(part: &mut Part, node: &Node<'_>) {
    let own = |path: &str| node(&format!("metadata\0{path}")).unwrap_or_default();
    part.text_or("reporter", Source::choice(&places::REPORTER), UNKNOWN);
    for (key, place, path, default, labels) in WORKLOAD {
        let facet = Facet { key, place, own: own(path) };
        let choices = match place {
            Some(NAMESPACE_PLACE) => [&places::SOURCE_NAMESPACE, &places::DESTINATION_NAMESPACE],
            _ => [&places::SOURCE, &places::DESTINATION],
        };
        for (label, choice) in labels.into_iter().zip(choices) {
            part.facet_or(label, Source::choice(choice), facet.clone(), default);
        }
    }
    for (label, key, place, path, choice) in [
        ("destination_service", "host", None, CANONICAL_NAME, &places::SERVICE_HOST),
        ("destination_service_name", "name", None, CANONICAL_NAME, &places::SERVICE_NAME),
        (
            "destination_service_namespace",
            "namespace",
            Some(NAMESPACE_PLACE),
            "NAMESPACE",
            &places::SERVICE_NAMESPACE,
        ),
        ("destination_principal", "identity", None, "", &places::DESTINATION_PRINCIPAL),
    ] {
        part.facet_or(label, Source::choice(choice), Facet { key, place, own: own(path) }, UNKNOWN);
        part.limit_last(NAMES_MAX);
    }
    part.text_or("source_principal", Source::choice(&places::SOURCE_PRINCIPAL), UNKNOWN);
    part.text_or("connection_security_policy", Source::choice(&places::SECURITY_POLICY), UNKNOWN);
}
