//! The table: everything counted since the service began, metric by metric and series by series, within bounds.

mod collect;
mod index;
mod owner;
mod row;
mod rows;
mod timeline;

use std::hash::BuildHasher;
use std::rc::Rc;

use tributary_host::random::Hasher;
use tributary_proto::attributes;
use tributary_proto::batch::{Batch, Group, Point, Series};
use tributary_proto::metric::{Kind, Metric};

pub use collect::{Slice, SliceLimits};
use index::Index;
use owner::Metrics;
pub use owner::Owner;
use row::Row;
pub use row::{Base, Viewer};
use rows::Rows;
pub use timeline::STEP_NS;
use timeline::Timeline;

/// Metrics of each owner in the table. A configuration has a handful; what a stranger's batches bring past this is dropped and
/// counted.
pub use tributary_proto::limits::METRICS_MAX;

/// All series.
#[derive(Debug)]
pub struct Table {
    metrics: Metrics,
    limits: TableLimits,
    hasher: Hasher,
    /// New series count since then: since the service began, or since the last series ended, so that none that comes back
    /// overlaps with what it was before.
    epoch_unix_nano: u64,
    /// Where the search for idle series goes on.
    sweep: Cursor,
    timeline: Timeline,
}

/// What bounds a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableLimits {
    /// Series of each metric that are kept apart, besides its overflow series.
    pub series_max: usize,
    /// A series of which nothing came for so long ends; none for never.
    pub idle_ns: Option<u64>,
    /// How many destinations there are.
    pub destinations: usize,
    /// How many of them take deltas.
    pub deltas: usize,
    /// How far apart two points of one series are at the least, in time: [`STEP_NS`].
    pub step_ns: u64,
}

/// All series of one metric.
#[derive(Debug)]
struct MetricTable {
    metric: Metric,
    rows: Rows,
    index: Index,
    hasher: Hasher,
}

/// What came of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// Observations in it.
    pub observations: u64,
    /// Those of them that found no place.
    pub observations_dropped: u64,
    /// Those of them of which nothing is measured: there is nothing to be told of them.
    pub observations_bare: u64,
    /// Points for which there was no metric any more.
    pub points_dropped: u64,
}

/// A place in the table, between two rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    pub(crate) metric: usize,
    pub(crate) row: usize,
}

impl Table {
    /// An empty table, whose series count since `start_unix_nano`.
    pub fn new(limits: TableLimits, start_unix_nano: u64, hasher: Hasher) -> Self {
        let (metrics, sweep) = (Metrics::default(), Cursor::default());
        let timeline = Timeline::new(limits.destinations, start_unix_nano, limits.step_ns);
        Self { metrics, limits, hasher, epoch_unix_nano: start_unix_nano, sweep, timeline }
    }

    /// Adds a batch.
    pub fn merge(&mut self, batch: Batch, now_unix_nano: u64) -> Merged {
        let now_unix_nano = self.timeline.happens(now_unix_nano);
        let observations = batch.observations();
        let mut merged = Merged { observations, ..Merged::default() };
        for group in batch.groups {
            self.merge_group(group, &mut merged, now_unix_nano);
        }
        merged
    }

    /// Gives a series that no worker knows, which counts since `start_unix_nano`, a value; it never ends. False if there is no room
    /// for it.
    pub fn set(
        &mut self,
        owner: Owner,
        metric: &Metric,
        attributes: &[u8],
        point: Point,
        start_unix_nano: u64,
        now_unix_nano: u64,
    ) -> bool {
        let now_unix_nano = self.timeline.happens(now_unix_nano);
        let row = self.own_row(owner, metric, attributes, start_unix_nano);
        row.map(|row| row.set(point, now_unix_nano)).is_some()
    }

    /// Has the deltas of a counter in shared data go on from `base` for `viewer`, if it takes deltas. Nothing was told of a time
    /// after that since which the table counts.
    pub fn resume(
        &mut self,
        metric: &Metric,
        attributes: &[u8],
        viewer: Viewer,
        base: Base,
        start_unix_nano: u64,
    ) {
        let base = Base { end_unix_nano: base.end_unix_nano.min(self.epoch_unix_nano), ..base };
        let now_unix_nano = self.timeline.happens(base.end_unix_nano);
        if let Some(row) = self.own_row(Owner::SharedData, metric, attributes, start_unix_nano) {
            row.resume(viewer, base, now_unix_nano);
        }
    }

    /// From where the deltas of the counters in shared data go on for `viewer`, by their attributes.
    pub fn bases(&self, viewer: Viewer) -> impl Iterator<Item = (&[u8], Base)> {
        let metrics = self.metrics.of(Owner::SharedData).iter();
        let rows = metrics.flat_map(|metric| (0..metric.rows.places()).filter_map(|at| metric.rows.get(at)));
        rows.filter_map(move |row| Some((&*row.attributes, row.base(viewer)?)))
    }

    /// The latest time that any destination was told.
    pub fn told_unix_nano(&self) -> u64 {
        self.timeline.told()
    }

    /// How many series of workers there are, over all metrics.
    pub fn series(&self) -> usize {
        self.metrics.of(Owner::Workers).iter().map(|metric| metric.rows.len()).sum()
    }

