//! The OpenTelemetry semantic conventions for HTTP and RPC servers (1.44, `docs/http/http-metrics.md` and
//! `docs/rpc/rpc-metrics.md`).

use super::{NS_IN_S, Options, SIZE_BOUNDS};
use crate::form::Form;
use crate::plan::{Calls, Part, Plan, Streams, Value};
use crate::source::Source;

/// Seconds.
const SECONDS: (&str, u64) = ("s", NS_IN_S);

/// Bounds of message counts.
const COUNT_BOUNDS: [u64; 8] = [1, 2, 5, 10, 100, 1_000, 10_000, 100_000];

/// Whether a stream is a gRPC call, by its content-type.
pub(super) const IS_CALL: &str = "'content-type' in request.headers && \
                                  request.headers['content-type'].startsWith('application/grpc')";

/// `http.server.request.duration`, `http.server.request.body.size` and `http.server.response.body.size` by method, status
/// code, route, scheme and error; `rpc.server.call.duration` of gRPC calls by method, status and error.
///
/// The route is Envoy's route name, which is of low cardinality because people write it; a raw path is not.
pub(super) fn plan(options: Options) -> Plan {
    let mut main = Part::default();
    main.dimension("http.request.method", Source::attribute("request.method"), Form::Method);
    main.dimension("http.response.status_code", Source::status(), Form::Status);
    main.dimension("error.type", Source::status(), Form::ErrorType);
    main.dimension("http.route", Source::attribute("xds.route_name"), Form::Text);
    main.dimension("url.scheme", Source::attribute("request.scheme"), Form::Text);
    let value = Value::OfEach(main.source(Source::attribute("request.duration")));
    let description = "Duration of HTTP server requests.";
    main.durations("http.server.request.duration", SECONDS, description, value);
    let value = Value::Of(main.source(Source::attribute("request.size")));
    let description = "Size of HTTP server request bodies.";
    main.histogram("http.server.request.body.size", "By", description, &SIZE_BOUNDS, value);
    let value = Value::Of(main.source(Source::attribute("response.size")));
    let description = "Size of HTTP server response bodies.";
    main.histogram("http.server.response.body.size", "By", description, &SIZE_BOUNDS, value);
    let method = main.source(Source::attribute("request.method"));
    let status = main.source(Source::status());
    let (part, proof) = calls(options);
    let calls = Some(Calls { part, method, status, proof });
    Plan { calls, ..Plan::of(Streams::Http, main) }
}

/// The part for gRPC calls, and which of its sources tells that a stream is one.
fn calls(options: Options) -> (Part, usize) {
    let mut part = Part::default();
    // A client can name any method: only those that the server knows are values.
    let method = format!(
        "{IS_CALL} ? (has(response.grpc_status) && response.grpc_status == 12 ? '_OTHER' : request.url_path) : ''"
    );
    let method = Source::expression(&method);
    let status = || Source::expression("has(response.grpc_status) ? response.grpc_status : -1");
    let proof = part.source(method.clone());
    part.constant("rpc.system.name", "grpc");
    part.dimension("rpc.method", method, Form::RpcMethod);
    part.dimension("rpc.status_code", status(), Form::RpcStatus);
    part.dimension("error.type", status(), Form::RpcError);
    let value = Value::OfEach(part.source(Source::attribute("request.duration")));
    part.durations("rpc.server.call.duration", SECONDS, "Duration of RPC server calls.", value);
    if options.grpc_messages {
        for (name, side, description) in [
            ("rpc.server.requests_per_rpc", "request", "Messages received per RPC."),
            ("rpc.server.responses_per_rpc", "response", "Messages sent per RPC."),
        ] {
            let value = Value::Of(part.source(messages(side)));
            part.histogram(name, "{count}", description, &COUNT_BOUNDS, value);
        }
    }
    (part, proof)
}

/// How many messages went one way, as Envoy's `grpc_stats` filter says with `emit_filter_state`.
pub(super) fn messages(side: &str) -> Source {
    let state = "filter_state['envoy.filters.http.grpc_stats']";
    Source::expression(&format!(
        "'envoy.filters.http.grpc_stats' in filter_state ? {state}.{side}_message_count : 0u"
    ))
}
