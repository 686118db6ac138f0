//! `role: log_stream`: the part of a plan for which a log has the values.

use tributary_proto::config::Section;

use crate::plan::{Plan, Streams};
use crate::source::FallbackRead;

/// Removes what a log does not contain, and rejects keys that need it.
pub(super) fn fit(root: &mut Section<'_>, plan: &mut Plan) {
    const ALLOWED: &str = "only without role \"log_stream\": a log only contains requests that have ended";
    if plan.streams == Streams::Tcp {
        root.note("streams", "TCP connections", ALLOWED);
    }
    if plan.in_flight {
        root.note("in_flight", "true", ALLOWED);
    }
    if plan.counts_grpc_messages() {
        root.note("grpc_messages", "true", ALLOWED);
    }
    // Only a filter or a Wasm access logger can evaluate the expression that detects gRPC calls.
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
    if plan.main.sources.iter().any(|source| matches!(source.fallback, FallbackRead::Chain(_))) {
        root.note(
            "preset",
            "a preset whose values have several sources",
            "\"otel\" or \"none\" with role \"log_stream\"",
        );
    }
}
