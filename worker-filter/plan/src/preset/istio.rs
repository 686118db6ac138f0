//! The metrics and labels of Istio's dashboards (Istio, "Istio Standard Metrics"). Labels have the same
//! values as in Istio's own stats filter (Envoy contrib, `istio_stats.cc`).
//!
//! The listener's direction decides whether the proxy is on the source or the destination side. The proxy's
//! own workload is in Envoy's node metadata. The peer's workload is in one of several places: the map that
//! Istio's peer discovery writes into the filter state (`downstream_peer`, `upstream_peer`), the peer's
//! certificate or, for an upstream, the metadata of its endpoint. Labels without a value are `unknown`.
//!
//! One value of a stream often contains the values of many labels. Such a value is read only once: see
//! [`WorkloadField`].

mod sources;

use tributary_proto::metric::Kind;

use super::otel::IS_CALL;
use super::{BYTES, DURATION_BOUNDS, MS, NUMBER, NodeLookup, SIZE_BOUNDS, histogram};
use crate::plan::{MeasureInput, MetricGroup, Plan, Side, Streams};
use crate::source::Source;
use crate::transform::Transform;
use crate::workload::{NAMESPACE_POSITION, WorkloadField};

const MILLISECONDS: (&str, u64) = ("milliseconds", MS);

/// One field: its key in a peer's map, its position in an endpoint's metadata, its path in the node's
/// metadata, its default, and the end of its label's name after `source_` or `destination_`.
type Row = (&'static str, Option<usize>, &'static str, &'static str, &'static str);

/// The fields of a workload.
const WORKLOAD: [Row; 7] = [
    ("workload", Some(0), "WORKLOAD_NAME", UNKNOWN, "workload"),
    ("namespace", NAMESPACE, "NAMESPACE", UNKNOWN, "workload_namespace"),
    ("cluster", Some(4), "CLUSTER_ID", UNKNOWN, "cluster"),
    ("app", NOWHERE, "LABELS\0app", UNKNOWN, "app"),
    ("version", NOWHERE, "LABELS\0version", UNKNOWN, "version"),
    ("service", Some(2), CANONICAL_NAME, UNKNOWN, "canonical_service"),
    ("revision", Some(3), "LABELS\0service.istio.io/canonical-revision", LATEST, "canonical_revision"),
];

const NAMESPACE: Option<usize> = Some(NAMESPACE_POSITION);

/// The position of a field that an endpoint's metadata does not have.
const NOWHERE: Option<usize> = Some(usize::MAX);

/// The maximum number of distinct values of a label in a worker. If Istio does not know the service, the
/// client chooses its name, and a client outside the mesh can claim to be any workload.
const NAMES_MAX: usize = 500;

/// The number of values of `request_protocol`: `grpc` and `http`.
const PROTOCOLS_MAX: usize = 2;

/// The maximum number of distinct gRPC statuses in a worker. gRPC has 17 statuses, but a server can send
/// any number.
const STATUSES_MAX: usize = 50;

/// The path of the canonical name in the node's metadata. The canonical name is the default name of a
/// service.
const CANONICAL_NAME: &str = "LABELS\0service.istio.io/canonical-name";

/// The default of most labels.
const UNKNOWN: &str = "unknown";

/// The default of a revision.
const LATEST: &str = "latest";

/// Returns the plan for `istio_requests_total`, `istio_request_duration_milliseconds`, `istio_request_bytes`
/// and `istio_response_bytes`.
pub(super) fn http(grpc_messages: bool, node: &NodeLookup<'_>) -> Plan {
    let mut main = MetricGroup::default();
    labels(&mut main, node);
    let protocol = Source::expression(&format!("{IS_CALL} ? 'grpc' : 'http'"));
    main.dimension_or("request_protocol", protocol, Transform::Text, "http", Some(PROTOCOLS_MAX));
    main.dimension("response_code", Source::status(), Transform::StatusText);
    main.dimension("response_flags", Source::attribute("response.flags"), Transform::FlagsShort);
    let status = format!("{IS_CALL} && has(response.grpc_status) ? response.grpc_status : ''");
    let status = Source::expression(&status);
    main.limited_dimension("grpc_response_status", status, Transform::Decimal, STATUSES_MAX);
    main.measure("istio_requests_total", NUMBER, "Requests.", Kind::Counter, MeasureInput::End);
    let duration = MeasureInput::SourceOrZero(main.source(Source::attribute("request.duration")));
    let name = "istio_request_duration_milliseconds";
    main.measure(name, MILLISECONDS, "Duration of requests.", histogram(&DURATION_BOUNDS), duration);
    for &(name, path, description) in &[
        ("istio_request_bytes", "request.total_size", "Size of requests."),
        ("istio_response_bytes", "response.total_size", "Size of responses."),
    ] {
        let size = MeasureInput::Source(main.source(Source::attribute(path)));
        main.measure(name, BYTES, description, histogram(&SIZE_BOUNDS), size);
    }
    if grpc_messages {
        let messages = main.source(Source::grpc_messages());
        for &(name, side, description) in &[
            ("istio_request_messages_total", Side::Request, "gRPC messages received."),
            ("istio_response_messages_total", Side::Response, "gRPC messages sent."),
        ] {
            let input = MeasureInput::Messages(messages, side);
            main.measure(name, NUMBER, description, Kind::Counter, input);
        }
    }
    Plan::of(Streams::Http, main)
}

