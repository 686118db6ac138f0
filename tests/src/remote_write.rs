//! Prometheus remote write 1.0: its messages, declared from the published field numbers, and its framing.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use prost::Message;

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

/// A remote write request.
#[derive(Clone, PartialEq, Message)]
pub struct WriteRequest {
    /// The series with new samples.
    #[prost(message, repeated, tag = "1")]
    pub timeseries: Vec<TimeSeries>,
    /// The metadata of metrics.
    #[prost(message, repeated, tag = "3")]
    pub metadata: Vec<MetricMetadata>,
}

/// New samples of one series.
#[derive(Clone, PartialEq, Message)]
pub struct TimeSeries {
    /// The labels of the series, including the metric name.
    #[prost(message, repeated, tag = "1")]
    pub labels: Vec<Label>,
    /// The new samples.
    #[prost(message, repeated, tag = "2")]
    pub samples: Vec<Sample>,
    /// The new exemplars.
    #[prost(message, repeated, tag = "3")]
    pub exemplars: Vec<Exemplar>,
    /// The new native histograms.
    #[prost(message, repeated, tag = "4")]
    pub histograms: Vec<Histogram>,
}

/// One label.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Label {
    /// The name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// A number with its time.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Sample {
    /// The value.
    #[prost(double, tag = "1")]
    pub value: f64,
    /// The time, in milliseconds since 1970.
    #[prost(int64, tag = "2")]
    pub timestamp: i64,
}

/// One recorded value with its origin.
#[derive(Clone, PartialEq, Message)]
pub struct Exemplar {
    /// The labels of the origin, such as `trace_id`.
    #[prost(message, repeated, tag = "1")]
    pub labels: Vec<Label>,
    /// The value.
    #[prost(double, tag = "2")]
    pub value: f64,
    /// The time, in milliseconds since 1970.
    #[prost(int64, tag = "3")]
    pub timestamp: i64,
}

/// A native histogram with integer counts (the fields for floating-point counts are left out).
#[derive(Clone, PartialEq, Message)]
pub struct Histogram {
    /// The number of recorded values.
    #[prost(uint64, optional, tag = "1")]
    pub count_int: Option<u64>,
    /// The sum of the recorded values.
    #[prost(double, tag = "3")]
    pub sum: f64,
    /// The schema: bounds are powers of `2^(2^-schema)`.
    #[prost(sint32, tag = "4")]
    pub schema: i32,
    /// The largest distance from zero that counts as zero.
    #[prost(double, tag = "5")]
    pub zero_threshold: f64,
    /// The number of values that count as zero.
    #[prost(uint64, optional, tag = "6")]
    pub zero_count_int: Option<u64>,
    /// The spans of buckets below zero.
    #[prost(message, repeated, tag = "8")]
    pub negative_spans: Vec<BucketSpan>,
    /// The number of values in each bucket, as the difference to the previous bucket.
    #[prost(sint64, repeated, tag = "9")]
    pub negative_deltas: Vec<i64>,
    /// The spans of buckets above zero.
    #[prost(message, repeated, tag = "11")]
    pub positive_spans: Vec<BucketSpan>,
    /// The number of values in each bucket, as the difference to the previous bucket.
    #[prost(sint64, repeated, tag = "12")]
    pub positive_deltas: Vec<i64>,
    /// Whether the counts were reset: unknown 0, yes 1, no 2, gauge 3.
    #[prost(int32, tag = "14")]
    pub reset_hint: i32,
    /// The time, in milliseconds since 1970.
    #[prost(int64, tag = "15")]
    pub timestamp: i64,
}

/// Consecutive buckets of a native histogram.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct BucketSpan {
    /// The number of buckets between the previous span and this one; in the first span, the index of its
    /// first bucket.
    ///
    /// Bucket `i` ends at `2^(i * 2^-schema)`: the index is one higher than OpenTelemetry's.
    #[prost(sint32, tag = "1")]
    pub offset: i32,
    /// The number of buckets.
    #[prost(uint32, tag = "2")]
    pub length: u32,
}

/// The metadata of a metric.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct MetricMetadata {
    /// The type: unknown 0, counter 1, gauge 2, histogram 3, and others.
    #[prost(int32, tag = "1")]
    pub r#type: i32,
    /// The name of the metric.
    #[prost(string, tag = "2")]
    pub metric_family_name: String,
    /// The description.
    #[prost(string, tag = "4")]
    pub help: String,
    /// The unit.
    #[prost(string, tag = "5")]
    pub unit: String,
}

impl TimeSeries {
    /// Makes a series without samples; sorts its labels, as the protocol requires.
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
    pub fn histogram(mut self, histogram: Histogram) -> Self {
        self.histograms.push(histogram);
        self
    }

    /// Adds an exemplar with one label; the time is in milliseconds since 1970.
    #[must_use]
    pub fn exemplar(mut self, timestamp: i64, value: f64, (name, label): (&str, &str)) -> Self {
        let labels = vec![Label { name: name.to_owned(), value: label.to_owned() }];
        self.exemplars.push(Exemplar { labels, value, timestamp });
        self
    }
}

/// The staleness marker, which ends a series.
pub fn stale_marker() -> f64 {
    f64::from_bits(STALE_BITS)
}

/// Whether a value is the staleness marker.
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

/// Posts a request with the headers that Prometheus sends; fails unless the status is a success.
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
