//! A snapshot, read part by part: only one part at a time is decoded.

use prost::{Message, decode_length_delimiter};
use tributary_proto::attributes::{self, Value as Attribute};
use tributary_proto::batch::{Group, Point, Series};
use tributary_proto::console::{PART_BYTES_MAX, SnapshotPart};
use tributary_proto::decimal;
use tributary_proto::metric::Metric;

/// What the service wrote (`schema/console.proto`).
#[derive(Clone, Debug, Default)]
pub struct Snapshot<'a> {
    /// When it was begun, in Unix nanoseconds.
    pub time_unix_nano: u64,
    /// Whether series were left out.
    pub is_cut: bool,
    /// The attributes of the resource, canonical.
    resource: Vec<u8>,
    bytes: &'a [u8],
}

/// Some series of one metric; others may be in the parts that follow.
#[derive(Clone, Debug)]
pub struct MetricPart {
    /// The metric.
    pub metric: Metric,
    series: Vec<Series>,
}

impl<'a> Snapshot<'a> {
    /// Reads the beginning and the end of a snapshot. Invalid bytes give an empty snapshot.
    pub fn read(bytes: &'a [u8]) -> Self {
        let first = encoded_parts(bytes).next().and_then(decode).unwrap_or_default();
        let last = encoded_parts(bytes).last().and_then(decode).unwrap_or_default();
        Self { time_unix_nano: first.time_unix_nano, is_cut: last.is_cut, resource: first.resource, bytes }
    }

    /// The attributes of the resource.
    pub fn resource(&self) -> impl Iterator<Item = (&str, Attribute<'_>)> {
        attributes::iter(&self.resource)
    }

    /// The series, part by part.
    pub fn metrics(&self) -> impl Iterator<Item = MetricPart> + use<'a> {
        let groups = encoded_parts(self.bytes).filter_map(decode).flat_map(|part| part.groups);
        groups.filter_map(|group| {
            let Group { metrics, series } = Group::from_wire(group).ok()?;
            let metric = metrics.into_iter().next()?;
            (!series.is_empty()).then_some(MetricPart { metric, series })
        })
    }
}

impl MetricPart {
    /// Its series, each with its point.
    pub fn points(&self) -> impl Iterator<Item = (&Series, &Point)> {
        self.series.iter().filter_map(|series| Some((series, series.points.first()?)))
    }
}

/// The text of a sum: a whole number where the metric counts whole units.
pub fn sum_text(metric: &Metric, point: &Point) -> String {
    match point {
        Point::Counter(count) if metric.divisor == 1 => count.to_string(),
        Point::UpDownCounter(sum) if metric.divisor == 1 => sum.to_string(),
        Point::Counter(count) => decimal::text(metric.in_unit((*count).into())),
        Point::UpDownCounter(sum) => decimal::text(metric.in_unit_signed(*sum)),
        Point::Histogram(histogram) => decimal::text(metric.in_unit(histogram.sum())),
        Point::Exponential(histogram) => decimal::text(metric.in_unit(histogram.sum())),
    }
}

/// The parts of a snapshot, each still encoded. Ends where the bytes are invalid.
fn encoded_parts(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let length = decode_length_delimiter(&mut bytes).ok()?;
        let (part, rest) = bytes.split_at_checked(length)?;
        bytes = rest;
        Some(part)
    })
}

/// Decodes a part, unless it is longer than the service writes any: what is decoded takes more memory than its bytes.
fn decode(part: &[u8]) -> Option<SnapshotPart> {
    if part.len() > PART_BYTES_MAX { None } else { SnapshotPart::decode(part).ok() }
}
