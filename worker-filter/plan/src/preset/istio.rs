//! The metrics and labels that Istio's dashboards use (Istio, "Istio Standard Metrics").
//!
//! Which side of a request a proxy is on is its listener's direction. What is known of the proxy's own workload comes from
//! Envoy's node metadata; what is known of the peer's from the filter state that Istio's peer discovery leaves
//! (`downstream_peer`, `upstream_peer`), and is `unknown` without it.

use super::otel::IS_CALL;
use super::{NS_IN_MS, Node, Options, SIZE_BOUNDS};
use crate::form::Form;
use crate::plan::{Part, Plan, Side, Streams, Value};
use crate::source::Source;

/// Milliseconds.
const MILLISECONDS: (&str, u64) = ("milliseconds", NS_IN_MS);

/// What is said of each side: the label behind `source_` or `destination_`, the field of a peer, and the path in the node's
/// metadata.
const WORKLOAD: [(&str, &str, &str); 7] = [
    ("workload", "workload", "WORKLOAD_NAME"),
    ("workload_namespace", "namespace", "NAMESPACE"),
    ("cluster", "cluster", "CLUSTER_ID"),
    ("app", "app", "LABELS\0app"),
    ("version", "version", "LABELS\0version"),
    ("canonical_service", "service", "LABELS\0service.istio.io/canonical-name"),
    ("canonical_revision", "revision", "LABELS\0service.istio.io/canonical-revision"),
];

/// What Istio's control plane says of a cluster's service: the label, and the field of the cluster's metadata.
const SERVICE: [(&str, &str); 3] = [
    ("destination_service", "host"),
    ("destination_service_name", "name"),
    ("destination_service_namespace", "namespace"),
];

/// What stands for anything that is not known.
const UNKNOWN: &str = "unknown";

/// Inbound, by the number of Envoy's `TrafficDirection`.
const IS_INBOUND: &str = "xds.listener_direction == 1";

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

fn labels(part: &mut Part, node: &Node<'_>) {
    let either = |inbound: &str, outbound: &str| {
        Source::expression(&format!("{IS_INBOUND} ? ({inbound}) : ({outbound})"))
    };
    part.text_or("reporter", either("'destination'", "'source'"), UNKNOWN);
    for (label, field, path) in WORKLOAD {
        let own = node(&format!("metadata\0{path}")).filter(|own| is_plain(own));
        let own = format!("'{}'", own.unwrap_or_default());
        let peer = |side: &str| {
            format!("'{side}_peer' in filter_state ? filter_state['{side}_peer']['{field}'] : ''")
        };
        part.text_or(&format!("source_{label}"), either(&peer("downstream"), &own), UNKNOWN);
        part.text_or(&format!("destination_{label}"), either(&own, &peer("upstream")), UNKNOWN);
    }
    for (label, field) in SERVICE {
        let otherwise = if field == "host" { "has(request.host) ? request.host : ''" } else { "''" };
        let services = "xds.cluster_metadata.filter_metadata['istio']['services']";
        part.text_or(
            label,
            Source::expression(&format!(
                "has(xds.cluster_metadata) && 'istio' in xds.cluster_metadata.filter_metadata \
                 ? {services}[0]['{field}'] : {otherwise}"
            )),
            UNKNOWN,
        );
    }
    for (label, inbound, outbound) in [
        ("source_principal", "connection.uri_san_peer_certificate", "upstream.uri_san_local_certificate"),
        (
            "destination_principal",
            "connection.uri_san_local_certificate",
            "upstream.uri_san_peer_certificate",
        ),
    ] {
        let guarded = |path: &str| format!("has({path}) ? {path} : ''");
        part.text_or(label, either(&guarded(inbound), &guarded(outbound)), UNKNOWN);
    }
    let policy = either("has(connection.mtls) && connection.mtls ? 'mutual_tls' : 'none'", "'unknown'");
    part.text_or("connection_security_policy", policy, UNKNOWN);
}

/// Whether text can stand between quotes in an expression.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'/' | b':'))
}
