//! A snapshot, read part by part: only one part at a time is decoded.

use prost::bytes::Bytes;
use prost::{Message, decode_length_delimiter};
use tributary_proto::attributes::{self, AttributeValue as Attribute};
use tributary_proto::console::{PART_BYTES_MAX, SnapshotPart};
use tributary_proto::decimal;
use tributary_proto::generated::batch::Series;
use tributary_proto::generated::batch::point::Value;
use tributary_proto::metric::Metric;

use crate::json::Scalar;

/// What the service wrote (`schema/console.proto`).
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// When it was begun, in Unix nanoseconds.
    pub time_unix_nano: u64,
    /// Whether series were left out.
    pub is_cut: bool,
    /// The attributes of the resource, canonical.
    resource: Vec<u8>,
    bytes: Bytes,
}

/// Some series of one metric; others may be in the parts that follow.
#[derive(Clone, Debug)]
pub struct MetricPart {
    /// The metric.
    pub metric: Metric,
    series: Vec<Series>,
}

impl Snapshot {
    /// Reads the beginning and the end of a snapshot. Invalid bytes give an empty snapshot.
    pub fn read(bytes: Vec<u8>) -> Self {
        let bytes = Bytes::from(bytes);
        let first = encoded_parts(&bytes).next().and_then(decode).unwrap_or_default();
        let last = encoded_parts(&bytes).last().and_then(decode).unwrap_or_default();
        Self { time_unix_nano: first.time_unix_nano, is_cut: last.is_cut, resource: first.resource, bytes }
    }

    /// The attributes of the resource.
    pub fn resource(&self) -> impl Iterator<Item = (&str, Attribute<'_>)> {
        attributes::iter(&self.resource)
    }

    /// The series, part by part.
    pub fn metrics(&self) -> impl Iterator<Item = MetricPart> {
        let groups = encoded_parts(&self.bytes).filter_map(decode).flat_map(|part| part.groups);
        groups.filter_map(|group| {
            let metric = Metric::from_wire(group.metrics.into_iter().next()?).ok()?;
            (!group.series.is_empty()).then_some(MetricPart { metric, series: group.series })
        })
    }
}

impl MetricPart {
    /// Its series, each with what it counted.
    pub fn points(&self) -> impl Iterator<Item = (&Series, &Value)> {
        self.series.iter().filter_map(|series| Some((series, series.points.first()?.value.as_ref()?)))
    }
}

/// The sum of a point: a whole number where the metric counts whole units.
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

/// The text of a sum, as Prometheus reads it.
pub(crate) fn sum_text(metric: &Metric, value: &Value) -> String {
    match sum(metric, value) {
        Scalar::Unsigned(count) => count.to_string(),
        Scalar::Signed(sum) => sum.to_string(),
        Scalar::Double(sum) => decimal::text(sum),
        Scalar::Text(_) | Scalar::Bool(_) => String::new(),
    }
}

/// How many values a histogram with these buckets counted, besides zeros that are in none of them.
pub fn count(zeros: u64, buckets: &[u64]) -> u64 {
    buckets.iter().fold(zeros, |sum, count| sum.saturating_add(*count))
}

/// The parts of a snapshot, each still encoded. Ends where the bytes are invalid.
fn encoded_parts(bytes: &Bytes) -> impl Iterator<Item = Bytes> {
    let mut rest = bytes.clone();
    std::iter::from_fn(move || {
        let length = decode_length_delimiter(&mut rest).ok()?;
        // Splitting past the end panics.
        (length <= rest.len()).then(|| rest.split_to(length))
    })
}

/// Decodes a part, unless it is longer than the service writes any: what is decoded takes more memory than its bytes.
fn decode(part: Bytes) -> Option<SnapshotPart> {
    if part.len() > PART_BYTES_MAX { None } else { SnapshotPart::decode(part).ok() }
}
