//! The OpenTelemetry semantic conventions for HTTP and RPC servers (1.44, `docs/http/http-metrics.md` and
//! `docs/rpc/rpc-metrics.md`).

use super::{NS_IN_S, Options, SIZE_BOUNDS};
use crate::form::Form;
use crate::plan::{Calls, Part, Plan, Side, Streams, Value};
use crate::source::Source;

/// Seconds.
const SECONDS: (&str, u64) = ("s", NS_IN_S);

/// Bounds of message counts.
const COUNT_BOUNDS: [u64; 8] = [1, 2, 5, 10, 100, 1_000, 10_000, 100_000];

/// Whether a stream is a gRPC call, by its content-type. `application/grpc-web` is another protocol, whose status is in the
/// body.
pub(super) const IS_CALL: &str = "'content-type' in request.headers && \
                                  request.headers['content-type'].startsWith('application/grpc') && \
                                  !request.headers['content-type'].startsWith('application/grpc-')";

/// The status of a call or, where none was sent, the response flags below zero: one value tells both. Envoy takes the status
/// of HTTP for one where none was sent, 200 for UNKNOWN (1.36.4, 1.40.0); a call that the client gave up looks like that.
const STATUS: &str = "has(response.grpc_status) && (response.grpc_status != 2 || \
                      'grpc-status' in response.trailers || 'grpc-status' in response.headers) \
                      ? response.grpc_status : -1 - response.flags";

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
    let proof = part.source(method.clone());
    part.constant("rpc.system.name", "grpc");
    part.dimension("rpc.method", method, Form::RpcMethod);
    part.dimension("rpc.status_code", Source::expression(STATUS), Form::RpcStatus);
    part.dimension("error.type", Source::expression(STATUS), Form::RpcError);
    let value = Value::OfEach(part.source(Source::attribute("request.duration")));
    part.durations("rpc.server.call.duration", SECONDS, "Duration of RPC server calls.", value);
    if options.grpc_messages {
        let messages = part.source(Source::grpc_messages());
        for (name, side, description) in [
            ("rpc.server.requests_per_rpc", Side::Request, "Messages received per RPC."),
            ("rpc.server.responses_per_rpc", Side::Response, "Messages sent per RPC."),
        ] {
            let value = Value::Messages(messages, side);
            part.histogram(name, "{count}", description, &COUNT_BOUNDS, value);
        }
    }
    (part, proof)
}