    /// Looks at `rows_max` rows for those that are idle, and forgets those whose end is known everywhere.
    pub fn sweep(&mut self, rows_max: usize, now_unix_nano: u64) {
        let Some(idle_ns) = self.limits.idle_ns else { return };
        let now_unix_nano = self.timeline.happens(now_unix_nano);
        for _ in 0..rows_max {
            // Nobody else's series end.
            let Some(metric) = self.metrics.of_mut(Owner::Workers).get_mut(self.sweep.metric) else {
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

    fn merge_group(&mut self, group: Group, merged: &mut Merged, now_unix_nano: u64) {
        if group.metrics.is_empty() {
            let bare = group.series.iter().map(|series| series.observations);
            merged.observations_bare = bare.fold(merged.observations_bare, u64::saturating_add);
            return;
        }
        let places: Vec<Option<usize>> =
            group.metrics.iter().map(|metric| self.place(Owner::Workers, metric)).collect();
        let (limits, epoch) = (self.limits, self.epoch_unix_nano);
        // One row of a series stands for its observations: the first that a destination can take deltas of.
        let is_delta = |metric: &Metric| metric.kind != Kind::UpDownCounter;
        let bearer = group.metrics.iter().position(is_delta).unwrap_or(0);
        for Series { attributes, observations, points, exemplars } in group.series {
            let mut exemplars = exemplars.into_iter().peekable();
            let hash = self.hasher.hash_one(&*attributes);
            // One allocation for all metrics of the group, and only if the series is new to one of them.
            let mut shared: Option<Rc<[u8]>> = None;
            for (number, (place, point)) in places.iter().zip(points).enumerate() {
                let exemplar = exemplars.next_if(|(of, _)| *of == number).map(|(_, exemplar)| exemplar);
                let metric = place.and_then(|place| self.metrics.of_mut(Owner::Workers).get_mut(place));
                let row = metric.and_then(|metric| metric.row(&attributes, hash, &mut shared, limits, epoch));
                let observations = if number == bearer { observations } else { 0 };
                if !row.is_some_and(|row| row.add(&point, observations, exemplar, epoch, now_unix_nano)) {
                    merged.points_dropped = merged.points_dropped.saturating_add(1);
                    merged.observations_dropped = merged.observations_dropped.saturating_add(observations);
                }
            }
        }
    }

    /// A row that is not of the workers: such are few, and must not crowd each other out.
    fn own_row(
        &mut self,
        owner: Owner,
        metric: &Metric,
        attributes: &[u8],
        start_unix_nano: u64,
    ) -> Option<&mut Row> {
        let limits = TableLimits { series_max: usize::MAX, ..self.limits };
        let (place, hash) = (self.place(owner, metric)?, self.hasher.hash_one(attributes));
        let metric = self.metrics.of_mut(owner).get_mut(place)?;
        metric.row(attributes, hash, &mut None, limits, start_unix_nano)
    }

    /// The place of a metric among its owner's, which it gets if there is one left. There are few, and all of a batch's series
    /// share them.
    fn place(&mut self, owner: Owner, metric: &Metric) -> Option<usize> {
        let (metrics, hasher) = (self.metrics.of_mut(owner), &self.hasher);
        if let Some(place) = metrics.iter().position(|present| present.metric == *metric) {
            return Some(place);
        }
        if metrics.len() >= METRICS_MAX {
            return None;
        }
        let (metric, hasher) = (metric.clone(), hasher.clone());
        metrics.push(MetricTable { metric, rows: Rows::default(), index: Index::default(), hasher });
        Some(metrics.len().saturating_sub(1))
    }
}

impl MetricTable {
    /// The row of these attributes, which have this hash; past the limit, the overflow row.
    fn row(
        &mut self,
        attributes: &[u8],
        hash: u64,
        shared: &mut Option<Rc<[u8]>>,
        limits: TableLimits,
        start_unix_nano: u64,
    ) -> Option<&mut Row> {
        if let Some(place) = self.find(attributes, hash) {
            return self.rows.get_mut(place);
        }
        if self.rows.len() < limits.series_max {
            let shared = Rc::clone(shared.get_or_insert_with(|| Rc::from(attributes)));
            return self.insert(shared, hash, limits, start_unix_nano);
        }
        let overflow = attributes::overflow();
        let hash = self.hasher.hash_one(overflow.as_slice());
        match self.find(&overflow, hash) {
            Some(place) => self.rows.get_mut(place),
            None => self.insert(Rc::from(overflow), hash, limits, start_unix_nano),
        }
    }

    fn find(&self, attributes: &[u8], hash: u64) -> Option<usize> {
        self.index.find(hash, |place| self.rows.get(place).is_some_and(|row| *row.attributes == *attributes))
    }

    fn insert(
        &mut self,
        attributes: Rc<[u8]>,
        hash: u64,
        limits: TableLimits,
        start_unix_nano: u64,
    ) -> Option<&mut Row> {
        let place = self.rows.insert(Row::new(attributes, &self.metric.kind, start_unix_nano, limits.deltas));
        let (rows, hasher) = (&self.rows, &self.hasher);
        let hash_of = |place| rows.get(place).map(|row| hasher.hash_one(&*row.attributes));
        self.index.insert(hash, place, rows.places(), hash_of);
        self.rows.get_mut(place)
    }

    /// Ends the row if it is idle, and forgets it if its end is known; gives when it ended then.
    fn sweep(&mut self, place: usize, idle_ns: u64, destinations: usize, now_unix_nano: u64) -> Option<u64> {
        let row = self.rows.get_mut(place)?;
        row.end_if_idle(idle_ns, destinations, now_unix_nano);
        let ended = row.is_over(destinations)?;
        let row = self.rows.remove(place)?;
        self.index.remove(self.hasher.hash_one(&*row.attributes), place);
        Some(ended)
    }
}

#[cfg(test)]
mod tests;
