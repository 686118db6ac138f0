//! The origins of metrics, in the order in which their metrics are exported.

use tributary_host::random::Hasher;
use tributary_proto::limits::METRICS_PER_ORIGIN_MAX;
use tributary_proto::metric::Metric;

use super::metric_table::MetricTable;

/// Where a metric comes from. Measured metrics are exported first and metrics about the service last: if
/// an export ends early, the more important metrics were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricOrigin {
    /// Batches of workers.
    Workers,
    /// Counters in shared data.
    SharedData,
    /// The service, which reports about itself.
    Service,
}

/// All metrics by origin. Each origin has its own places, which no other origin can use.
#[derive(Debug, Default)]
pub(super) struct Metrics([Vec<MetricTable>; MetricOrigin::ALL.len()]);

impl Metrics {
    /// Returns the metrics of one origin.
    pub(super) fn of(&self, origin: MetricOrigin) -> &[MetricTable] {
        self.0.get(origin as usize).map_or(&[], Vec::as_slice)
    }

    /// Returns the place of a metric. Adds the metric if it is new; returns `None` if there is no room for
    /// it. A linear search is enough: there are few metrics, and all series of a group share them.
    pub(super) fn place(&mut self, origin: MetricOrigin, metric: &Metric, hasher: &Hasher) -> Option<usize> {
        let metrics = self.0.get_mut(origin as usize)?;
        let known = metrics.iter().position(|present| present.metric == *metric);
        let number = known.unwrap_or(metrics.len());
        if number >= METRICS_PER_ORIGIN_MAX {
            return None;
        }
        if known.is_none() {
            metrics.push(MetricTable::new(metric.clone(), hasher.clone()));
        }
        (origin as usize).checked_mul(METRICS_PER_ORIGIN_MAX)?.checked_add(number)
    }

    /// Returns the metric at a place, if there is one. Places never change; each origin has
    /// [`METRICS_PER_ORIGIN_MAX`] of them, in the order of export.
    pub(super) fn at(&self, place: usize) -> Option<&MetricTable> {
        self.0.get(place / METRICS_PER_ORIGIN_MAX)?.get(place % METRICS_PER_ORIGIN_MAX)
    }

    /// Returns the metric at a place, mutably.
    pub(super) fn at_mut(&mut self, place: usize) -> Option<&mut MetricTable> {
        self.0.get_mut(place / METRICS_PER_ORIGIN_MAX)?.get_mut(place % METRICS_PER_ORIGIN_MAX)
    }
}

impl MetricOrigin {
    /// All origins in the order of export.
    const ALL: [Self; 3] = [Self::Workers, Self::SharedData, Self::Service];

    /// Returns the origin of the metric at a place; `None` after the last place.
    pub(super) fn at(place: usize) -> Option<Self> {
        Self::ALL.get(place / METRICS_PER_ORIGIN_MAX).copied()
    }
}
