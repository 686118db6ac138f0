//! Points to export, grouped by metric. Each point has its own timestamp.

use tributary_proto::metric::Metric;

use crate::aggregate::DataPoint;

/// Points of one metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricPoints<'a> {
    /// The metric of all points.
    pub metric: &'a Metric,
    /// The temporality of the points. Up-down counters are always cumulative.
    pub temporality: Temporality,
    /// The points, each of a different series.
    pub points: Vec<DataPoint<'a>>,
}

/// The time from which a point counts (OpenTelemetry metrics data model, "Temporality").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Temporality {
    /// Each point counts from the start of its series.
    Cumulative,
    /// Each point counts from the end of the previous point.
    Delta,
}
