//! The messages of Prometheus remote write 1.0.

pub use crate::generated::remote_write::*;

/// The media type of a request (Prometheus remote write specification 1.0, "Protocol").
pub const CONTENT_TYPE: &str = "application/x-protobuf";
/// The value of the header `x-prometheus-remote-write-version` (remote write specification 1.0, "Protocol").
pub const VERSION: &str = "0.1.0";
/// The default path of the remote-write receiver in Prometheus.
pub const DEFAULT_PATH: &str = "/api/v1/write";
/// The bits of the double that marks the end of a series (remote write specification 1.0, "Stale Markers").
pub const STALE_BITS: u64 = 0x7ff0_0000_0000_0002;
