//! A slice of the table, as points: the rows that fit into one part of a request.

use super::encode::SizeHint;
use super::points::{MetricPoints, Temporality};
use crate::aggregate::{Cursor, DestinationId, Table};

/// The limits of a slice.
#[derive(Debug)]
pub struct SliceLimits<'a> {
    /// The maximum number of rows.
    pub rows_max: usize,
    /// The maximum number of bytes in a request before compression. The last point may exceed it. The
    /// first row is always taken, because the resource alone may exceed it.
    pub bytes_max: usize,
    /// The upper bounds of the sizes of points.
    pub size: &'a SizeHint,
    /// Whether to skip rows whose current value the destination has confirmed.
    pub skips_confirmed: bool,
}

/// A part of the table as points.
#[derive(Debug)]
pub struct Slice<'a> {
    /// The points, grouped by metric.
    pub metrics: Vec<MetricPoints<'a>>,
    /// The timestamp of the points, in Unix nanoseconds.
    pub time_unix_nano: u64,
    /// The position at which the next slice starts; `None` after the last slice.
    pub next: Option<Cursor>,
    /// Whether the slice ends because it reached `bytes_max`.
    pub is_full: bool,
}

/// Returns the points that a destination gets from the rows at or after `from`, at `time_unix_nano`.
pub fn slice<'a>(
    table: &'a Table,
    destination: DestinationId,
    from: Cursor,
    limits: &SliceLimits<'_>,
    time_unix_nano: u64,
) -> Slice<'a> {
    let mut slice = Slice { metrics: Vec::new(), time_unix_nano, next: None, is_full: false };
    let (mut rows_left, mut bytes, mut last_metric) = (limits.rows_max, limits.size.request, None);
    for (at, metric, row) in table.rows(from) {
        let destination = destination.for_kind(&metric.kind);
        if last_metric.replace(at.metric) != Some(at.metric) {
            bytes = bytes.saturating_add(limits.size.metric(metric));
            let is_delta = destination.delta.is_some();
            let temporality = if is_delta { Temporality::Delta } else { Temporality::Cumulative };
            slice.metrics.push(MetricPoints { metric, temporality, points: Vec::new() });
        }
        let is_full = bytes >= limits.bytes_max;
        if rows_left == 0 || is_full && rows_left < limits.rows_max {
            (slice.next, slice.is_full) = (Some(at), is_full);
            break;
        }
        rows_left = rows_left.saturating_sub(1);
        let is_skipped = limits.skips_confirmed && row.is_confirmed(destination);
        if !is_skipped && let Some(point) = row.point(destination, time_unix_nano) {
            bytes = bytes.saturating_add(limits.size.point(metric, &point));
            if let Some(last) = slice.metrics.last_mut() {
                last.points.push(point);
            }
        }
    }
    slice.metrics.retain(|metric| !metric.points.is_empty());
    slice
}

#[cfg(test)]
mod tests {
    use tributary_host::random;
    use tributary_proto::attributes;
    use tributary_proto::batch::Point;
    use tributary_proto::metric::{Kind, Metric};

    use super::*;
    use crate::aggregate::{MetricOrigin, TableLimits};
    use crate::export::{Encoding, Resource};

    const CUMULATIVE: DestinationId = DestinationId { number: 0, delta: None };
    const DELTA: DestinationId = DestinationId { number: 1, delta: Some(0) };

    fn table(kind: Kind, point: &Point, series: usize) -> Table {
        let limits = TableLimits { series_max: 100, idle_ns: None, destinations: 2, deltas: 1, step_ns: 1 };
        let mut table = Table::new(limits, 5, random::hasher());
        let (name, unit) = ("m".to_owned(), "1".to_owned());
        let metric = Metric { name, unit, description: String::new(), divisor: 1, kind };
        for number in 0..series {
            let attributes = attributes::encode(vec![attributes::text("route", &number.to_string())]);
            assert!(table.set(MetricOrigin::Service, &metric, &attributes, point.clone(), 5, 9));
        }
        table
    }

    fn limits(size: &SizeHint, bytes_max: usize) -> SliceLimits<'_> {
        SliceLimits { rows_max: usize::MAX, bytes_max, size, skips_confirmed: false }
    }

    #[test]
    fn a_slice_ends_with_the_point_that_exceeds_its_bytes() {
        let table = table(Kind::Counter, &Point::Counter(1), 50);
        let size = SizeHint::new(Encoding::OtlpProtobuf, &Resource::default());
        let slice = slice(&table, CUMULATIVE, Cursor::default(), &limits(&size, 1_000), 10);
        let points = slice.metrics[0].points.len();
        let mut rest = table.rows(slice.next.unwrap());
        assert!((2..30).contains(&points) && slice.is_full, "{points}");
        assert_eq!(rest.next().map(|(at, ..)| at), slice.next);
        assert_eq!(rest.count(), 49 - points);
    }

    #[test]
    fn up_down_counters_are_cumulative_for_every_destination() {
        let size = SizeHint::new(Encoding::OtlpProtobuf, &Resource::default());
        for (kind, point, expected) in [
            (Kind::Counter, Point::Counter(1), Temporality::Delta),
            (Kind::UpDownCounter, Point::UpDownCounter(1), Temporality::Cumulative),
        ] {
            let table = table(kind, &point, 1);
            let limits = limits(&size, usize::MAX);
            let exported = slice(&table, DELTA, Cursor::default(), &limits, 10);
            assert_eq!(exported.metrics[0].temporality, expected);
            let all = slice(&table, DestinationId::READER, Cursor::default(), &limits, 10);
            assert_eq!(all.metrics[0].temporality, Temporality::Cumulative);
        }
    }

    #[test]
    fn confirmed_rows_are_skipped_only_for_their_own_destination() {
        let mut table = table(Kind::Counter, &Point::Counter(1), 3);
        let size = SizeHint::new(Encoding::OtlpProtobuf, &Resource::default());
        table.mark_sent(CUMULATIVE, Cursor::default(), None, 10);
        table.confirm(CUMULATIVE, Cursor::default(), None);
        for (destination, skips_confirmed, points) in [
            (DestinationId::READER, true, 3),
            (CUMULATIVE, false, 3),
            (CUMULATIVE, true, 0),
            (DELTA, true, 3),
        ] {
            let limits = SliceLimits { skips_confirmed, ..limits(&size, usize::MAX) };
            let slice = slice(&table, destination, Cursor::default(), &limits, 10);
            assert_eq!(slice.metrics.iter().map(|metric| metric.points.len()).sum::<usize>(), points);
        }
    }
}
