//! Points to export, by their metrics. Encoders write them, each with its own time.

use tributary_proto::metric::Metric;

use crate::aggregate::DataPoint;

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
