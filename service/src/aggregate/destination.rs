//! The table as destinations see it: rows to export, and what became of them.

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

    /// Returns the time of points that are exported from `from` on at `now_unix_nano`.
    pub fn export_time(&self, destination: DestinationId, from: Cursor, now_unix_nano: u64) -> u64 {
        self.timeline.export_time(destination.number, from == Cursor::default(), now_unix_nano)
    }

    /// Marks the rows between two positions as sent with this time. Until [`confirm`](Self::confirm) or
    /// [`discard`](Self::discard) is called for them, they are exported again.
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
    /// observations in them if it has delta temporality, otherwise 0.
    pub fn confirm(&mut self, destination: DestinationId, from: Cursor, to: Option<Cursor>) -> u64 {
        let (destinations, mut observations) = (self.limits.destinations, 0_u64);
        self.for_each_row(destination, from, to, &mut |row, destination| {
            observations = observations.saturating_add(row.confirm(destination, destinations));
        });
        observations
    }

    /// Records that the rows between two positions were rejected or dropped. Their deltas are not exported
    /// again; returns the number of observations in them. Cumulative points are exported again, and their
    /// series do not end before that.
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

    /// Returns the position of the first row from `at` on.
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
    /// Returns the position after the row at this one.
    fn after(self) -> Self {
        Self { row: self.row.saturating_add(1), ..self }
    }
}

impl DestinationId {
    /// Returns the destination as metrics of this kind see it. An up-down counter is cumulative even with the
    /// preference for deltas (OpenTelemetry OTLP metrics exporter specification, "Additional environment
    /// variable configuration").
    #[must_use]
    pub fn for_kind(self, kind: &Kind) -> Self {
        if *kind == Kind::UpDownCounter { Self { delta: None, ..self } } else { self }
    }
}
