//! The messages of Prometheus remote write 1.0, declared for all tests of the workspace in one place.

#[path = "../../../../../tests/src/remote_write/messages.rs"]
#[expect(unreachable_pub, reason = "the end-to-end tests export them")]
mod messages;

pub(super) use messages::{Label, MetricMetadata, NativeHistogram, TimeSeries, WriteRequest};
