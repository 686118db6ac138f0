//! Encodings: convert points to the bytes of a request.
//!
//! [`Encoding::part`] encodes the points of some rows with the [`Resource`]: as OTLP (`otlp`, whose
//! `writer` writes both protobuf and JSON) or as remote write (`remote_write`, whose labels are sorted).
//! `protobuf` has the keys and lengths that both need. [`SizeHint`] gives an upper bound of the bytes of
//! a point before it is encoded, so that a slice fits into one request.

mod otlp;
mod protobuf;
mod remote_write;
mod size;

pub use size::SizeHint;

use tributary_proto::otlp::{CONTENT_TYPE_JSON, CONTENT_TYPE_PROTOBUF, DEFAULT_PATH};
use tributary_proto::remote_write as remote_write_1;

use self::otlp::Notation;
use super::compress::{Compression, as_u64};
use super::points::MetricPoints;
use super::resource::Resource;

/// The encoding of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// OTLP/HTTP in protobuf.
    OtlpProtobuf,
    /// OTLP/HTTP in JSON.
    OtlpJson,
    /// Prometheus remote write 1.0. It has no delta temporality, so deltas are left out.
    RemoteWrite,
}

/// A part of a request's body, before it is compressed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    /// The encoded bytes. They must not be sent if `points` is 0.
    pub bytes: Vec<u8>,
    /// The number of points in the part.
    pub points: u64,
    /// The number of points that this encoding cannot represent, or that do not fit their metric.
    pub left_out: u64,
}

impl Encoding {
    /// Encodes points as a part of a request's body. `first_unix_nano` is given only for the first part of
    /// a body. It never decreases from one body to the next, unlike the times of ended series.
    pub fn part(
        self,
        resource: &Resource,
        metrics: &[MetricPoints<'_>],
        first_unix_nano: Option<u64>,
    ) -> Encoded {
        match self {
            // Concatenated protobuf messages are one message with the fields of all messages.
            Self::OtlpProtobuf => otlp::part(Notation::Protobuf, resource, metrics),
            Self::OtlpJson => otlp::part(Notation::Json, resource, metrics),
            Self::RemoteWrite => remote_write::part(resource, metrics, first_unix_nano),
        }
    }

    /// Returns the bytes before the first part of a body, between two parts, and after the last part.
    pub fn frame(self) -> [&'static [u8]; 3] {
        match self {
            Self::OtlpProtobuf | Self::RemoteWrite => [b"", b"", b""],
            Self::OtlpJson => [b"{\"resourceMetrics\":[", b",", b"]}"],
        }
    }

    /// Returns the compression of a body. Remote write always uses Snappy.
    pub fn compression(self, configured: Compression) -> Compression {
        match self {
            Self::OtlpProtobuf | Self::OtlpJson => configured,
            Self::RemoteWrite => Compression::Snappy,
        }
    }

    /// Returns the media type of a request.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OtlpProtobuf => CONTENT_TYPE_PROTOBUF,
            Self::OtlpJson => CONTENT_TYPE_JSON,
            Self::RemoteWrite => remote_write_1::CONTENT_TYPE,
        }
    }

    /// Returns whether an error status is retryable (opentelemetry-proto, `docs/specification.md`, "Retryable
    /// Response Codes"; Prometheus remote write 1.0, "Retries & Backoff").
    pub fn is_retryable(self, status: u16) -> bool {
        match self {
            Self::OtlpProtobuf | Self::OtlpJson => matches!(status, 429 | 502..=504),
            Self::RemoteWrite => matches!(status, 429 | 500..=599),
        }
    }

    /// Returns the type of an exporter with this encoding (OpenTelemetry semantic conventions,
    /// `otel.component.type`, which do not define a type for remote write).
    pub fn component_type(self) -> &'static str {
        match self {
            Self::OtlpProtobuf => "otlp_http_metric_exporter",
            Self::OtlpJson => "otlp_http_json_metric_exporter",
            Self::RemoteWrite => "prometheus_remote_write_metric_exporter",
        }
    }

    /// Returns the default path of a request.
    pub fn default_path(self) -> &'static str {
        match self {
            Self::OtlpProtobuf | Self::OtlpJson => DEFAULT_PATH,
            Self::RemoteWrite => remote_write_1::DEFAULT_PATH,
        }
    }

    /// Returns the version of remote write, which is a header of its requests.
    pub fn protocol_version(self) -> Option<&'static str> {
        (self == Self::RemoteWrite).then_some(remote_write_1::VERSION)
    }
}

#[cfg(test)]
mod tests;
