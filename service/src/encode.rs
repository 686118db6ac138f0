//! Encoding: points in, the bytes of a request out, as each kind of collector takes them.

mod otlp;
mod protobuf;
mod remote_write;
mod size;

pub use size::SizeHint;

use tributary_proto::otlp::{CONTENT_TYPE_JSON, CONTENT_TYPE_PROTOBUF, DEFAULT_PATH};
use tributary_proto::remote_write as remote_write_1;

use self::otlp::Notation;
use crate::compress::Compression;
use crate::points::MetricPoints;
use crate::resource::Resource;

/// How a collector takes points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// OTLP/HTTP in protobuf.
    OtlpProtobuf,
    /// OTLP/HTTP in JSON.
    OtlpJson,
    /// Prometheus remote write 1.0. It has no delta temporality: such points are left out.
    RemoteWrite,
}

/// A part of a request's body, before it is compressed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    /// The part. Not to be sent if there are no points in it.
    pub bytes: Vec<u8>,
    /// Points in it.
    pub points: u64,
    /// Points that this encoding cannot say, or that do not fit their metric.
    pub left_out: u64,
}

impl Encoding {
    /// Encodes points as a part of a request's body. Those of one metric stay together. The first part of a body is told its
    /// time, `first_unix_nano`, which does not fall from one body to the next as that of points that tell an end may.
    pub fn part(
        self,
        resource: &Resource,
        metrics: &[MetricPoints<'_>],
        first_unix_nano: Option<u64>,
    ) -> Encoded {
        match self {
            // Messages one after the other are one message with what is in all of them.
            Self::OtlpProtobuf => otlp::part(Notation::Protobuf, resource, metrics),
            Self::OtlpJson => otlp::part(Notation::Json, resource, metrics),
            Self::RemoteWrite => remote_write::part(resource, metrics, first_unix_nano),
        }
    }

    /// What stands before the first part of a body, between two, and after the last.
    pub fn frame(self) -> [&'static [u8]; 3] {
        match self {
            Self::OtlpProtobuf | Self::RemoteWrite => [b"", b"", b""],
            Self::OtlpJson => [b"{\"resourceMetrics\":[", b",", b"]}"],
        }
    }

    /// How the body is compressed. Remote write is always compressed in its own way, whatever is wished.
    pub fn compression(self, wished: Compression) -> Compression {
        match self {
            Self::OtlpProtobuf | Self::OtlpJson => wished,
            Self::RemoteWrite => Compression::Snappy,
        }
    }

    /// The media type of a request.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OtlpProtobuf => CONTENT_TYPE_PROTOBUF,
            Self::OtlpJson => CONTENT_TYPE_JSON,
            Self::RemoteWrite => remote_write_1::CONTENT_TYPE,
        }
    }

    /// Whether what was answered with this status, an error, is to be sent again (opentelemetry-proto, `docs/specification.md`,
    /// "Retryable Response Codes"; Prometheus remote write 1.0, "Retries & Backoff").
    pub fn is_tried_again(self, status: u16) -> bool {
        match self {
            Self::OtlpProtobuf | Self::OtlpJson => matches!(status, 429 | 502..=504),
            Self::RemoteWrite => matches!(status, 429 | 500..=599),
        }
    }

    /// What an exporter of this encoding is called (OpenTelemetry semantic conventions, `otel.component.type`; they have no
    /// word for remote write).
    pub fn component_type(self) -> &'static str {
        match self {
            Self::OtlpProtobuf => "otlp_http_metric_exporter",
            Self::OtlpJson => "otlp_http_json_metric_exporter",
            Self::RemoteWrite => "prometheus_remote_write_metric_exporter",
        }
    }

    /// The path to which a request goes where no other is configured.
    pub fn default_path(self) -> &'static str {
        match self {
            Self::OtlpProtobuf | Self::OtlpJson => DEFAULT_PATH,
            Self::RemoteWrite => remote_write_1::DEFAULT_PATH,
        }
    }

    /// The headers that a request has by its encoding, besides `content-encoding`, which [`Compression`] says.
    pub fn headers(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::OtlpProtobuf => &[("content-type", CONTENT_TYPE_PROTOBUF)],
            Self::OtlpJson => &[("content-type", CONTENT_TYPE_JSON)],
            Self::RemoteWrite => &[
                ("content-type", remote_write_1::CONTENT_TYPE),
                ("x-prometheus-remote-write-version", remote_write_1::VERSION),
            ],
        }
    }
}

/// Counts of this machine fit: usize is at most 64 bits wide on every target there is.
pub(crate) fn as_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
