//! `log_stream`: reduces a plan to the parts that can be measured from the records of an access log.

use tributary_proto::config::Section;

use crate::IS_FULL;
use crate::plan::{Plan, Streams};
use crate::source::FallbackRead;

/// Removes the parts of the plan whose values a log record cannot contain. Reports each key that needs more
/// than the record of an ended request.
pub(super) fn fit(root: &mut Section<'_>, plan: &mut Plan) {
    const ALLOWED: &str = "only without log_stream, whose records describe requests that have ended";
    let has_response_header = plan.counters.iter().any(|counter| counter.response_header.is_some());
    for (key, found, is_found) in [
        ("streams", "TCP connections", plan.streams == Streams::Tcp),
        ("in_flight", "true", plan.in_flight),
        ("grpc_messages", "true", plan.counts_grpc_messages()),
        ("headers", "a list", IS_FULL && !plan.rules.is_empty()),
        ("tap", "a tap", IS_FULL && plan.tap.is_some()),
        ("counters", "a counter with a response_header", IS_FULL && has_response_header),
    ] {
        if is_found {
            root.note(key, found, ALLOWED);
        }
    }
    // Only a filter or a Wasm access logger can evaluate the expression that detects gRPC calls.
    plan.calls = None;
    if plan.main.sources.iter().any(|source| matches!(source.fallback, FallbackRead::Chain(_))) {
        let found = "a preset whose values have several sources";
        root.note("preset", found, "\"otel\" or \"none\" with log_stream");
    }
}
