//! What one destination is to be told: a slice of the table, as points, marked as on its way.

use std::borrow::Cow;

use tributary_proto::batch::Point;
use tributary_proto::metric::Kind;

use super::row::{News, Row, Viewer};
use super::{Cursor, Table};
use crate::encode::SizeHint;
use crate::points::{DataPoint, MetricPoints, Temporality, Value};

/// A part of the table for one destination.
#[derive(Debug)]
pub struct Slice<'a> {
    /// Its points.
    pub metrics: Vec<MetricPoints<'a>>,
    /// As of when.
    pub time_unix_nano: u64,
    /// Where the next slice begins; none if this is the last.
    pub next: Option<Cursor>,
    /// Whether it ends there because of its bytes.
    pub is_cut: bool,
}

/// What bounds a slice.
#[derive(Debug)]
pub struct SliceLimits<'a> {
    /// Rows looked at.
    pub rows_max: usize,
    /// Bytes of the request before compression; the last point may go past them, and the first row is looked at in any case: what
    /// stands around it may need more than these alone.
    pub bytes_max: usize,
    /// How large points become.
    pub size: &'a SizeHint,
    /// Whether rows are left out whose present value has arrived.
    pub only_news: bool,
}

impl Table {
    /// The points of a slice from `from` on, as of now. They are on their way from here: [`Table::arrived`] says when they are
    /// there, and without it the same is told again.
    pub fn collect(
        &mut self,
        viewer: Viewer,
        from: Cursor,
        limits: &SliceLimits<'_>,
        now_unix_nano: u64,
    ) -> Slice<'_> {
        let (mut metrics, mut rows_left, mut bytes) = (Vec::new(), limits.rows_max, limits.size.request());
        let time_unix_nano = self.timeline.at(viewer.number, from == Cursor::default(), now_unix_nano);
        for (at, table) in self.metrics.all_mut(from.metric) {
            let metric = &table.metric;
            let viewer = viewer.of(&metric.kind);
            let temporality =
                if viewer.delta.is_some() { Temporality::Delta } else { Temporality::Cumulative };
            let mut points = Vec::new();
            bytes = bytes.saturating_add(limits.size.metric(metric));
            let mut next = None;
            let first_row = if at == from.metric { from.row } else { 0 };
            for (row_at, row) in table.rows.range_mut(first_row, usize::MAX) {
                if rows_left == 0 || bytes >= limits.bytes_max && rows_left < limits.rows_max {
                    next = Some(Cursor { metric: at, row: row_at });
                    break;
                }
                rows_left = rows_left.saturating_sub(1);
                if limits.only_news && row.is_known_to(viewer) {
                    continue;
                }
                if let Some(point) = row.point_for(viewer, time_unix_nano) {
                    bytes = bytes.saturating_add(limits.size.point(metric, &point));
                    points.push(point);
                }
            }
            if !points.is_empty() {
                metrics.push(MetricPoints { metric, temporality, points });
            }
            if next.is_some() {
                return Slice { metrics, time_unix_nano, next, is_cut: bytes >= limits.bytes_max };
            }
        }
        Slice { metrics, time_unix_nano, next: None, is_cut: false }
    }

    /// What was collected from `from` to `to` is with the destination: it is not told again. Gives how many observations it was if
    /// the destination takes deltas.
    pub fn arrived(&mut self, viewer: Viewer, from: Cursor, to: Option<Cursor>) -> u64 {
        self.settle(viewer, from, to, false)
    }

    /// What was collected from `from` to `to` was refused for good. Deltas are not told again, and it gives how many observations
    /// they were; sums are, with what comes until then, so that until the destination has them no series ends.
    pub fn refused(&mut self, viewer: Viewer, from: Cursor, to: Option<Cursor>) -> u64 {
        self.settle(viewer, from, to, true)
    }

    fn settle(&mut self, viewer: Viewer, from: Cursor, to: Option<Cursor>, is_refused: bool) -> u64 {
        let mut observations: u64 = 0;
        let destinations = self.limits.destinations;
        let end = to.unwrap_or(Cursor { metric: usize::MAX, row: 0 });
        for (at, table) in self.metrics.all_mut(from.metric) {
            if at > end.metric {
                break;
            }
            let viewer = viewer.of(&table.metric.kind);
            if is_refused && viewer.delta.is_none() {
                continue;
            }
            let first = if at == from.metric { from.row } else { 0 };
            let row_end = if at == end.metric { end.row } else { usize::MAX };
            for (_, row) in table.rows.range_mut(first, row_end) {
                let arrived = row.arrived(viewer, destinations);
                observations = observations.saturating_add(arrived);
            }
        }
        observations
    }
}

impl Viewer {
    /// The view of metrics of this kind. What also falls is cumulative for everybody: that is what the preference for deltas
    /// means (OpenTelemetry OTLP metrics exporter specification, "Additional environment variable configuration").
    fn of(self, kind: &Kind) -> Self {
        if *kind == Kind::UpDownCounter { Self { delta: None, ..self } } else { self }
    }
}

impl Row {
    /// What `viewer` is to be told of this row, if anything.
    fn point_for(&mut self, viewer: Viewer, now_unix_nano: u64) -> Option<DataPoint<'_>> {
        let news = self.send(viewer, now_unix_nano);
        let start = self.start_unix_nano;
        let (start_unix_nano, time_unix_nano, value) = match news {
            News::None => return None,
            News::Value => (start, now_unix_nano, value(Cow::Borrowed(&self.point))),
            News::Delta { start_unix_nano, point } => {
                (start_unix_nano, now_unix_nano, value(Cow::Owned(point)))
            }
            News::End { time_unix_nano } => (start, time_unix_nano.max(start), Value::NoRecordedValue),
        };
        Some(DataPoint {
            attributes: &self.attributes,
            start_unix_nano,
            time_unix_nano,
            value,
            exemplar: self.exemplar_for(viewer),
        })
    }
}

fn value(point: Cow<'_, Point>) -> Value<'_> {
    match point {
        Cow::Borrowed(Point::Counter(count)) => Value::Counter(*count),
        Cow::Borrowed(Point::UpDownCounter(sum)) => Value::UpDown(*sum),
        Cow::Borrowed(Point::Histogram(histogram)) => Value::Histogram(Cow::Borrowed(histogram)),
        Cow::Borrowed(Point::Exponential(histogram)) => Value::Exponential(Cow::Borrowed(histogram)),
        Cow::Owned(Point::Counter(count)) => Value::Counter(count),
        Cow::Owned(Point::UpDownCounter(sum)) => Value::UpDown(sum),
        Cow::Owned(Point::Histogram(histogram)) => Value::Histogram(Cow::Owned(histogram)),
        Cow::Owned(Point::Exponential(histogram)) => Value::Exponential(Cow::Owned(*histogram)),
    }
}
