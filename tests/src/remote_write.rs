//! Prometheus remote write 1.0: its messages, written by hand from the published field numbers, and its framing.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use prost::Message;

/// The header that tells a remote write request from any other.
pub const VERSION_HEADER: &str = "x-prometheus-remote-write-version";
/// The version that remote write 1.0 calls itself by.
pub const VERSION: &str = "0.1.0";
/// The content type of a request.
pub const CONTENT_TYPE: &str = "application/x-protobuf";
/// The content encoding of a request: snappy's block format.
pub const CONTENT_ENCODING: &str = "snappy";
/// The label that holds a metric's name.
pub const NAME_LABEL: &str = "__name__";

/// The value that ends a series: one of the many bit patterns that are not a number.
const STALE_BITS: u64 = 0x7ff0_0000_0000_0002;
const TIMEOUT: Duration = Duration::from_secs(10);

/// One request.
#[derive(Clone, PartialEq, Message)]
pub struct WriteRequest {
    /// The series with their new samples.
    #[prost(message, repeated, tag = "1")]
    pub timeseries: Vec<TimeSeries>,
    /// What is known of metrics besides.
    #[prost(message, repeated, tag = "3")]
    pub metadata: Vec<MetricMetadata>,
}

/// New samples of one series.
#[derive(Clone, PartialEq, Message)]
pub struct TimeSeries {
    /// What tells the series from all others, the metric's name among it.
    #[prost(message, repeated, tag = "1")]
    pub labels: Vec<Label>,
    /// Numbers.
    #[prost(message, repeated, tag = "2")]
    pub samples: Vec<Sample>,
    /// Single measurements.
    #[prost(message, repeated, tag = "3")]
    pub exemplars: Vec<Exemplar>,
    /// Native histograms.
    #[prost(message, repeated, tag = "4")]
    pub histograms: Vec<Histogram>,
}

/// One label.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Label {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// A number at a time.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Sample {
    /// The number.
    #[prost(double, tag = "1")]
    pub value: f64,
    /// When, in milliseconds since 1970.
    #[prost(int64, tag = "2")]
    pub timestamp: i64,
}

/// One measurement and where it came from.
#[derive(Clone, PartialEq, Message)]
pub struct Exemplar {
    /// Where it came from, such as `trace_id`.
    #[prost(message, repeated, tag = "1")]
    pub labels: Vec<Label>,
    /// What was measured.
    #[prost(double, tag = "2")]
    pub value: f64,
    /// When, in milliseconds since 1970.
    #[prost(int64, tag = "3")]
    pub timestamp: i64,
}

/// A native histogram of whole numbers (those of floating-point numbers, in other fields, are left out here).
#[derive(Clone, PartialEq, Message)]
pub struct Histogram {
    /// How many values were measured.
    #[prost(uint64, optional, tag = "1")]
    pub count_int: Option<u64>,
    /// Their sum.
    #[prost(double, tag = "3")]
    pub sum: f64,
    /// How fine the buckets are: bounds are powers of `2^(2^-schema)`.
    #[prost(sint32, tag = "4")]
    pub schema: i32,
    /// How far from zero a value may be to be counted as zero.
    #[prost(double, tag = "5")]
    pub zero_threshold: f64,
    /// How many values were counted as zero.
    #[prost(uint64, optional, tag = "6")]
    pub zero_count_int: Option<u64>,
    /// Which buckets below zero there are.
    #[prost(message, repeated, tag = "8")]
    pub negative_spans: Vec<BucketSpan>,
    /// The number of values in each of them, less that of the one before.
    #[prost(sint64, repeated, tag = "9")]
    pub negative_deltas: Vec<i64>,
    /// Which buckets above zero there are.
    #[prost(message, repeated, tag = "11")]
    pub positive_spans: Vec<BucketSpan>,
    /// The number of values in each of them, less that of the one before.
    #[prost(sint64, repeated, tag = "12")]
    pub positive_deltas: Vec<i64>,
    /// Whether it begins anew: unknown 0, yes 1, no 2, it is a gauge 3.
    #[prost(int32, tag = "14")]
    pub reset_hint: i32,
    /// When, in milliseconds since 1970.
    #[prost(int64, tag = "15")]
    pub timestamp: i64,
}

/// Neighbouring buckets of a native histogram.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct BucketSpan {
    /// How many buckets lie between the span before and this one; in the first span the index to begin with.
    ///
    /// The bucket of index `i` ends at `2^(i * 2^-schema)`: OpenTelemetry counts one lower.
    #[prost(sint32, tag = "1")]
    pub offset: i32,
    /// How many there are.
    #[prost(uint32, tag = "2")]
    pub length: u32,
}

/// What is known of a metric besides its series.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct MetricMetadata {
    /// Unknown 0, counter 1, gauge 2, histogram 3, and others.
    #[prost(int32, tag = "1")]
    pub r#type: i32,
    /// The metric's name.
    #[prost(string, tag = "2")]
    pub metric_family_name: String,
    /// What it means.
    #[prost(string, tag = "4")]
    pub help: String,
    /// Its unit.
    #[prost(string, tag = "5")]
    pub unit: String,
}

impl TimeSeries {
    /// A series without samples, its labels in the order that the protocol demands.
    pub fn new(name: &str, labels: &[(&str, &str)]) -> Self {
        let all = labels.iter().copied().chain([(NAME_LABEL, name)]);
        let label = |(name, value): (&str, &str)| Label { name: name.to_owned(), value: value.to_owned() };
        let mut labels: Vec<_> = all.map(label).collect();
        labels.sort_by(|a, b| a.name.cmp(&b.name));
        Self { labels, ..Self::default() }
    }

    /// Adds a number at a time in milliseconds since 1970.
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

    /// Adds an exemplar with one label at a time in milliseconds since 1970.
    #[must_use]
    pub fn exemplar(mut self, timestamp: i64, value: f64, (name, label): (&str, &str)) -> Self {
        let labels = vec![Label { name: name.to_owned(), value: label.to_owned() }];
        self.exemplars.push(Exemplar { labels, value, timestamp });
        self
    }
}

/// The value that ends a series.
pub fn stale_marker() -> f64 {
    f64::from_bits(STALE_BITS)
}

/// Whether a value ends its series.
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_BITS
}

/// A request as it goes over the wire.
///
/// # Errors
/// It is beyond what snappy's block format can hold, 4 GB.
pub fn encode(request: &WriteRequest) -> Result<Vec<u8>> {
    Ok(snap::raw::Encoder::new().compress_vec(&request.encode_to_vec())?)
}

/// A request from what came over the wire.
///
/// # Errors
/// It is not snappy's block format, or what is in it is no request.
pub fn decode(body: &[u8]) -> Result<WriteRequest> {
    let plain = snap::raw::Decoder::new().decompress_vec(body).context("the body is not snappy")?;
    WriteRequest::decode(plain.as_slice()).context("the body is no WriteRequest")
}

/// Sends a request as Prometheus does.
///
/// # Errors
/// Nothing answers, or not with success.
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
