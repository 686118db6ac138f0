//! The metrics and labels of Istio's dashboards (Istio, "Istio Standard Metrics"), with the values of Istio's
//! own stats filter (Envoy contrib, `istio_stats.cc`).
//!
//! The listener's direction decides whether the proxy is on the source or destination side. The proxy's own
//! workload is in Envoy's node metadata. The peer's workload is in the map that Istio's peer discovery writes
//! into the filter state (`downstream_peer`, `upstream_peer`), in its certificate or, for an upstream, in the
//! metadata of its endpoint. Labels without a value are `unknown`.
//!
//! One value of a stream often gives many labels, and is read once: see [`WorkloadField`].

mod sources;

use super::otel::IS_CALL;
use super::{NS_IN_MS, NodeLookup, Options, SIZE_BOUNDS};
use crate::plan::{MeasureInput, MetricGroup, Plan, Side, Streams};
use crate::source::Source;
use crate::transform::Transform;
use crate::workload::{NAMESPACE_POSITION, WorkloadField};

const MILLISECONDS: (&str, u64) = ("milliseconds", NS_IN_MS);

/// One field: its key in a peer's map, its position in an endpoint's metadata, its path in the node's
/// metadata, its default, and its labels for the source and the destination.
type Row = (&'static str, Option<usize>, &'static str, &'static str, [&'static str; 2]);

/// The fields of a workload.
const WORKLOAD: [Row; 7] = [
    ("workload", Some(0), "WORKLOAD_NAME", UNKNOWN, ["source_workload", "destination_workload"]),
    (
        "namespace",
        Some(NAMESPACE_POSITION),
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

/// No position: an endpoint's metadata does not have the field.
const NOWHERE: Option<usize> = Some(usize::MAX);

/// The most distinct values of a label in a worker: if Istio knows no service, the client chooses the name.
const NAMES_MAX: usize = 500;

/// The path in the node's metadata of the name that an unnamed service gets.
const CANONICAL_NAME: &str = "LABELS\0service.istio.io/canonical-name";

/// The default of most labels.
const UNKNOWN: &str = "unknown";

/// The default of a revision.
const LATEST: &str = "latest";

/// `istio_requests_total`, `istio_request_duration_milliseconds`, `istio_request_bytes` and
/// `istio_response_bytes`.
pub(super) fn http(options: Options, node: &NodeLookup<'_>) -> Plan {
    let mut main = MetricGroup::default();
    labels(&mut main, node);
    let protocol = format!("{IS_CALL} ? 'grpc' : 'http'");
    main.text_or("request_protocol", Source::expression(&protocol), "http");
    main.dimension("response_code", Source::status(), Transform::StatusText);
    main.dimension("response_flags", Source::attribute("response.flags"), Transform::FlagsShort);
    let status = format!("{IS_CALL} && has(response.grpc_status) ? response.grpc_status : ''");
    main.dimension("grpc_response_status", Source::expression(&status), Transform::Decimal);
    main.counter("istio_requests_total", "1", "Requests.", MeasureInput::End);
    let duration = MeasureInput::SourceOrZero(main.source(Source::attribute("request.duration")));
    let name = "istio_request_duration_milliseconds";
    main.durations(name, MILLISECONDS, "Duration of requests.", duration);
    for (name, path, description) in [
        ("istio_request_bytes", "request.total_size", "Size of requests."),
        ("istio_response_bytes", "response.total_size", "Size of responses."),
    ] {
        let size = MeasureInput::Source(main.source(Source::attribute(path)));
        main.histogram(name, "By", description, &SIZE_BOUNDS, size);
    }
    if options.grpc_messages {
        let messages = main.source(Source::grpc_messages());
        for (name, side, description) in [
            ("istio_request_messages_total", Side::Request, "gRPC messages received."),
            ("istio_response_messages_total", Side::Response, "gRPC messages sent."),
        ] {
            main.counter(name, "1", description, MeasureInput::Messages(messages, side));
        }
    }
    Plan::of(Streams::Http, main)
}

/// `istio_tcp_connections_opened_total`, `istio_tcp_connections_closed_total`, `istio_tcp_sent_bytes_total`
/// and `istio_tcp_received_bytes_total`.
pub(super) fn tcp(node: &NodeLookup<'_>) -> Plan {
    let mut main = MetricGroup::default();
    labels(&mut main, node);
    main.constant("request_protocol", "tcp");
    main.dimension("response_flags", Source::attribute("response.flags"), Transform::FlagsShort);
    main.counter("istio_tcp_connections_opened_total", "1", "Connections opened.", MeasureInput::Start);
    main.counter("istio_tcp_connections_closed_total", "1", "Connections closed.", MeasureInput::End);
    let received = MeasureInput::Source(main.source(Source::attribute("request.size")));
    main.counter("istio_tcp_received_bytes_total", "By", "Bytes received.", received);
    let sent = MeasureInput::Source(main.source(Source::attribute("response.size")));
    main.counter("istio_tcp_sent_bytes_total", "By", "Bytes sent.", sent);
    Plan::of(Streams::Tcp, main)
}

/// Adds the labels that requests and connections share.
fn labels(group: &mut MetricGroup, node: &NodeLookup<'_>) {
    let own = |path: &str| node(&format!("metadata\0{path}")).unwrap_or_default();
    group.text_or("reporter", Source::fallback_chain(&sources::REPORTER), UNKNOWN);
    for (key, position, path, default, labels) in WORKLOAD {
        let field = WorkloadField { key, position, own: own(path) };
        let chains = match position {
            Some(NAMESPACE_POSITION) => [&sources::SOURCE_NAMESPACE, &sources::DESTINATION_NAMESPACE],
            _ => [&sources::SOURCE, &sources::DESTINATION],
        };
        for (label, chain) in labels.into_iter().zip(chains) {
            group.workload_field_or(label, Source::fallback_chain(chain), field.clone(), default);
        }
    }
    for (label, key, position, path, chain) in [
        ("destination_service", "host", None, CANONICAL_NAME, &sources::SERVICE_HOST),
        ("destination_service_name", "name", None, CANONICAL_NAME, &sources::SERVICE_NAME),
        (
            "destination_service_namespace",
            "namespace",
            Some(NAMESPACE_POSITION),
            "NAMESPACE",
            &sources::SERVICE_NAMESPACE,
        ),
        ("destination_principal", "identity", None, "", &sources::DESTINATION_PRINCIPAL),
    ] {
        group.workload_field_or(
            label,
            Source::fallback_chain(chain),
            WorkloadField { key, position, own: own(path) },
            UNKNOWN,
        );
        group.limit_last(NAMES_MAX);
    }
    group.text_or("source_principal", Source::fallback_chain(&sources::SOURCE_PRINCIPAL), UNKNOWN);
    group.text_or("connection_security_policy", Source::fallback_chain(&sources::SECURITY_POLICY), UNKNOWN);
}