/// Returns the plan for `istio_tcp_connections_opened_total`, `istio_tcp_connections_closed_total`,
/// `istio_tcp_sent_bytes_total` and `istio_tcp_received_bytes_total`.
pub(super) fn tcp(node: &NodeLookup<'_>) -> Plan {
    let mut main = MetricGroup::default();
    labels(&mut main, node);
    main.constant("request_protocol", "tcp");
    main.dimension("response_flags", Source::attribute("response.flags"), Transform::FlagsShort);
    let received = MeasureInput::Source(main.source(Source::attribute("request.size")));
    let sent = MeasureInput::Source(main.source(Source::attribute("response.size")));
    for &(name, unit, description, input) in &[
        ("istio_tcp_connections_opened_total", NUMBER, "Connections opened.", MeasureInput::Start),
        ("istio_tcp_connections_closed_total", NUMBER, "Connections closed.", MeasureInput::End),
        ("istio_tcp_received_bytes_total", BYTES, "Bytes received.", received),
        ("istio_tcp_sent_bytes_total", BYTES, "Bytes sent.", sent),
    ] {
        main.measure(name, unit, description, Kind::Counter, input);
    }
    Plan::of(Streams::Tcp, main)
}

/// Adds the labels that requests and connections share.
fn labels(group: &mut MetricGroup, node: &NodeLookup<'_>) {
    let reporter = Source::fallback_chain(&sources::REPORTER);
    group.dimension_or("reporter", reporter, Transform::Text, UNKNOWN, None);
    let field = |key, position, path| {
        let own = node(&format!("metadata\0{path}")).unwrap_or_default();
        Transform::WorkloadField(Box::new(WorkloadField { key, position, own }))
    };
    for (key, position, path, default, label) in WORKLOAD {
        let chains = match position {
            NAMESPACE => [&sources::SOURCE_NAMESPACE, &sources::DESTINATION_NAMESPACE],
            _ => [&sources::SOURCE, &sources::DESTINATION],
        };
        let field = field(key, position, path);
        for (side, chain) in ["source_", "destination_"].into_iter().zip(chains) {
            let (label, source) = (format!("{side}{label}"), Source::fallback_chain(chain));
            group.dimension_or(&label, source, field.clone(), default, Some(NAMES_MAX));
        }
    }
    for &(label, key, position, path, chain) in &[
        ("destination_service", "host", None, CANONICAL_NAME, &sources::SERVICE_HOST),
        ("destination_service_name", "name", None, CANONICAL_NAME, &sources::SERVICE_NAME),
        ("destination_service_namespace", "namespace", NAMESPACE, "NAMESPACE", &sources::SERVICE_NAMESPACE),
        ("destination_principal", "identity", None, "", &sources::DESTINATION_PRINCIPAL),
    ] {
        let source = Source::fallback_chain(chain);
        group.dimension_or(label, source, field(key, position, path), UNKNOWN, Some(NAMES_MAX));
    }
    let principal = Source::fallback_chain(&sources::SOURCE_PRINCIPAL);
    group.dimension_or("source_principal", principal, Transform::Text, UNKNOWN, Some(NAMES_MAX));
    let policy = Source::fallback_chain(&sources::SECURITY_POLICY);
    group.dimension_or("connection_security_policy", policy, Transform::Text, UNKNOWN, None);
}
