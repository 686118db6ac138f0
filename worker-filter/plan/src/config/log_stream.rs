//! `role: log_stream`: what of a plan a log can tell.

use tributary_proto::config::Section;

use crate::plan::{Plan, Streams};
use crate::source::Alone;

/// Leaves out what the log says of no request, and notes what was asked for all the same.
pub(super) fn fit(root: &mut Section<'_>, plan: &mut Plan) {
    const ALLOWED: &str = "only without role \"log_stream\": a log tells of requests that have ended";
    if plan.streams == Streams::Tcp {
        root.note("streams", "TCP connections", ALLOWED);
    }
    if plan.in_flight {
        root.note("in_flight", "true", ALLOWED);
    }
    if plan.counts_grpc_messages() {
        root.note("grpc_messages", "true", ALLOWED);
    }
    // Whether a request is a gRPC call takes an expression that only a filter or a Wasm access logger can evaluate.
    plan.calls = None;
    if !plan.rules.is_empty() {
        root.note("headers", "a list", ALLOWED);
    }
    if plan.tap.is_some() {
        root.note("tap", "a tap", ALLOWED);
    }
    if plan.counters.iter().any(|counter| counter.response_header.is_some()) {
        root.note("counters", "a counter with a response_header", ALLOWED);
    }
    if plan.main.sources.iter().any(|source| matches!(source.alone, Alone::Choice(_))) {
        root.note(
            "preset",
            "a preset that looks for values in several places",
            "\"otel\" or \"none\" with role \"log_stream\"",
        );
    }
}
