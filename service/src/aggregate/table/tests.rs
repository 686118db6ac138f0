//! Tests of the table: what destinations get from it.

mod exemplars;
mod proptests;

use tributary_host::random;
use tributary_proto::attributes;
use tributary_proto::exemplar::Exemplar;

use super::*;

const CUMULATIVE: DestinationId = DestinationId { number: 0, delta: None };
const DELTA: DestinationId = DestinationId { number: 1, delta: Some(0) };

fn table(series_max: usize) -> Table {
    let limits = TableLimits { series_max, idle_ns: Some(100), destinations: 2, deltas: 1, step_ns: 1 };
    Table::new(limits, 5, random::hasher())
}

fn metric(name: &str) -> Metric {
    let kind = Kind::Counter;
    Metric { name: name.into(), unit: "1".into(), description: String::new(), divisor: 1, kind }
}

fn route(name: &str) -> Vec<u8> {
    attributes::encode(vec![attributes::text("route", name)])
}

fn batch(metric_name: &str, series: &[(&str, u64)]) -> Batch {
    let series = series.iter().map(|(name, count)| Series {
        attributes: route(name).into(),
        observations: *count,
        points: vec![Point::Counter(*count)],
        exemplars: vec![],
    });
    let groups = vec![Group { metrics: vec![metric(metric_name)], series: series.collect() }];
    Batch { producer: 1, sequence: 1, observed_before: 0, counters: vec![], groups }
}

/// One series of a metric of another kind.
fn batch_of(kind: Kind, name: &str, point: Point, exemplar: Option<Exemplar>) -> Batch {
    let exemplars = exemplar.into_iter().map(|exemplar| (0, exemplar)).collect();
    let series =
        vec![Series { attributes: route(name).into(), observations: 1, points: vec![point], exemplars }];
    let groups = vec![Group { metrics: vec![Metric { kind, ..metric("other") }], series }];
    Batch { producer: 1, sequence: 1, observed_before: 0, counters: vec![], groups }
}

fn change(name: &str, change: i64) -> Batch {
    batch_of(Kind::UpDownCounter, name, Point::UpDownCounter(change), None)
}

/// What a destination gets of one series.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Exported {
    series: (String, Vec<u8>),
    window: (u64, u64),
    /// The value of a sum, or the number of values in a histogram; `None` if the series has ended.
    count: Option<i64>,
    exemplar: Option<u64>,
}

/// Exports at most `rows_max` rows, and returns where the next rows begin.
fn export_rows(
    table: &mut Table,
    destination: DestinationId,
    from: Cursor,
    rows_max: usize,
    now: u64,
) -> (Vec<Exported>, Option<Cursor>) {
    let time = table.export_time(destination, from, now);
    let (mut exported, mut next, mut rows_left) = (Vec::new(), None, rows_max);
    for (at, metric, row) in table.rows(from) {
        if rows_left == 0 {
            next = Some(at);
            break;
        }
        rows_left -= 1;
        let Some(point) = row.point(destination.for_kind(&metric.kind), time) else { continue };
        let window = (point.start_unix_nano, point.time_unix_nano);
        let series = (metric.name.clone(), point.attributes.to_vec());
        let (count, exemplar) = (point.value.as_deref().map(count), point.exemplar.map(Exemplar::value));
        exported.push(Exported { series, window, count, exemplar });
    }
    table.mark_sent(destination, from, next, time);
    (exported, next)
}

fn count(point: &Point) -> i64 {
    match point {
        Point::Counter(count) => i64::try_from(*count).unwrap(),
        Point::UpDownCounter(sum) => *sum,
        Point::Histogram(histogram) => i64::try_from(histogram.count()).unwrap(),
        Point::Exponential(_) => panic!("not used by these tests"),
    }
}

/// Exports everything, some rows at a time; the destination confirms each export if `is_confirmed`.
fn export(
    table: &mut Table,
    destination: DestinationId,
    rows_max: usize,
    now: u64,
    is_confirmed: bool,
) -> Vec<Exported> {
    let (mut all, mut cursor) = (Vec::new(), Some(Cursor::default()));
    while let Some(from) = cursor {
        let (exported, next) = export_rows(table, destination, from, rows_max, now);
        assert!(exported.len() <= rows_max);
        all.extend(exported);
        if is_confirmed {
            table.confirm(destination, from, next);
        }
        cursor = next;
    }
    all
}

