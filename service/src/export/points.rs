//! Points to export, by their metrics. Encoders write them, each with its own time.

use std::borrow::Cow;

use tributary_proto::batch::Point;
use tributary_proto::exemplar::Exemplar;
use tributary_proto::exponential::ExponentialHistogram;
use tributary_proto::histogram::Histogram;
use tributary_proto::metric::{Kind, Metric};

/// Points of one metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricPoints<'a> {
    /// The metric.
    pub metric: &'a Metric,
    /// The temporality of the points. Up-down counters are always cumulative.
    pub temporality: Temporality,
    /// The points, each of another series.
    pub points: Vec<DataPoint<'a>>,
}

/// The start of a point's counts (OpenTelemetry metrics data model, "Temporality").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Temporality {
    /// The start of the series.
    Cumulative,
    /// The previous point.
    Delta,
}

/// One series at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataPoint<'a> {
    /// Canonical bytes ([`tributary_proto::attributes::decode`]).
    pub attributes: &'a [u8],
    /// The start of its counts.
    pub start_unix_nano: u64,
    /// The end of its counts.
    pub time_unix_nano: u64,
    /// What it counted.
    pub value: PointValue<'a>,
    /// One of the counted observations.
    pub exemplar: Option<&'a Exemplar>,
}

/// What a series counted, as integers that [`Metric::divisor`] scales.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PointValue<'a> {
    /// For [`PointKind::Sum`].
    Counter(u64),
    /// For [`PointKind::UpDown`].
    UpDown(i64),
    /// For [`PointKind::Histogram`], with one bucket more than bounds.
    Histogram(Cow<'a, Histogram>),
    /// For [`PointKind::Exponential`].
    Exponential(Cow<'a, ExponentialHistogram>),
    /// The series has ended.
    NoRecordedValue,
}

/// The kind of a metric's points for a collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PointKind<'a> {
    /// Sums that only increase.
    Sum,
    /// Sums that may decrease.
    UpDown,
    /// Histograms with explicit bounds.
    Histogram {
        /// Inclusive upper bounds, ascending, scaled like values.
        bounds: &'a [u64],
    },
    /// Exponential histograms.
    Exponential,
}

impl<'a> MetricPoints<'a> {
    /// Returns the kind of the points.
    pub fn kind(&self) -> PointKind<'a> {
        match &self.metric.kind {
            Kind::Counter => PointKind::Sum,
            Kind::UpDownCounter => PointKind::UpDown,
            Kind::Histogram { bounds } => PointKind::Histogram { bounds },
            Kind::Exponential { .. } => PointKind::Exponential,
        }
    }
}

impl PointValue<'_> {
    /// Returns whether a metric of this kind has such points.
    pub fn fits(&self, kind: PointKind<'_>) -> bool {
        match (self, kind) {
            (Self::NoRecordedValue, _)
            | (Self::Counter(_), PointKind::Sum)
            | (Self::UpDown(_), PointKind::UpDown)
            | (Self::Exponential(_), PointKind::Exponential) => true,
            (Self::Histogram(histogram), PointKind::Histogram { bounds }) => {
                histogram.buckets().len() == bounds.len().saturating_add(1)
            }
            _ => false,
        }
    }
}

impl<'a> From<Cow<'a, Point>> for PointValue<'a> {
    fn from(point: Cow<'a, Point>) -> Self {
        match point {
            Cow::Borrowed(Point::Counter(count)) => Self::Counter(*count),
            Cow::Borrowed(Point::UpDownCounter(sum)) => Self::UpDown(*sum),
            Cow::Borrowed(Point::Histogram(histogram)) => Self::Histogram(Cow::Borrowed(histogram)),
            Cow::Borrowed(Point::Exponential(histogram)) => Self::Exponential(Cow::Borrowed(histogram)),
            Cow::Owned(Point::Counter(count)) => Self::Counter(count),
            Cow::Owned(Point::UpDownCounter(sum)) => Self::UpDown(sum),
            Cow::Owned(Point::Histogram(histogram)) => Self::Histogram(Cow::Owned(histogram)),
            Cow::Owned(Point::Exponential(histogram)) => Self::Exponential(Cow::Owned(*histogram)),
        }
    }
}
