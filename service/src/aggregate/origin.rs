//! Where metrics come from, and in which order they are exported.

use tributary_proto::limits::METRICS_PER_ORIGIN_MAX;

use super::metric_table::MetricTable;

/// Where a metric comes from. Measured metrics are exported first and metrics about the service last:
/// if an export ends early, the important part was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricOrigin {
    /// Batches of workers.
    Workers,
    /// Counters in shared data.
    SharedData,
    /// The service, which reports about itself.
    Service,
}

/// All metrics by their origin. No origin takes the places of another.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    workers: Vec<MetricTable>,
    shared_data: Vec<MetricTable>,
    service: Vec<MetricTable>,
}

impl Metrics {
    /// Returns the metrics of one origin.
    pub(super) fn of(&self, origin: MetricOrigin) -> &[MetricTable] {
        match origin {
            MetricOrigin::Workers => &self.workers,
            MetricOrigin::SharedData => &self.shared_data,
            MetricOrigin::Service => &self.service,
        }
    }

    /// Returns the metrics of one origin for changes.
    pub(super) fn of_mut(&mut self, origin: MetricOrigin) -> &mut Vec<MetricTable> {
        match origin {
            MetricOrigin::Workers => &mut self.workers,
            MetricOrigin::SharedData => &mut self.shared_data,
            MetricOrigin::Service => &mut self.service,
        }
    }

    /// Returns the metric at a place, if there is one. Places never change; each origin has
    /// [`METRICS_PER_ORIGIN_MAX`] of them, in the order of export.
    pub(super) fn at(&self, place: usize) -> Option<&MetricTable> {
        self.of(MetricOrigin::at(place)?).get(place % METRICS_PER_ORIGIN_MAX)
    }

    /// Returns the metric at a place for changes.
    pub(super) fn at_mut(&mut self, place: usize) -> Option<&mut MetricTable> {
        self.of_mut(MetricOrigin::at(place)?).get_mut(place % METRICS_PER_ORIGIN_MAX)
    }
}

impl MetricOrigin {
    /// Returns the origin of the metric at a place; `None` after the last place.
    pub(super) fn at(place: usize) -> Option<Self> {
        match place / METRICS_PER_ORIGIN_MAX {
            0 => Some(Self::Workers),
            1 => Some(Self::SharedData),
            2 => Some(Self::Service),
            _ => None,
        }
    }
}