fn counts(exported: &[Exported]) -> Vec<Option<i64>> {
    exported.iter().map(|exported| exported.count).collect()
}

#[test]
fn series_past_the_limit_are_counted_in_the_overflow_series() {
    let mut table = table(2);
    table.merge(batch("m", &[("a", 1), ("b", 2), ("c", 3), ("d", 4)]), 9);
    table.merge(batch("m", &[("a", 1), ("d", 1)]), 9);
    let exported = export(&mut table, CUMULATIVE, 100, 10, true);
    assert_eq!(counts(&exported), [Some(2), Some(2), Some(8)]);
    assert_eq!(exported[2].series.1, attributes::overflow());
}

#[test]
fn series_without_client_values_have_a_reserve_past_the_limit() {
    let mut table = table(4);
    let names = ["a", "b", "c", "d", "e", "_OTHER", "x_OTHER", "_OTHER"];
    table.merge(batch("m", &names.map(|name| (name, 1))), 9);
    let exported = export(&mut table, CUMULATIVE, 100, 10, true);
    // The fifth and, past the reserve of one, the seventh.
    assert_eq!(counts(&exported), [Some(1), Some(1), Some(1), Some(1), Some(2), Some(2)]);
    let overflows = exported.iter().filter(|exported| exported.series.1 == attributes::overflow());
    assert_eq!(overflows.count(), 1);
}

#[test]
fn each_metric_has_its_own_limit() {
    let mut table = table(1);
    table.merge(batch("m", &[("a", 1)]), 9);
    table.merge(batch("n", &[("b", 1)]), 9);
    let exported = export(&mut table, CUMULATIVE, 100, 10, true);
    assert!(
        exported.len() == 2 && exported.iter().all(|exported| exported.series.1 != attributes::overflow())
    );
}

#[test]
fn metrics_past_their_limit_are_dropped_and_counted() {
    let mut table = table(10);
    let merge = |number| table.merge(batch(&format!("m{number}"), &[("a", 1)]), 9).points_dropped;
    let dropped: u64 = (0..METRICS_PER_ORIGIN_MAX + 3).map(merge).sum();
    assert_eq!((dropped, table.series()), (3, METRICS_PER_ORIGIN_MAX));
}

#[test]
fn metrics_with_one_name_but_another_unit_are_separate() {
    let mut table = table(10);
    table.merge(batch("m", &[("a", 1)]), 9);
    let mut other = batch("m", &[("a", 1)]);
    other.groups[0].metrics[0].unit = "s".into();
    table.merge(other, 9);
    assert_eq!(table.series(), 2);
}

#[test]
fn deltas_are_contiguous_and_include_what_did_not_arrive() {
    let mut table = table(10);
    table.merge(batch("m", &[("a", 1)]), 9);
    let windows = |table: &mut Table, now, is_confirmed| {
        let exported = export(table, DELTA, 100, now, is_confirmed);
        exported.iter().map(|exported| (exported.window, exported.count)).collect::<Vec<_>>()
    };
    assert_eq!(windows(&mut table, 10, true), [((5, 10), Some(1))]);
    assert_eq!(windows(&mut table, 20, true), [], "no update");
    table.merge(batch("m", &[("a", 2)]), 25);
    assert_eq!(windows(&mut table, 30, false), [((10, 30), Some(2))], "not confirmed");
    table.merge(batch("m", &[("a", 4)]), 35);
    assert_eq!(windows(&mut table, 40, true), [((10, 40), Some(6))]);
    table.merge(batch("m", &[("a", 8)]), 45);
    assert_eq!(windows(&mut table, 50, true), [((40, 50), Some(8))]);
    assert_eq!(
        counts(&export(&mut table, CUMULATIVE, 100, 60, true)),
        [Some(15)],
        "the other destination gets the sum"
    );
}

