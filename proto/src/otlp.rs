//! The messages that a collector gets and gives (OTLP/HTTP), for export and for reading its answer.

pub use crate::generated::otlp::*;

/// Media type of OTLP/HTTP requests and answers in protobuf (opentelemetry-proto, `docs/specification.md`).
pub const CONTENT_TYPE_PROTOBUF: &str = "application/x-protobuf";
/// The same in JSON.
pub const CONTENT_TYPE_JSON: &str = "application/json";
/// Path of a collector's metrics endpoint by default, from the same document.
pub const DEFAULT_PATH: &str = "/v1/metrics";
