//! The table of all series: merges batches, sets values, and ends idle series.

use std::hash::BuildHasher;
use std::rc::Rc;

use tributary_host::random::Hasher;
use tributary_proto::batch::{Batch, Group, Point, Series};
use tributary_proto::limits::METRICS_PER_ORIGIN_MAX;
use tributary_proto::metric::{Kind, Metric};

use super::metric_table::NewRow;
use super::origin::{MetricOrigin, Metrics};
use super::row::{DeltaBaseline, DestinationId, Row};
use super::timeline::Timeline;

/// All series of all metrics.
#[derive(Debug)]
pub struct Table {
    pub(super) metrics: Metrics,
    pub(super) limits: TableLimits,
    hasher: Hasher,
    /// The start time of new series: the start of the service or the end of the last removed series, so
    /// that the points of a series that is removed and created again do not overlap.
    epoch_unix_nano: u64,
    /// The position at which the next sweep for idle series continues.
    sweep: Cursor,
    pub(super) timeline: Timeline,
}

/// The limits of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableLimits {
    /// The maximum number of series of each metric, besides its overflow series.
    pub series_max: usize,
    /// The time without an update after which a series ends, in nanoseconds; `None` means never.
    pub idle_ns: Option<u64>,
    /// The number of destinations, at most [`DESTINATIONS_CAPACITY`](super::DESTINATIONS_CAPACITY).
    pub destinations: usize,
    /// The number of destinations with delta temporality.
    pub deltas: usize,
    /// The minimum nanoseconds between the timestamps of a series' points: [`STEP_NS`](super::STEP_NS).
    pub step_ns: u64,
}

/// The result of merging a batch: what was counted, and what was dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MergeResult {
    /// The number of observations in the batch.
    pub observations: u64,
    /// The number of observations for which the table had no room.
    pub observations_dropped: u64,
    /// The number of observations without any metric: they have nothing to export.
    pub observations_unmeasured: u64,
    /// The number of points for whose metric the table had no room.
    pub points_dropped: u64,
    /// The name of the first of these metrics.
    pub metric_dropped: Option<String>,
}

/// A position between two rows of the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    pub(crate) metric: usize,
    pub(crate) row: usize,
}

impl Table {
    /// Creates an empty table whose series start at `start_unix_nano`.
    pub fn new(limits: TableLimits, start_unix_nano: u64, hasher: Hasher) -> Self {
        let (metrics, sweep) = (Metrics::default(), Cursor::default());
        let timeline = Timeline::new(limits.destinations, start_unix_nano, limits.step_ns);
        Self { metrics, limits, hasher, epoch_unix_nano: start_unix_nano, sweep, timeline }
    }

    /// Adds a batch to the table, and returns what was counted and dropped.
    pub fn merge(&mut self, batch: Batch, now_unix_nano: u64) -> MergeResult {
        let now_unix_nano = self.timeline.advance(now_unix_nano);
        let observations = batch.observations();
        let mut merged = MergeResult { observations, ..MergeResult::default() };
        for group in batch.groups {
            self.merge_group(group, &mut merged, now_unix_nano);
        }
        merged
    }

    /// Sets the value of a series that workers do not report. The series starts at `start_unix_nano` and
    /// never ends. Returns whether the table had room for it.
    #[must_use]
    pub fn set(
        &mut self,
        origin: MetricOrigin,
        metric: &Metric,
        attributes: &[u8],
        point: Point,
        start_unix_nano: u64,
        now_unix_nano: u64,
    ) -> bool {
        let now_unix_nano = self.timeline.advance(now_unix_nano);
        let row = self.own_row(origin, metric, attributes, start_unix_nano);
        row.map(|row| row.set(point, now_unix_nano)).is_some()
    }

    /// Makes the deltas of a counter in shared data continue from `baseline` for a destination with delta
    /// temporality. The end of the baseline is limited to the start of the table, because no exported point
    /// has a later timestamp.
    pub fn resume(
        &mut self,
        metric: &Metric,
        attributes: &[u8],
        destination: DestinationId,
        baseline: DeltaBaseline,
        start_unix_nano: u64,
    ) {
        let end_unix_nano = baseline.end_unix_nano.min(self.epoch_unix_nano);
        let now_unix_nano = self.timeline.advance(end_unix_nano);
        if let Some(row) = self.own_row(MetricOrigin::SharedData, metric, attributes, start_unix_nano) {
            row.resume(destination, DeltaBaseline { end_unix_nano, ..baseline }, now_unix_nano);
        }
    }

