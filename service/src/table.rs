//! The table: everything counted since the service began, metric by metric and series by series, within bounds.

use std::rc::Rc;

use hashbrown::HashMap;
use tributary_host::random::Hasher;
use tributary_proto::attributes;
use tributary_proto::batch::{Batch, Group, Point, Series};
use tributary_proto::exponential::ExponentialHistogram;
use tributary_proto::histogram::Histogram;
use tributary_proto::metric::{Kind, Metric};

/// Metrics in the table. A configuration has a handful; what a stranger's batches bring past this is dropped and counted.
pub const METRICS_MAX: usize = 256;

/// All series.
#[derive(Debug)]
pub struct Table {
    metrics: Vec<MetricTable>,
    by_metric: HashMap<Metric, usize, Hasher>,
    series_max: usize,
    hasher: Hasher,
}

/// All series of one metric.
#[derive(Debug)]
pub struct MetricTable {
    metric: Metric,
    series: Vec<Row>,
    by_attributes: HashMap<Rc<[u8]>, usize, Hasher>,
}

/// One series.
#[derive(Debug)]
pub struct Row {
    /// Canonical bytes, shared by the metrics of one group.
    pub attributes: Rc<[u8]>,
    /// Since when it counts.
    pub start_unix_nano: u64,
    /// What it counted.
    pub point: Point,
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    metric: usize,
    row: usize,
}

impl Table {
    /// An empty table that keeps `series_max` series of each metric apart, besides its overflow series.
    pub fn new(series_max: usize, hasher: Hasher) -> Self {
        let by_metric = HashMap::with_hasher(hasher.clone());
        Self { metrics: Vec::new(), by_metric, series_max, hasher }
    }

    /// Adds a batch. Series that are new count since `start_unix_nano`.
    pub fn merge(&mut self, batch: Batch, start_unix_nano: u64) -> Merged {
        let mut merged = Merged { observations: batch.observations(), points_dropped: 0 };
        for group in batch.groups {
            let dropped = self.merge_group(group, start_unix_nano);
            merged.points_dropped = merged.points_dropped.saturating_add(dropped);
        }
        merged
    }

    /// At most `rows_max` rows from `cursor` on, by their metrics, and where to go on; none at the end.
    pub fn slice(&self, cursor: Cursor, rows_max: usize) -> (Vec<(&Metric, &[Row])>, Option<Cursor>) {
        let (mut parts, mut room, mut first_row) = (Vec::new(), rows_max, cursor.row);
        for (at, metric) in self.metrics.iter().enumerate().skip(cursor.metric) {
            if room == 0 {
                return (parts, Some(Cursor { metric: at, row: 0 }));
            }
            let rows = metric.series.get(std::mem::take(&mut first_row)..).unwrap_or_default();
            let part = rows.get(..room).unwrap_or(rows);
            room = room.saturating_sub(part.len());
            if !part.is_empty() {
                parts.push((&metric.metric, part));
            }
            if part.len() < rows.len() {
                let row = metric.series.len().saturating_sub(rows.len()).saturating_add(part.len());
                return (parts, Some(Cursor { metric: at, row }));
            }
        }
        (parts, None)
    }

    /// How many series there are, over all metrics.
    pub fn series(&self) -> usize {
        self.metrics.iter().map(|metric| metric.series.len()).sum()
    }

    fn merge_group(&mut self, group: Group, start_unix_nano: u64) -> u64 {
        let places: Vec<Option<usize>> = group.metrics.into_iter().map(|metric| self.place(metric)).collect();
        let mut dropped: u64 = 0;
        for Series { attributes, points, .. } in group.series {
            // One allocation for all metrics of the group, and only if the series is new to one of them.
            let mut shared: Option<Rc<[u8]>> = None;
            for (place, point) in places.iter().zip(points) {
                let Some(metric) = place.and_then(|place| self.metrics.get_mut(place)) else {
                    dropped = dropped.saturating_add(1);
                    continue;
                };
                let row = metric.row(&attributes, &mut shared, self.series_max, start_unix_nano);
                if !row.is_some_and(|row| add(&mut row.point, &point)) {
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
        self.metrics.push(MetricTable { metric: metric.clone(), series: Vec::new(), by_attributes });
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
        series_max: usize,
        start_unix_nano: u64,
    ) -> Option<&mut Row> {
        if let Some(at) = self.by_attributes.get(attributes) {
            return self.series.get_mut(*at);
        }
        let attributes = if self.series.len() < series_max {
            Rc::clone(shared.get_or_insert_with(|| Rc::from(attributes)))
        } else {
            let overflow = attributes::overflow();
            if let Some(at) = self.by_attributes.get(overflow.as_slice()) {
                return self.series.get_mut(*at);
            }
            Rc::from(overflow)
        };
        self.by_attributes.insert(Rc::clone(&attributes), self.series.len());
        let point = match &self.metric.kind {
            Kind::Counter => Point::Counter(0),
            Kind::Histogram { bounds } => Point::Histogram(Histogram::new(bounds.len())),
            Kind::Exponential { max_size } => Point::Exponential(ExponentialHistogram::new(*max_size)),
        };
        self.series.push(Row { attributes, start_unix_nano, point });
        self.series.last_mut()
    }
}

fn add(sum: &mut Point, delta: &Point) -> bool {
    match (sum, delta) {
        (Point::Counter(sum), Point::Counter(delta)) => {
            *sum = sum.saturating_add(*delta);
            true
        }
        (Point::Histogram(sum), Point::Histogram(delta)) => sum.merge(delta),
        (Point::Exponential(sum), Point::Exponential(delta)) => {
            sum.merge(delta);
            true
        }
        // A batch is checked against its metrics, so there is no such pair.
        (Point::Counter(_) | Point::Histogram(_) | Point::Exponential(_), _) => false,
    }
}

#[cfg(test)]
mod tests;
