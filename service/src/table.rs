//! The table: everything counted since the service began, metric by metric and series by series, within bounds.

mod collect;
mod row;

use std::rc::Rc;

use hashbrown::HashMap;
use tributary_host::random::Hasher;
use tributary_proto::attributes;
use tributary_proto::batch::{Batch, Group, Series};
use tributary_proto::metric::Metric;

pub use collect::{Slice, SliceLimits};
use row::Row;
pub use row::Viewer;

/// Metrics in the table. A configuration has a handful; what a stranger's batches bring past this is dropped and counted.
pub const METRICS_MAX: usize = 256;

/// All series.
#[derive(Debug)]
pub struct Table {
    metrics: Vec<MetricTable>,
    by_metric: HashMap<Metric, usize, Hasher>,
    limits: TableLimits,
    hasher: Hasher,
    /// New series count since then: since the service began, or since the last series ended, so that none that comes back
    /// overlaps with what it was before.
    epoch_unix_nano: u64,
    /// Where the search for idle series goes on.
    sweep: Cursor,
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
}

/// All series of one metric. Their places do not change while they are there.
#[derive(Debug)]
struct MetricTable {
    metric: Metric,
    rows: Vec<Option<Row>>,
    free: Vec<usize>,
    by_attributes: HashMap<Rc<[u8]>, usize, Hasher>,
}

/// What came of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// Observations in it.
    pub observations: u64,
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
        let by_metric = HashMap::with_hasher(hasher.clone());
        let sweep = Cursor::default();
        Self { metrics: Vec::new(), by_metric, limits, hasher, epoch_unix_nano: start_unix_nano, sweep }
    }

    /// Adds a batch.
    pub fn merge(&mut self, batch: Batch, now_unix_nano: u64) -> Merged {
        let mut merged = Merged { observations: batch.observations(), points_dropped: 0 };
        for group in batch.groups {
            let dropped = self.merge_group(group, now_unix_nano);
            merged.points_dropped = merged.points_dropped.saturating_add(dropped);
        }
        merged
    }

    /// Gives a counter of the service's own a value; it never ends. False if there is no room for it.
    pub fn set(&mut self, metric: &Metric, attributes: &[u8], value: u64, now_unix_nano: u64) -> bool {
        // The service's own are few and must not crowd each other out.
        let limits = TableLimits { series_max: usize::MAX, ..self.limits };
        let epoch = self.epoch_unix_nano;
        let metric = self.place(metric.clone()).and_then(|place| self.metrics.get_mut(place));
        let row = metric.and_then(|metric| metric.row(attributes, &mut None, limits, epoch));
        row.map(|row| row.set(value, now_unix_nano)).is_some()
    }

    /// How many series there are, over all metrics.
    pub fn series(&self) -> usize {
        self.metrics.iter().map(|metric| metric.by_attributes.len()).sum()
    }

    /// Looks at `rows_max` rows for those that are idle, and forgets those whose end is known everywhere.
    pub fn sweep(&mut self, rows_max: usize, now_unix_nano: u64) {
        let Some(idle_ns) = self.limits.idle_ns else { return };
        for _ in 0..rows_max {
            let Some(metric) = self.metrics.get_mut(self.sweep.metric) else {
                self.sweep = Cursor::default();
                return;
            };
            if self.sweep.row >= metric.rows.len() {
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

    fn merge_group(&mut self, group: Group, now_unix_nano: u64) -> u64 {
        let places: Vec<Option<usize>> = group.metrics.into_iter().map(|metric| self.place(metric)).collect();
        let (limits, epoch) = (self.limits, self.epoch_unix_nano);
        let mut dropped: u64 = 0;
        for Series { attributes, points, exemplars, .. } in group.series {
            let mut exemplars = exemplars.into_iter().peekable();
            // One allocation for all metrics of the group, and only if the series is new to one of them.
            let mut shared: Option<Rc<[u8]>> = None;
            for (number, (place, point)) in places.iter().zip(points).enumerate() {
                let exemplar = exemplars.next_if(|(of, _)| *of == number).map(|(_, exemplar)| exemplar);
                let metric = place.and_then(|place| self.metrics.get_mut(place));
                let row = metric.and_then(|metric| metric.row(&attributes, &mut shared, limits, epoch));
                if !row.is_some_and(|row| row.add(&point, exemplar, epoch, now_unix_nano)) {
                    dropped = dropped.saturating_add(1);
                }
            }
        }
        dropped
    }

    /// The place of a metric, which it gets if there is one left.
    fn place(&mut self, metric: Metric) -> Option<usize> {
        if let Some(place) = self.by_metric.get(&metric) {
            return Some(*place);
        }
        if self.metrics.len() >= METRICS_MAX {
            return None;
        }
        let place = self.metrics.len();
        let by_attributes = HashMap::with_hasher(self.hasher.clone());
        self.metrics.push(MetricTable {
            metric: metric.clone(),
            rows: Vec::new(),
            free: Vec::new(),
            by_attributes,
        });
        self.by_metric.insert(metric, place);
        Some(place)
    }
}

impl MetricTable {
    /// The row of these attributes; past the limit, the overflow row.
    fn row(
        &mut self,
        attributes: &[u8],
        shared: &mut Option<Rc<[u8]>>,
        limits: TableLimits,
        start_unix_nano: u64,
    ) -> Option<&mut Row> {
        if let Some(at) = self.by_attributes.get(attributes) {
            return self.rows.get_mut(*at)?.as_mut();
        }
        let attributes = if self.by_attributes.len() < limits.series_max {
            Rc::clone(shared.get_or_insert_with(|| Rc::from(attributes)))
        } else {
            let overflow = attributes::overflow();
            if let Some(at) = self.by_attributes.get(overflow.as_slice()) {
                return self.rows.get_mut(*at)?.as_mut();
            }
            Rc::from(overflow)
        };
        let at = self.free.pop().unwrap_or(self.rows.len());
        if at == self.rows.len() {
            self.rows.push(None);
        }
        self.by_attributes.insert(Rc::clone(&attributes), at);
        let row = Row::new(attributes, &self.metric.kind, start_unix_nano, limits.deltas);
        self.rows.get_mut(at).map(|place| place.insert(row))
    }

    /// Ends the row if it is idle, and forgets it if its end is known; gives when it ended then.
    fn sweep(&mut self, at: usize, idle_ns: u64, destinations: usize, now_unix_nano: u64) -> Option<u64> {
        let place = self.rows.get_mut(at)?;
        let row = place.as_mut()?;
        row.end_if_idle(idle_ns, destinations, now_unix_nano);
        let ended = row.is_over(destinations)?;
        self.by_attributes.remove(&row.attributes);
        *place = None;
        self.free.push(at);
        Some(ended)
    }
}

#[cfg(test)]
mod tests;
