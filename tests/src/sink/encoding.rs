//! The encodings that a sink accepts, detected from the headers of a request, and the decoded messages.

use std::io::Read;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT};
use hyper::{Response, StatusCode};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use prost::Message as _;
use serde_json::json;

use super::json;
use crate::http_server::ResponseBody;
use crate::remote_write::{self, VERSION, VERSION_HEADER, WriteRequest};

pub(super) const PROTOBUF: &str = "application/x-protobuf";
pub(super) const JSON: &str = "application/json";

/// The encoding of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RequestEncoding {
    /// OTLP/HTTP in protobuf.
    OtlpProtobuf,
    /// OTLP/HTTP in JSON.
    OtlpJson,
    /// Prometheus remote write 1.0.
    RemoteWrite,
}

/// The decoded content of a request.
#[derive(Debug, Clone)]
pub enum Message {
    /// An OTLP request, in either encoding.
    Otlp(Arc<ExportMetricsServiceRequest>),
    /// A remote write request.
    RemoteWrite(Arc<WriteRequest>),
}

impl Message {
    /// Returns the OTLP request; `None` for remote write.
    pub fn otlp(&self) -> Option<&ExportMetricsServiceRequest> {
        match self {
            Self::Otlp(request) => Some(request),
            Self::RemoteWrite(_) => None,
        }
    }

    /// Returns the remote write request; `None` for OTLP.
    pub fn remote_write(&self) -> Option<&WriteRequest> {
        match self {
            Self::RemoteWrite(request) => Some(request),
            Self::Otlp(_) => None,
        }
    }
}

impl Message {
    /// Returns the number of OTLP data points; 0 for remote write.
    pub fn points(&self) -> usize {
        self.metrics().map(|metric| metric.data.as_ref().map_or(0, points)).sum()
    }

    /// Returns the sum of the counts of all OTLP points of the histogram `name`; 0 for remote write.
    pub fn histogram_count(&self, name: &str) -> u64 {
        let histograms = self.metrics().filter(|metric| metric.name == name).filter_map(|metric| {
            let Some(Data::Histogram(histogram)) = &metric.data else { return None };
            Some(&histogram.data_points)
        });
        histograms.flatten().map(|point| point.count).sum()
    }

    fn metrics(&self) -> impl Iterator<Item = &Metric> {
        let resources = match self {
            Self::Otlp(request) => request.resource_metrics.as_slice(),
            Self::RemoteWrite(_) => &[],
        };
        resources.iter().flat_map(|resource| &resource.scope_metrics).flat_map(|scope| &scope.metrics)
    }
}

fn points(data: &Data) -> usize {
    match data {
        Data::Gauge(gauge) => gauge.data_points.len(),
        Data::Sum(sum) => sum.data_points.len(),
        Data::Histogram(histogram) => histogram.data_points.len(),
        Data::ExponentialHistogram(histogram) => histogram.data_points.len(),
        Data::Summary(summary) => summary.data_points.len(),
    }
}

impl RequestEncoding {
    /// Detects the encoding from the headers.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self> {
        let content_type = headers.get(CONTENT_TYPE);
        let is = |expected: &str| content_type.is_some_and(|found| found == expected);
        let is_snappy =
            headers.get(CONTENT_ENCODING).is_some_and(|found| found == remote_write::CONTENT_ENCODING);
        if headers.contains_key(VERSION_HEADER) || is_snappy {
            let version = headers.get(VERSION_HEADER);
            ensure!(
                version.is_some_and(|found| found == VERSION),
                "{VERSION_HEADER} is {version:?}, not {VERSION}"
            );
            ensure!(is_snappy, "remote write must be compressed with snappy");
            ensure!(
                is(remote_write::CONTENT_TYPE),
                "the content type of remote write is {content_type:?}, not {}",
                remote_write::CONTENT_TYPE
            );
            ensure!(headers.contains_key(USER_AGENT), "remote write must have a user agent");
            return Ok(Self::RemoteWrite);
        }
        match content_type {
            _ if is(PROTOBUF) => Ok(Self::OtlpProtobuf),
            _ if is(JSON) => Ok(Self::OtlpJson),
            other => bail!("the content type is {other:?}, neither {PROTOBUF} nor {JSON}"),
        }
    }

    /// Decompresses and decodes the body of a request.
    pub(super) fn decode(self, headers: &HeaderMap, body: &[u8]) -> Result<Message> {
        let otlp = |request| Message::Otlp(Arc::new(request));
        match self {
            Self::RemoteWrite => Ok(Message::RemoteWrite(Arc::new(remote_write::decode(body)?))),
            Self::OtlpJson => Ok(otlp(json::decode(&unpacked(headers, body)?)?)),
            Self::OtlpProtobuf => {
                let request = ExportMetricsServiceRequest::decode(unpacked(headers, body)?.as_slice());
                Ok(otlp(request.context("the body is not an ExportMetricsServiceRequest")?))
            }
        }
    }

    /// Makes the response to an accepted request. Remote write has no partial success.
    pub(super) fn success(
        self,
        partial_success: Option<ExportMetricsPartialSuccess>,
    ) -> Response<ResponseBody> {
        let (content_type, body) = match self {
            Self::RemoteWrite => {
                let mut response = Response::new(ResponseBody::whole(""));
                *response.status_mut() = StatusCode::NO_CONTENT;
                return response;
            }
            Self::OtlpProtobuf => {
                (PROTOBUF, ExportMetricsServiceResponse { partial_success }.encode_to_vec())
            }
            Self::OtlpJson => {
                let body = partial_success.map_or_else(
                    || json!({}),
                    |partial| {
                        let rejected = partial.rejected_data_points.to_string();
                        json!({"partialSuccess":
                            {"rejectedDataPoints": rejected, "errorMessage": partial.error_message}})
                    },
                );
                (JSON, body.to_string().into_bytes())
            }
        };
        let mut response = Response::new(ResponseBody::whole(body));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        response
    }
}

fn unpacked(headers: &HeaderMap, body: &[u8]) -> Result<Vec<u8>> {
    let mut plain = Vec::new();
    match headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"identity") => plain.extend_from_slice(body),
        Some(b"gzip") => {
            flate2::read::GzDecoder::new(body).read_to_end(&mut plain).context("the body is not gzip")?;
        }
        Some(b"deflate") => {
            flate2::read::ZlibDecoder::new(body)
                .read_to_end(&mut plain)
                .context("the body is not deflate")?;
        }
        Some(other) => bail!("unknown content encoding {:?}", String::from_utf8_lossy(other)),
    }
    Ok(plain)
}
