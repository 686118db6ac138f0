//! The OpenTelemetry semantic conventions for HTTP and RPC servers (1.44, `docs/http/http-metrics.md` and
//! `docs/rpc/rpc-metrics.md`).

use super::{BYTES, DURATION_BOUNDS, SECONDS, SIZE_BOUNDS, histogram};
use crate::plan::{GrpcCalls, MeasureInput, MetricGroup, Plan, Side, Streams};
use crate::source::Source;
use crate::transform::Transform;

/// The maximum number of distinct gRPC methods in a worker. A client that ends a call before the server
/// responds can send any name.
const RPC_METHODS_MAX: usize = 200;

/// Bounds of message counts.
const COUNT_BOUNDS: [u64; 8] = [1, 2, 5, 10, 100, 1_000, 10_000, 100_000];

/// The expression that is true for a gRPC call, by its content-type. `application/grpc-web` is not included:
/// it is another protocol, with the status in the body.
pub(super) const IS_CALL: &str = "'content-type' in request.headers && \
                                  request.headers['content-type'].startsWith('application/grpc') && \
                                  !request.headers['content-type'].startsWith('application/grpc-')";

/// The expression for the status of a call or, if no status was sent, for the number `-1 - response.flags`.
/// One value serves for both. If no status was sent, Envoy derives a status from the HTTP status: UNKNOWN
/// from 200 (1.36.4, 1.40.0), for example if the client closed the stream.
const STATUS: &str = "has(response.grpc_status) && (response.grpc_status != 2 || \
                      'grpc-status' in response.trailers || 'grpc-status' in response.headers) \
                      ? response.grpc_status : -1 - response.flags";

/// Returns the plan for `http.server.request.duration`, `http.server.request.body.size` and
/// `http.server.response.body.size` by method, status code, route, scheme and error, and for
/// `rpc.server.call.duration` of gRPC calls by method, status and error.
///
/// The route is Envoy's route name, which has a low cardinality because it is configured. A raw path has a
/// high cardinality.
pub(super) fn plan(grpc_messages: bool) -> Plan {
    let mut main = MetricGroup::default();
    main.dimension("http.request.method", Source::attribute("request.method"), Transform::Method);
    main.dimension("http.response.status_code", Source::status(), Transform::Status);
    main.dimension("error.type", Source::status(), Transform::ErrorType);
    main.dimension("http.route", Source::attribute("xds.route_name"), Transform::Text);
    main.dimension("url.scheme", Source::attribute("request.scheme"), Transform::Scheme);
    let value = MeasureInput::SourceOrZero(main.source(Source::attribute("request.duration")));
    let (name, description) = ("http.server.request.duration", "Duration of HTTP server requests.");
    main.measure(name, SECONDS, description, histogram(&DURATION_BOUNDS), value);
    for &(name, path, description) in &[
        ("http.server.request.body.size", "request.size", "Size of HTTP server request bodies."),
        ("http.server.response.body.size", "response.size", "Size of HTTP server response bodies."),
    ] {
        let size = MeasureInput::Source(main.source(Source::attribute(path)));
        main.measure(name, BYTES, description, histogram(&SIZE_BOUNDS), size);
    }
    let method = main.source(Source::attribute("request.method"));
    let status = main.source(Source::status());
    let (group, indicator) = calls(grpc_messages);
    let calls = Some(GrpcCalls { group, method, status, indicator });
    Plan { calls, ..Plan::of(Streams::Http, main) }
}

/// Returns the group for gRPC calls, and the index of its source whose value is empty if the stream is not a
/// call.
fn calls(grpc_messages: bool) -> (MetricGroup, usize) {
    let mut group = MetricGroup::default();
    // A client can send any method, so only methods that the server implements are kept.
    let method = format!(
        "{IS_CALL} ? (has(response.grpc_status) && response.grpc_status == 12 ? '_OTHER' : request.url_path) : ''"
    );
    let method = Source::expression(&method);
    let indicator = group.source(method.clone());
    group.constant("rpc.system.name", "grpc");
    group.limited_dimension("rpc.method", method, Transform::RpcMethod, RPC_METHODS_MAX);
    group.dimension("rpc.status_code", Source::expression(STATUS), Transform::RpcStatus);
    group.dimension("error.type", Source::expression(STATUS), Transform::RpcError);
    let value = MeasureInput::SourceOrZero(group.source(Source::attribute("request.duration")));
    let (name, description) = ("rpc.server.call.duration", "Duration of RPC server calls.");
    group.measure(name, SECONDS, description, histogram(&DURATION_BOUNDS), value);
    if grpc_messages {
        let messages = group.source(Source::grpc_messages());
        for &(name, side, description) in &[
            ("rpc.server.requests_per_rpc", Side::Request, "Messages received per RPC."),
            ("rpc.server.responses_per_rpc", Side::Response, "Messages sent per RPC."),
        ] {
            let input = MeasureInput::Messages(messages, side);
            group.measure(name, ("{count}", 1), description, histogram(&COUNT_BOUNDS), input);
        }
    }
    (group, indicator)
}
