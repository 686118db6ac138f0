//! What is exported, between the table and the encoders: points by their metrics, each with its own time.

use std::borrow::Cow;

use tributary_proto::exemplar::Exemplar;
use tributary_proto::exponential::ExponentialHistogram;
use tributary_proto::histogram::Histogram;
use tributary_proto::metric::{Kind, Metric};

/// Points of one metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricPoints<'a> {
    /// What they measure.
    pub metric: &'a Metric,
    /// Since when they count. Of sums that also fall always cumulative.
    pub temporality: Temporality,
    /// Each of another series.
    pub points: Vec<DataPoint<'a>>,
}

/// Since when points count (OpenTelemetry metrics data model, "Temporality").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Temporality {
    /// Since the series began.
    Cumulative,
    /// Since the point before.
    Delta,
}

/// What one series is at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataPoint<'a> {
    /// Canonical ([`tributary_proto::attributes::decode`]).
    pub attributes: &'a [u8],
    /// Since when it counts.
    pub start_unix_nano: u64,
    /// Up to when it counts.
    pub time_unix_nano: u64,
    /// What it counted.
    pub value: Value<'a>,
    /// One of the observations that were counted.
    pub exemplar: Option<&'a Exemplar>,
}

/// What a series counted, in travelling integers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// For [`Form::Sum`].
    Counter(u64),
    /// For [`Form::UpDown`].
    UpDown(i64),
    /// For [`Form::Histogram`], with as many buckets as its bounds make.
    Histogram(Cow<'a, Histogram>),
    /// For [`Form::Exponential`].
    Exponential(Cow<'a, ExponentialHistogram>),
    /// The series has ended: nothing comes of it any more.
    NoRecordedValue,
}

/// What the points of a metric are to a collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form<'a> {
    /// Sums that only grow.
    Sum,
    /// Sums that also fall.
    UpDown,
    /// Counts between bounds.
    Histogram {
        /// Inclusive upper bounds, ascending, in travelling integers.
        bounds: &'a [u64],
    },
    /// Counts in buckets that grow by powers of two.
    Exponential,
}

impl<'a> MetricPoints<'a> {
    /// As the metric's kind says.
    pub fn form(&self) -> Form<'a> {
        match &self.metric.kind {
            Kind::Counter => Form::Sum,
            Kind::UpDownCounter => Form::UpDown,
            Kind::Histogram { bounds } => Form::Histogram { bounds },
            Kind::Exponential { .. } => Form::Exponential,
        }
    }
}

impl Value<'_> {
    /// Whether a metric of this form has such points.
    pub fn fits(&self, form: Form<'_>) -> bool {
        match (self, form) {
            (Value::NoRecordedValue, _)
            | (Value::Counter(_), Form::Sum)
            | (Value::UpDown(_), Form::UpDown)
            | (Value::Exponential(_), Form::Exponential) => true,
            (Value::Histogram(histogram), Form::Histogram { bounds }) => {
                histogram.buckets().len() == bounds.len().saturating_add(1)
            }
            (
                Value::Counter(_) | Value::UpDown(_) | Value::Histogram(_) | Value::Exponential(_),
                Form::Sum | Form::UpDown | Form::Histogram { .. } | Form::Exponential,
            ) => false,
        }
    }
}
