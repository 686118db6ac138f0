//! The messages of Prometheus remote write 1.0, for export.

pub use crate::generated::remote_write::*;

/// Media type of a request (Prometheus remote write specification 1.0, "Protocol").
pub const CONTENT_TYPE: &str = "application/x-protobuf";
/// What the header `x-prometheus-remote-write-version` says, from the same document.
pub const VERSION: &str = "0.1.0";
/// Path of Prometheus' own receiver.
pub const DEFAULT_PATH: &str = "/api/v1/write";
/// The bits of the double that says that a series has ended (the same, "Stale Markers").
pub const STALE_BITS: u64 = 0x7ff0_0000_0000_0002;
