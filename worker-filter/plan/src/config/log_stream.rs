//! `log_stream`: which parts of a plan can be measured from the records of an access log.

use tributary_proto::config::Section;

use crate::IS_FULL;
use crate::plan::{Plan, Streams};
use crate::source::FallbackRead;

/// Removes from the plan what no record contains, and notes each key that needs more than a record of an
/// ended request.
pub(super) fn fit(root: &mut Section<'_>, plan: &mut Plan) {
    const ALLOWED: &str = "only without log_stream, whose records describe requests that have ended";
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
    if IS_FULL && !plan.rules.is_empty() {
        root.note("headers", "a list", ALLOWED);
    }
    if IS_FULL && plan.tap.is_some() {
        root.note("tap", "a tap", ALLOWED);
    }
    if IS_FULL && plan.counters.iter().any(|counter| counter.response_header.is_some()) {
        root.note("counters", "a counter with a response_header", ALLOWED);
    }
    if plan.main.sources.iter().any(|source| matches!(source.fallback, FallbackRead::Chain(_))) {
        root.note(
            "preset",
            "a preset whose values have several sources",
            "\"otel\" or \"none\" with log_stream",
        );
    }
}
