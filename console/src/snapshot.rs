//! Reads a snapshot part by part, so that only one part at a time is decoded.

use prost::bytes::Bytes;
use prost::{Message, decode_length_delimiter};
use tributary_proto::attributes::{self, AttributeValue};
use tributary_proto::console::{PART_BYTES_MAX, SnapshotPart};
use tributary_proto::decimal;
use tributary_proto::generated::batch::Series;
use tributary_proto::generated::batch::point::Value;
use tributary_proto::metric::Metric;

/// A snapshot of the table, as the service wrote it (`schema/console.proto`).
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    /// The time at which the service started to write the snapshot, in Unix nanoseconds.
    pub(crate) time_unix_nano: u64,
    /// Whether series were left out because the snapshot would be too large.
    pub(crate) is_cut: bool,
    /// The attributes of the resource, in canonical encoding.
    resource: Vec<u8>,
    bytes: Bytes,
}

/// Some series of one metric; the following parts may have more series of the same metric.
#[derive(Clone, Debug)]
pub(crate) struct MetricPart {
    /// The metric of the series.
    pub(crate) metric: Metric,
    series: Vec<Series>,
}

/// A value of an attribute, or a sum.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
#[serde(untagged)]
pub(crate) enum Scalar<'a> {
    Text(&'a str),
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Double(f64),
}

impl Snapshot {
    /// Reads the beginning and the end of a snapshot. Invalid bytes give an empty snapshot.
    pub(crate) fn read(bytes: Vec<u8>) -> Self {
        let bytes = Bytes::from(bytes);
        let first = encoded_parts(&bytes).next().and_then(decode).unwrap_or_default();
        let last = encoded_parts(&bytes).last().and_then(decode).unwrap_or_default();
        Self { time_unix_nano: first.time_unix_nano, is_cut: last.is_cut, resource: first.resource, bytes }
    }

    /// Returns the attributes of the resource.
    pub(crate) fn resource(&self) -> impl Iterator<Item = (&str, Scalar<'_>)> {
        scalars(&self.resource)
    }

    /// Returns the series, part by part.
    pub(crate) fn metrics(&self) -> impl Iterator<Item = MetricPart> {
        let groups = encoded_parts(&self.bytes).filter_map(decode).flat_map(|part| part.groups);
        groups.filter_map(|group| {
            let metric = Metric::from_wire(group.metrics.into_iter().next()?).ok()?;
            (!group.series.is_empty()).then_some(MetricPart { metric, series: group.series })
        })
    }
}

impl MetricPart {
    /// Returns the series of this part, each with its value.
    pub(crate) fn points(&self) -> impl Iterator<Item = (&Series, &Value)> {
        self.series.iter().filter_map(|series| Some((series, series.points.first()?.value.as_ref()?)))
    }
}

impl Scalar<'_> {
    /// Formats this value as text for Prometheus.
    pub(crate) fn text(self) -> String {
        match self {
            Self::Text(text) => text.to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Unsigned(number) => number.to_string(),
            Self::Signed(number) => number.to_string(),
            Self::Double(number) => decimal::text(number),
        }
    }
}

/// Returns attributes in canonical encoding as scalars.
pub(crate) fn scalars(canonical: &[u8]) -> impl Iterator<Item = (&str, Scalar<'_>)> {
    attributes::iter(canonical).map(|(key, value)| {
        let value = match value {
            AttributeValue::Text(text) => Scalar::Text(text),
            AttributeValue::Bool(value) => Scalar::Bool(value),
            AttributeValue::Integer(number) => Scalar::Signed(number),
        };
        (key, value)
    })
}

/// Returns the sum of a point: an integer if the metric counts whole units.
pub(crate) fn sum(metric: &Metric, value: &Value) -> Scalar<'static> {
    let wide = |low: u64, high: u64| metric.in_unit(u128::from(high) << 64 | u128::from(low));
    Scalar::Double(match value {
        Value::Counter(count) if metric.divisor == 1 => return Scalar::Unsigned(*count),
        Value::UpDownCounter(sum) if metric.divisor == 1 => return Scalar::Signed(*sum),
        Value::Counter(count) => metric.in_unit((*count).into()),
        Value::UpDownCounter(sum) => metric.in_unit_signed(*sum),
        Value::Histogram(histogram) => wide(histogram.sum_low, histogram.sum_high),
        Value::ExponentialHistogram(histogram) => wide(histogram.sum_low, histogram.sum_high),
    })
}

/// Returns the number of values in a histogram: the `zeros`, which are in no bucket, plus the values in
/// `buckets`.
pub(crate) fn count(zeros: u64, buckets: &[u64]) -> u64 {
    buckets.iter().fold(zeros, |sum, count| sum.saturating_add(*count))
}

/// Splits a snapshot into its encoded parts. Ends at invalid bytes.
fn encoded_parts(bytes: &Bytes) -> impl Iterator<Item = Bytes> {
    let mut rest = bytes.clone();
    std::iter::from_fn(move || {
        let length = decode_length_delimiter(&mut rest).ok()?;
        // Splitting past the end panics.
        (length <= rest.len()).then(|| rest.split_to(length))
    })
}

/// Decodes a part. Returns `None` if the part is invalid, or longer than the parts that the service writes,
/// because a decoded part takes more memory than its bytes.
fn decode(part: Bytes) -> Option<SnapshotPart> {
    if part.len() > PART_BYTES_MAX { None } else { SnapshotPart::decode(part).ok() }
}
