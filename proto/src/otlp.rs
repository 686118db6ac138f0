//! The messages of OTLP/HTTP: requests, and the responses of a collector.

pub use crate::generated::otlp::*;

/// The media type of OTLP/HTTP messages in protobuf (opentelemetry-proto, `docs/specification.md`).
pub const CONTENT_TYPE_PROTOBUF: &str = "application/x-protobuf";
/// The media type of OTLP/HTTP messages in JSON.
pub const CONTENT_TYPE_JSON: &str = "application/json";
/// The default path of a collector's metrics endpoint (opentelemetry-proto, `docs/specification.md`).
pub const DEFAULT_PATH: &str = "/v1/metrics";
