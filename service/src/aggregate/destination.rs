//! The table as destinations see it: which rows to export, and which were sent, confirmed or discarded.

use tributary_proto::metric::{Kind, Metric};

use super::origin::MetricOrigin;
use super::row::{DestinationId, Row};
use super::table::{Cursor, Table};

impl Table {
    /// Iterates over the rows from `from` on, each with its position and its metric, in the order of export.
    pub fn rows(&self, from: Cursor) -> impl Iterator<Item = (Cursor, &Metric, &Row)> {
        let mut next = from;
        std::iter::from_fn(move || {
            let at = self.position(next)?;
            next = at.after();
            let table = self.metrics.at(at.metric)?;
            Some((at, &table.metric, table.rows.get(at.row)?))
        })
    }

    /// Returns the timestamp, in Unix nanoseconds, for points exported at `now_unix_nano` from `from` on.
    pub fn export_time(&self, destination: DestinationId, from: Cursor, now_unix_nano: u64) -> u64 {
        self.timeline.export_time(destination.number, from == Cursor::default(), now_unix_nano)
    }

    /// Marks the rows between two positions as sent with this timestamp. Call [`confirm`](Self::confirm) or
    /// [`discard`](Self::discard) when the result is known. Without such a call, the next export contains
    /// these rows again.
    pub fn mark_sent(
        &mut self,
        destination: DestinationId,
        from: Cursor,
        to: Option<Cursor>,
        time_unix_nano: u64,
    ) {
        self.timeline.exported(destination.number, time_unix_nano);
        self.for_each_row(destination, from, to, &mut |row, destination| {
            row.mark_sent(destination, time_unix_nano)
        });
    }

    /// Records that the destination has accepted the rows between two positions. Returns the number of
    /// observations in these rows for delta temporality, otherwise 0.
    pub fn confirm(&mut self, destination: DestinationId, from: Cursor, to: Option<Cursor>) -> u64 {
        let (destinations, mut observations) = (self.limits.destinations, 0_u64);
        self.for_each_row(destination, from, to, &mut |row, destination| {
            observations = observations.saturating_add(row.confirm(destination, destinations));
        });
        observations
    }

    /// Records that the rows between two positions were rejected or dropped. Deltas are not exported
    /// again; returns the number of observations in them. Cumulative points are exported again, and their
    /// series do not end before that export.
    pub fn discard(&mut self, destination: DestinationId, from: Cursor, to: Option<Cursor>) -> u64 {
        let (destinations, mut observations) = (self.limits.destinations, 0_u64);
        self.for_each_row(destination, from, to, &mut |row, destination| {
            if destination.delta.is_some() {
                observations = observations.saturating_add(row.confirm(destination, destinations));
            }
        });
        observations
    }

    fn for_each_row(
        &mut self,
        destination: DestinationId,
        from: Cursor,
        to: Option<Cursor>,
        act: &mut dyn FnMut(&mut Row, DestinationId),
    ) {
        let mut next = from;
        while let Some(at) = self.position(next).filter(|at| to.is_none_or(|to| *at < to)) {
            next = at.after();
            let Some(table) = self.metrics.at_mut(at.metric) else { return };
            let destination = destination.for_kind(&table.metric.kind);
            if let Some(row) = table.rows.get_mut(at.row) {
                act(row, destination);
            }
        }
    }

    /// Returns the position of the first row at or after `at`; `None` if no row follows.
    fn position(&self, mut at: Cursor) -> Option<Cursor> {
        while MetricOrigin::at(at.metric).is_some() {
            if let Some(table) = self.metrics.at(at.metric) {
                while at.row < table.rows.places() {
                    if table.rows.get(at.row).is_some() {
                        return Some(at);
                    }
                    at = at.after();
                }
            }
            at = Cursor { metric: at.metric.saturating_add(1), row: 0 };
        }
        None
    }
}

impl Cursor {
    /// Returns the position directly after the row at this position.
    fn after(self) -> Self {
        Self { row: self.row.saturating_add(1), ..self }
    }
}

impl DestinationId {
    /// Returns the destination with its temporality for metrics of this kind: up-down counters are
    /// cumulative even if deltas are preferred (OpenTelemetry OTLP metrics exporter specification,
    /// "Additional environment variable configuration").
    #[must_use]
    pub fn for_kind(self, kind: &Kind) -> Self {
        if *kind == Kind::UpDownCounter { Self { delta: None, ..self } } else { self }
    }
}