    /// Iterates over the counters in shared data, with the attributes and the baseline of each. Skips
    /// counters without a value that this destination, which has delta temporality, has confirmed.
    pub fn baselines(&self, destination: DestinationId) -> impl Iterator<Item = (&[u8], DeltaBaseline)> {
        let first = Cursor { metric: METRICS_PER_ORIGIN_MAX, row: 0 };
        let rows = self.rows(first);
        let rows = rows.take_while(|(at, ..)| MetricOrigin::at(at.metric) == Some(MetricOrigin::SharedData));
        rows.filter_map(move |(_, _, row)| Some((&*row.attributes, row.baseline(destination)?)))
    }

    /// Returns the latest time that was exported to any destination.
    pub fn last_export_unix_nano(&self) -> u64 {
        self.timeline.last_export()
    }

    /// Returns the number of series of workers, over all metrics.
    pub fn series(&self) -> usize {
        self.metrics.of(MetricOrigin::Workers).iter().map(|metric| metric.rows.len()).sum()
    }

    /// Checks up to `rows_max` rows. Ends idle series, and removes series whose end all destinations have
    /// confirmed.
    pub fn sweep(&mut self, rows_max: usize, now_unix_nano: u64) {
        let Some(idle_ns) = self.limits.idle_ns else { return };
        let now_unix_nano = self.timeline.advance(now_unix_nano);
        for _ in 0..rows_max {
            // Series of other origins never end.
            let is_worker = MetricOrigin::at(self.sweep.metric) == Some(MetricOrigin::Workers);
            let Some(metric) = self.metrics.at_mut(self.sweep.metric).filter(|_| is_worker) else {
                self.sweep = Cursor::default();
                return;
            };
            if self.sweep.row >= metric.rows.places() {
                self.sweep = Cursor { metric: self.sweep.metric.saturating_add(1), row: 0 };
                continue;
            }
            if let Some(ended) =
                metric.sweep(self.sweep.row, idle_ns, self.limits.destinations, now_unix_nano)
            {
                self.epoch_unix_nano = self.epoch_unix_nano.max(ended);
            }
            self.sweep.row = self.sweep.row.saturating_add(1);
        }
    }

    fn merge_group(&mut self, group: Group, merged: &mut MergeResult, now_unix_nano: u64) {
        if group.metrics.is_empty() {
            let observations = group.series.iter().map(|series| series.observations);
            merged.observations_unmeasured =
                observations.fold(merged.observations_unmeasured, u64::saturating_add);
            return;
        }
        let place = |metric| self.metrics.place(MetricOrigin::Workers, metric, &self.hasher);
        let places: Vec<Option<usize>> = group.metrics.iter().map(place).collect();
        if merged.metric_dropped.is_none() {
            let mut metrics = places.iter().zip(&group.metrics);
            let dropped = metrics.find(|(place, _)| place.is_none());
            merged.metric_dropped = dropped.map(|(_, metric)| metric.name.clone());
        }
        let start_unix_nano = self.epoch_unix_nano;
        let new = NewRow { series_max: self.limits.series_max, deltas: self.limits.deltas, start_unix_nano };
        // Only one row of a series counts the observations: the row of the first metric that can have
        // deltas.
        let has_deltas = |metric: &Metric| metric.kind != Kind::UpDownCounter;
        let carrier = group.metrics.iter().position(has_deltas).unwrap_or(0);
        for Series { attributes, observations, points, exemplars } in group.series {
            let mut exemplars = exemplars.into_iter().peekable();
            let hash = self.hasher.hash_one(&*attributes);
            // The attributes are allocated once for all metrics of the group, and only if the series is new
            // for one of these metrics.
            let mut shared: Option<Rc<[u8]>> = None;
            for (number, (place, point)) in places.iter().zip(points).enumerate() {
                let exemplar = exemplars.next_if(|(of, _)| *of == number).map(|(_, exemplar)| exemplar);
                let metric = place.and_then(|place| self.metrics.at_mut(place));
                let row = metric.and_then(|metric| metric.row(&attributes, hash, &mut shared, new));
                let observations = if number == carrier { observations } else { 0 };
                let is_added = row.is_some_and(|row| {
                    row.add(&point, observations, exemplar, start_unix_nano, now_unix_nano)
                });
                if !is_added {
                    merged.points_dropped = merged.points_dropped.saturating_add(1);
                    merged.observations_dropped = merged.observations_dropped.saturating_add(observations);
                }
            }
        }
    }

    /// Returns the row of a series that workers do not report. The limit of series does not apply,
    /// because such series are few.
    fn own_row(
        &mut self,
        origin: MetricOrigin,
        metric: &Metric,
        attributes: &[u8],
        start_unix_nano: u64,
    ) -> Option<&mut Row> {
        let new = NewRow { series_max: usize::MAX, deltas: self.limits.deltas, start_unix_nano };
        let place = self.metrics.place(origin, metric, &self.hasher)?;
        let hash = self.hasher.hash_one(attributes);
        self.metrics.at_mut(place)?.row(attributes, hash, &mut None, new)
    }
}

#[cfg(test)]
mod tests;
