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

    /// Iterates over all metrics from the place `first` on, each with its place. Places never change.
    pub(super) fn all(&self, first: usize) -> impl Iterator<Item = (usize, &MetricTable)> {
        let Self { workers, shared_data, service } = self;
        let origins = (0_usize..).step_by(METRICS_PER_ORIGIN_MAX).zip([workers, shared_data, service]);
        origins.flat_map(|(at, metrics)| (at..).zip(metrics)).skip_while(move |(at, _)| *at < first)
    }

    /// The same as [`all`](Self::all), for changes.
    pub(super) fn all_mut(&mut self, first: usize) -> impl Iterator<Item = (usize, &mut MetricTable)> {
        let Self { workers, shared_data, service } = self;
        let origins = (0_usize..).step_by(METRICS_PER_ORIGIN_MAX).zip([workers, shared_data, service]);
        origins.flat_map(|(at, metrics)| (at..).zip(metrics)).skip_while(move |(at, _)| *at < first)
    }
}
