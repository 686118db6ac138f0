//! The table as destinations see it: rows to export, and what became of them.

use tributary_proto::metric::{Kind, Metric};

use super::row::{DestinationId, Row};
use super::table::{Cursor, Table};

impl Table {
    /// Iterates over the metrics from `from` on, each with its rows and their positions, in the order of
    /// export.
    pub fn metrics(
        &self,
        from: Cursor,
    ) -> impl Iterator<Item = (&Metric, impl Iterator<Item = (Cursor, &Row)>)> {
        self.metrics.all(from.metric).map(move |(at, table)| {
            let first = if at == from.metric { from.row } else { 0 };
            let rows = table.rows.range(first, usize::MAX);
            (&table.metric, rows.map(move |(row, found)| (Cursor { metric: at, row }, found)))
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
        self.for_each_row(destination, from, to, |row, destination| {
            row.mark_sent(destination, time_unix_nano)
        });
    }

    /// Records that the destination has accepted the rows between two positions. Returns the number of
    /// observations in them if it has delta temporality, otherwise 0.
    pub fn confirm(&mut self, destination: DestinationId, from: Cursor, to: Option<Cursor>) -> u64 {
        let (destinations, mut observations) = (self.limits.destinations, 0_u64);
        self.for_each_row(destination, from, to, |row, destination| {
            observations = observations.saturating_add(row.confirm(destination, destinations));
        });
        observations
    }

    /// Records that the destination has permanently rejected the rows between two positions. Deltas are not
    /// exported again: returns the number of observations in them. Sums are, and their series do not end
    /// before that.
    pub fn discard(&mut self, destination: DestinationId, from: Cursor, to: Option<Cursor>) -> u64 {
        let (destinations, mut observations) = (self.limits.destinations, 0_u64);
        self.for_each_row(destination, from, to, |row, destination| {
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
        mut act: impl FnMut(&mut Row, DestinationId),
    ) {
        let end = to.unwrap_or(Cursor { metric: usize::MAX, row: 0 });
        for (at, table) in self.metrics.all_mut(from.metric).take_while(|(at, _)| *at <= end.metric) {
            let destination = destination.for_kind(&table.metric.kind);
            let first = if at == from.metric { from.row } else { 0 };
            let row_end = if at == end.metric { end.row } else { usize::MAX };
            table.rows.range_mut(first, row_end).for_each(|(_, row)| act(row, destination));
        }
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
