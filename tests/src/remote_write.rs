//! Prometheus remote write 1.0: the messages, their encoding and the HTTP headers.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use prost::Message;

mod messages;

pub use messages::{
    BucketSpan, Label, LabeledExemplar, MetricMetadata, NativeHistogram, Sample, TimeSeries, WriteRequest,
};

/// The header that marks a remote write request.
pub const VERSION_HEADER: &str = "x-prometheus-remote-write-version";
/// The value of [`VERSION_HEADER`] for remote write 1.0.
pub const VERSION: &str = "0.1.0";
/// The content type of a request.
pub const CONTENT_TYPE: &str = "application/x-protobuf";
/// The content encoding of a request: snappy's block format.
pub const CONTENT_ENCODING: &str = "snappy";
/// The label with the name of the metric.
pub const NAME_LABEL: &str = "__name__";

/// The bit pattern of Prometheus' staleness marker, a NaN.
const STALE_BITS: u64 = 0x7ff0_0000_0000_0002;
const TIMEOUT: Duration = Duration::from_secs(10);

impl TimeSeries {
    /// Makes a series without samples. Sorts the labels by name, as the protocol requires.
    pub fn new(name: &str, labels: &[(&str, &str)]) -> Self {
        let all = labels.iter().copied().chain([(NAME_LABEL, name)]);
        let label = |(name, value): (&str, &str)| Label { name: name.to_owned(), value: value.to_owned() };
        let mut labels: Vec<_> = all.map(label).collect();
        labels.sort_by(|a, b| a.name.cmp(&b.name));
        Self { labels, ..Self::default() }
    }

    /// Adds a sample; the time is in milliseconds since 1970.
    #[must_use]
    pub fn sample(mut self, timestamp: i64, value: f64) -> Self {
        self.samples.push(Sample { value, timestamp });
        self
    }

    /// Adds a native histogram.
    #[must_use]
    pub fn histogram(mut self, histogram: NativeHistogram) -> Self {
        self.histograms.push(histogram);
        self
    }

    /// Adds an exemplar with one label; the time is in milliseconds since 1970.
    #[must_use]
    pub fn exemplar(mut self, timestamp: i64, value: f64, (name, label): (&str, &str)) -> Self {
        let labels = vec![Label { name: name.to_owned(), value: label.to_owned() }];
        self.exemplars.push(LabeledExemplar { labels, value, timestamp });
        self
    }
}

/// Returns the staleness marker, which ends a series.
pub fn stale_marker() -> f64 {
    f64::from_bits(STALE_BITS)
}

/// Returns whether a value is the staleness marker.
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_BITS
}

/// Encodes and compresses a request.
///
/// # Errors
/// The request exceeds the 4 GiB of snappy's block format.
pub fn encode(request: &WriteRequest) -> Result<Vec<u8>> {
    Ok(snap::raw::Encoder::new().compress_vec(&request.encode_to_vec())?)
}

/// Decompresses and decodes a request.
pub fn decode(body: &[u8]) -> Result<WriteRequest> {
    let plain = snap::raw::Decoder::new().decompress_vec(body).context("the body is not snappy")?;
    WriteRequest::decode(plain.as_slice()).context("the body is not a WriteRequest")
}

/// Posts a request with the headers that Prometheus sends. Fails unless the status is 2xx.
pub async fn post(address: SocketAddr, path: &str, request: &WriteRequest) -> Result<()> {
    let url = format!("http://{address}{path}");
    let post = reqwest::Client::new().post(&url).timeout(TIMEOUT).body(encode(request)?);
    let post = post.header("user-agent", "tributary-tests").header(VERSION_HEADER, VERSION);
    let post = post.header("content-type", CONTENT_TYPE).header("content-encoding", CONTENT_ENCODING);
    let answer = post.send().await.with_context(|| url.clone())?;
    let status = answer.status();
    let body = answer.text().await.unwrap_or_default();
    ensure!(status.is_success(), "{url} answered {status}: {body}");
    Ok(())
}