#[test]
fn updates_during_an_export_are_in_the_next_one() {
    let mut table = table(10);
    table.merge(batch("m", &[("a", 1)]), 9);
    let (_, next) = export_rows(&mut table, DELTA, Cursor::default(), 100, 10);
    table.merge(batch("m", &[("a", 2)]), 11);
    table.confirm(DELTA, Cursor::default(), next);
    assert_eq!(counts(&export(&mut table, DELTA, 100, 20, true)), [Some(2)]);
}

#[test]
fn a_series_ends_only_after_every_destination_has_its_last_value() {
    let mut table = table(10);
    table.merge(batch("m", &[("a", 1)]), 9);
    table.sweep(100, 500);
    assert_eq!(counts(&export(&mut table, CUMULATIVE, 100, 501, true)), [Some(1)], "no destination had it");
    table.sweep(100, 600);
    assert_eq!(
        counts(&export(&mut table, CUMULATIVE, 100, 601, true)),
        [Some(1)],
        "one destination does not have it"
    );
    assert_eq!(counts(&export(&mut table, DELTA, 100, 602, true)), [Some(1)]);
    table.sweep(100, 700);
    let end = export(&mut table, CUMULATIVE, 100, 701, true);
    assert_eq!((end[0].count, end[0].window), (None, (5, 700)), "the end");
    assert_eq!(counts(&export(&mut table, DELTA, 100, 702, true)), [], "deltas just stop");
    table.sweep(100, 800);
    assert_eq!(table.series(), 0);
    table.merge(batch("m", &[("a", 3)]), 900);
    let exported = export(&mut table, CUMULATIVE, 100, 901, true);
    assert_eq!(
        (exported[0].count, exported[0].window),
        (Some(3), (700, 901)),
        "a new start, where the old one ended"
    );
}

#[test]
fn a_series_that_comes_back_while_it_ends_starts_again() {
    let mut table = table(10);
    table.merge(batch("m", &[("a", 1)]), 9);
    for destination in [CUMULATIVE, DELTA] {
        export(&mut table, destination, 100, 10, true);
    }
    table.sweep(100, 500);
    table.merge(batch("m", &[("a", 2)]), 510);
    for destination in [CUMULATIVE, DELTA] {
        let exported = export(&mut table, destination, 100, 520, true);
        assert_eq!((exported[0].count, exported[0].window), (Some(2), (500, 520)));
    }
}

#[test]
fn a_removed_series_makes_room_for_another() {
    let mut table = table(1);
    table.merge(batch("m", &[("a", 1)]), 9);
    for now in [10, 500, 600] {
        for destination in [CUMULATIVE, DELTA] {
            export(&mut table, destination, 100, now, true);
        }
        table.sweep(100, now + 1);
    }
    table.merge(batch("m", &[("b", 1)]), 700);
    assert_eq!(export(&mut table, CUMULATIVE, 100, 701, true)[0].series.1, route("b"));
}

#[test]
fn a_series_of_the_service_never_ends() {
    let mut table = table(10);
    for (value, now) in [(3, 10), (7, 20)] {
        assert!(table.set(MetricOrigin::Service, &metric("own"), &route("a"), Point::Counter(value), 0, now));
    }
    for now in [30, 500, 1_000] {
        for destination in [CUMULATIVE, DELTA] {
            export(&mut table, destination, 100, now, true);
        }
        table.sweep(100, now + 1);
    }
    assert_eq!(counts(&export(&mut table, CUMULATIVE, 100, 2_000, true)), [Some(7)]);
}

#[test]
fn metrics_of_workers_are_exported_first_and_those_of_the_service_last() {
    for rows_max in [1, 2, 100] {
        let mut table = table(10);
        for (origin, name) in [(MetricOrigin::Service, "own"), (MetricOrigin::SharedData, "shared")] {
            assert!(table.set(origin, &metric(name), &route("a"), Point::Counter(1), 0, 10));
        }
        let names = |exported: Vec<Exported>| {
            exported.into_iter().map(|exported| exported.series.0).collect::<Vec<_>>()
        };
        assert_eq!(names(export(&mut table, DELTA, rows_max, 11, false)), ["shared", "own"]);
        table.merge(batch("m", &[("a", 1), ("b", 1)]), 12);
        assert_eq!(names(export(&mut table, DELTA, rows_max, 13, true)), ["m", "m", "shared", "own"]);
        assert_eq!(names(export(&mut table, DELTA, rows_max, 14, true)), [""; 0], "all are confirmed");
    }
}

