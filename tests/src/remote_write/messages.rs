//! The messages of Prometheus remote write 1.0, as published in `prompb/remote.proto` and `types.proto` of
//! prometheus/prometheus. They are independent of the schema with which the service encodes, so that tests
//! find a wrong field number in the schema. The unit tests of the service include this file.

use prost::Message;

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
    pub exemplars: Vec<LabeledExemplar>,
    /// The new native histograms.
    #[prost(message, repeated, tag = "4")]
    pub histograms: Vec<NativeHistogram>,
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

/// One recorded value with labels that identify its origin, such as a trace.
#[derive(Clone, PartialEq, Message)]
pub struct LabeledExemplar {
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

/// A native histogram, with integer or with floating-point counts.
#[derive(Clone, PartialEq, Message)]
pub struct NativeHistogram {
    /// The number of recorded values.
    #[prost(uint64, optional, tag = "1")]
    pub count_int: Option<u64>,
    /// The same number, in a histogram with floating-point counts.
    #[prost(double, optional, tag = "2")]
    pub count_float: Option<f64>,
    /// The sum of the recorded values.
    #[prost(double, tag = "3")]
    pub sum: f64,
    /// The schema of the buckets: their bounds are powers of `2^(2^-schema)`.
    #[prost(sint32, tag = "4")]
    pub schema: i32,
    /// The largest distance from zero that counts as zero.
    #[prost(double, tag = "5")]
    pub zero_threshold: f64,
    /// The number of values that count as zero.
    #[prost(uint64, optional, tag = "6")]
    pub zero_count_int: Option<u64>,
    /// The same number, in a histogram with floating-point counts.
    #[prost(double, optional, tag = "7")]
    pub zero_count_float: Option<f64>,
    /// The spans of buckets below zero.
    #[prost(message, repeated, tag = "8")]
    pub negative_spans: Vec<BucketSpan>,
    /// The number of values in each bucket, as the difference to the previous bucket.
    #[prost(sint64, repeated, tag = "9")]
    pub negative_deltas: Vec<i64>,
    /// The number of values in each bucket of a histogram with floating-point counts.
    #[prost(double, repeated, tag = "10")]
    pub negative_counts: Vec<f64>,
    /// The spans of buckets above zero.
    #[prost(message, repeated, tag = "11")]
    pub positive_spans: Vec<BucketSpan>,
    /// The number of values in each bucket, as the difference to the previous bucket.
    #[prost(sint64, repeated, tag = "12")]
    pub positive_deltas: Vec<i64>,
    /// The number of values in each bucket of a histogram with floating-point counts.
    #[prost(double, repeated, tag = "13")]
    pub positive_counts: Vec<f64>,
    /// Whether the counts were reset since the previous histogram: unknown 0, yes 1, no 2, gauge 3.
    #[prost(int32, tag = "14")]
    pub reset_hint: i32,
    /// The time, in milliseconds since 1970.
    #[prost(int64, tag = "15")]
    pub timestamp: i64,
}

/// Consecutive buckets of a native histogram.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct BucketSpan {
    /// The number of buckets between the previous span and this span. For the first span, the index of its
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
    pub kind: i32,
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