#[test]
fn a_metric_that_comes_too_late_for_a_cycle_is_in_the_next() {
    let mut table = table(10);
    for (origin, name) in [(MetricOrigin::Service, "own"), (MetricOrigin::SharedData, "shared")] {
        assert!(table.set(origin, &metric(name), &route("a"), Point::Counter(1), 0, 10));
    }
    let (exported, next) = export_rows(&mut table, DELTA, Cursor::default(), 1, 11);
    assert_eq!(exported.len(), 1);
    table.merge(batch("m", &[("a", 1)]), 12);
    table.confirm(DELTA, Cursor::default(), next);
    let (exported, end) = export_rows(&mut table, DELTA, next.unwrap(), 1, 13);
    assert_eq!((exported[0].series.0.as_str(), end), ("own", None));
    table.confirm(DELTA, next.unwrap(), end);
    let exported = export(&mut table, DELTA, 1, 14, true);
    assert_eq!(exported.iter().map(|exported| exported.series.0.as_str()).collect::<Vec<_>>(), ["m"]);
}

#[test]
fn rejected_sums_are_exported_again_and_rejected_deltas_are_not() {
    let mut table = table(10);
    table.merge(batch("m", &[("a", 5)]), 9);
    for destination in [CUMULATIVE, DELTA] {
        assert_eq!(counts(&export(&mut table, destination, 100, 10, false)), [Some(5)]);
        let discarded = table.discard(destination, Cursor::default(), None);
        assert_eq!(discarded, if destination == DELTA { 5 } else { 0 });
        let (.., row) = table.rows(Cursor::default()).next().unwrap();
        assert_eq!(row.is_confirmed(destination), destination == DELTA);
    }
    table.sweep(100, 500);
    assert_eq!(
        counts(&export(&mut table, CUMULATIVE, 100, 600, true)),
        [Some(5)],
        "it did not end before it was confirmed"
    );
    table.sweep(100, 700);
    assert_eq!(counts(&export(&mut table, CUMULATIVE, 100, 800, true)), [None]);
}

#[test]
fn the_limit_does_not_apply_to_series_of_the_service() {
    let mut table = table(1);
    for (name, value) in [("a", 3), ("b", 5)] {
        assert!(table.set(MetricOrigin::Service, &metric("own"), &route(name), Point::Counter(value), 0, 10));
    }
    assert_eq!(counts(&export(&mut table, CUMULATIVE, 100, 20, true)), [Some(3), Some(5)]);
}

#[test]
fn an_up_down_counter_is_cumulative_for_every_destination() {
    let mut table = table(10);
    table.merge(change("a", 5), 9);
    table.merge(change("a", -7), 9);
    for destination in [CUMULATIVE, DELTA] {
        let exported = export(&mut table, destination, 100, 10, true);
        assert_eq!((exported[0].count, exported[0].window), (Some(-2), (5, 10)));
        let exported = export(&mut table, destination, 100, 20, true);
        assert_eq!((exported[0].count, exported[0].window), (Some(-2), (5, 20)), "again, without an update");
    }
}

#[test]
fn an_up_down_counter_ends_only_at_0() {
    let mut table = table(10);
    let idle = |table: &mut Table, now| {
        for destination in [CUMULATIVE, DELTA] {
            export(table, destination, 100, now, true);
        }
        table.sweep(100, now + 200);
        export(table, CUMULATIVE, 100, now + 201, true)[0].count
    };
    table.merge(change("a", 1), 9);
    assert_eq!(idle(&mut table, 10), Some(1), "it is not 0");
    table.merge(change("a", -1), 300);
    assert_eq!(idle(&mut table, 310), None);
    assert_eq!(export(&mut table, DELTA, 100, 600, true)[0].count, None, "every destination gets the end");
    table.sweep(100, 700);
    assert_eq!(table.series(), 0);
}
