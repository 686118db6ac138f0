//! The table, by what destinations are told of it.

mod exemplars;
mod proptests;

use crate::resource::Resource;
use tributary_host::random;
use tributary_proto::batch::Point;
use tributary_proto::exemplar::Exemplar;
use tributary_proto::metric::Kind;

use super::*;
use crate::encode::{Encoding, SizeHint};
use crate::points::{Temporality, Value};

const CUMULATIVE: Viewer = Viewer { number: 0, delta: None };
const DELTA: Viewer = Viewer { number: 1, delta: Some(0) };

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

/// One series of one metric that is no counter.
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

/// What a destination is told of one series.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    series: (String, Vec<u8>),
    window: (u64, u64),
    /// None for the end. Of a histogram, how many values are in it.
    count: Option<i64>,
    exemplar: Option<u64>,
}

/// One slice, as it is told, and where the next begins.
fn slice(
    table: &mut Table,
    viewer: Viewer,
    from: Cursor,
    rows_max: usize,
    now: u64,
) -> (Vec<Told>, Option<Cursor>) {
    let size = SizeHint::new(Encoding::OtlpProtobuf, &Resource::default());
    let limits = SliceLimits { rows_max, bytes_max: usize::MAX, size: &size, only_news: false };
    let slice = table.collect(viewer, from, &limits, now);
    let mut told = Vec::new();
    for metric in &slice.metrics {
        let is_delta = viewer.delta.is_some() && metric.metric.kind != Kind::UpDownCounter;
        let expected = if is_delta { Temporality::Delta } else { Temporality::Cumulative };
        assert_eq!(metric.temporality, expected);
        for point in &metric.points {
            told.push(Told {
                series: (metric.metric.name.clone(), point.attributes.to_vec()),
                window: (point.start_unix_nano, point.time_unix_nano),
                count: match &point.value {
                    Value::Counter(count) => Some(i64::try_from(*count).unwrap()),
                    Value::UpDown(sum) => Some(*sum),
                    Value::Histogram(histogram) => Some(i64::try_from(histogram.count()).unwrap()),
                    Value::NoRecordedValue => None,
                    other => panic!("nothing of this test: {other:?}"),
                },
                exemplar: point.exemplar.map(Exemplar::value),
            });
        }
    }
    (told, slice.next)
}

/// Everything, slice by slice; it arrives if `arrives`.
fn tell(table: &mut Table, viewer: Viewer, rows_max: usize, now: u64, arrives: bool) -> Vec<Told> {
    let (mut all, mut cursor) = (Vec::new(), Some(Cursor::default()));
    while let Some(from) = cursor {
        let (told, next) = slice(table, viewer, from, rows_max, now);
        assert!(told.len() <= rows_max);
        all.extend(told);
        if arrives {
            table.arrived(viewer, from, next);
        }
        cursor = next;
    }
    all
}

fn counts(told: &[Told]) -> Vec<Option<i64>> {
    told.iter().map(|told| told.count).collect()
}

#[test]
fn series_past_the_limit_are_counted_in_the_overflow_series() {
    let mut table = table(2);
    table.merge(batch("m", &[("a", 1), ("b", 2), ("c", 3), ("d", 4)]), 9);
    table.merge(batch("m", &[("a", 1), ("d", 1)]), 9);
    let told = tell(&mut table, CUMULATIVE, 100, 10, true);
    assert_eq!(counts(&told), [Some(2), Some(2), Some(8)]);
    assert_eq!(told[2].series.1, attributes::overflow());
}

#[test]
fn the_limit_is_for_each_metric() {
    let mut table = table(1);
    table.merge(batch("m", &[("a", 1)]), 9);
    table.merge(batch("n", &[("b", 1)]), 9);
    let told = tell(&mut table, CUMULATIVE, 100, 10, true);
    assert!(told.len() == 2 && told.iter().all(|told| told.series.1 != attributes::overflow()));
}

#[test]
fn metrics_past_their_limit_are_dropped_and_counted() {
    let mut table = table(10);
    let merge = |number| table.merge(batch(&format!("m{number}"), &[("a", 1)]), 9).points_dropped;
    let dropped: u64 = (0..METRICS_MAX + 3).map(merge).sum();
    assert_eq!((dropped, table.series()), (3, METRICS_MAX));
}

#[test]
fn metrics_of_one_name_but_other_meaning_are_apart() {
    let mut table = table(10);
    table.merge(batch("m", &[("a", 1)]), 9);
    let mut other = batch("m", &[("a", 1)]);
    other.groups[0].metrics[0].unit = "s".into();
    table.merge(other, 9);
    assert_eq!(table.series(), 2);
}

#[test]
fn deltas_are_contiguous_and_carry_what_did_not_arrive() {
    let mut table = table(10);
    table.merge(batch("m", &[("a", 1)]), 9);
    let told = |table: &mut Table, now, arrives| {
        let told = tell(table, DELTA, 100, now, arrives);
        told.iter().map(|told| (told.window, told.count)).collect::<Vec<_>>()
    };
    assert_eq!(told(&mut table, 10, true), [((5, 10), Some(1))]);
    assert_eq!(told(&mut table, 20, true), [], "nothing new");
    table.merge(batch("m", &[("a", 2)]), 25);
    assert_eq!(told(&mut table, 30, false), [((10, 30), Some(2))], "lost on the way");
    table.merge(batch("m", &[("a", 4)]), 35);
    assert_eq!(told(&mut table, 40, true), [((10, 40), Some(6))]);
    table.merge(batch("m", &[("a", 8)]), 45);
    assert_eq!(told(&mut table, 50, true), [((40, 50), Some(8))]);
    assert_eq!(counts(&tell(&mut table, CUMULATIVE, 100, 60, true)), [Some(15)], "and elsewhere all of it");
}

#[test]
fn what_comes_while_a_slice_is_on_its_way_is_told_next() {
    let mut table = table(10);
    table.merge(batch("m", &[("a", 1)]), 9);
    let (_, next) = slice(&mut table, DELTA, Cursor::default(), 100, 10);
    table.merge(batch("m", &[("a", 2)]), 11);
    table.arrived(DELTA, Cursor::default(), next);
    assert_eq!(counts(&tell(&mut table, DELTA, 100, 20, true)), [Some(2)]);
}

#[test]
fn a_series_ends_only_after_its_last_value_is_everywhere_and_says_so() {
    let mut table = table(10);
    table.merge(batch("m", &[("a", 1)]), 9);
    table.sweep(100, 500);
    assert_eq!(counts(&tell(&mut table, CUMULATIVE, 100, 501, true)), [Some(1)], "nobody knew of it yet");
    table.sweep(100, 600);
    assert_eq!(counts(&tell(&mut table, CUMULATIVE, 100, 601, true)), [Some(1)], "not everybody knows of it");
    assert_eq!(counts(&tell(&mut table, DELTA, 100, 602, true)), [Some(1)]);
    table.sweep(100, 700);
    let end = tell(&mut table, CUMULATIVE, 100, 701, true);
    assert_eq!((end[0].count, end[0].window), (None, (5, 700)), "the end");
    assert_eq!(counts(&tell(&mut table, DELTA, 100, 702, true)), [], "deltas just stop");
    table.sweep(100, 800);
    assert_eq!(table.series(), 0);
    table.merge(batch("m", &[("a", 3)]), 900);
    let told = tell(&mut table, CUMULATIVE, 100, 901, true);
    assert_eq!(
        (told[0].count, told[0].window),
        (Some(3), (700, 901)),
        "a new start, where the old one ended"
    );
}

#[test]
fn a_series_that_comes_back_while_it_ends_begins_anew() {
    let mut table = table(10);
    table.merge(batch("m", &[("a", 1)]), 9);
    for viewer in [CUMULATIVE, DELTA] {
        tell(&mut table, viewer, 100, 10, true);
    }
    table.sweep(100, 500);
    table.merge(batch("m", &[("a", 2)]), 510);
    for viewer in [CUMULATIVE, DELTA] {
        let told = tell(&mut table, viewer, 100, 520, true);
        assert_eq!((told[0].count, told[0].window), (Some(2), (500, 520)));
    }
}

#[test]
fn a_series_that_ended_makes_room_for_another() {
    let mut table = table(1);
    table.merge(batch("m", &[("a", 1)]), 9);
    for now in [10, 500, 600] {
        for viewer in [CUMULATIVE, DELTA] {
            tell(&mut table, viewer, 100, now, true);
        }
        table.sweep(100, now + 1);
    }
    table.merge(batch("m", &[("b", 1)]), 700);
    assert_eq!(tell(&mut table, CUMULATIVE, 100, 701, true)[0].series.1, route("b"));
}

#[test]
fn a_counter_of_the_services_own_never_ends() {
    let mut table = table(10);
    for (value, now) in [(3, 10), (7, 20)] {
        assert!(table.set(Owner::Service, &metric("own"), &route("a"), Point::Counter(value), 0, now));
    }
    for now in [30, 500, 1_000] {
        for viewer in [CUMULATIVE, DELTA] {
            tell(&mut table, viewer, 100, now, true);
        }
        table.sweep(100, now + 1);
    }
    assert_eq!(counts(&tell(&mut table, CUMULATIVE, 100, 2_000, true)), [Some(7)]);
}

#[test]
fn whoever_was_there_first_workers_come_first_and_the_services_own_last() {
    for rows_max in [1, 2, 100] {
        let mut table = table(10);
        for (owner, name) in [(Owner::Service, "own"), (Owner::SharedData, "shared")] {
            assert!(table.set(owner, &metric(name), &route("a"), Point::Counter(1), 0, 10));
        }
        let names = |told: Vec<Told>| told.into_iter().map(|told| told.series.0).collect::<Vec<_>>();
        assert_eq!(names(tell(&mut table, DELTA, rows_max, 11, false)), ["shared", "own"]);
        table.merge(batch("m", &[("a", 1), ("b", 1)]), 12);
        assert_eq!(names(tell(&mut table, DELTA, rows_max, 13, true)), ["m", "m", "shared", "own"]);
        assert_eq!(names(tell(&mut table, DELTA, rows_max, 14, true)), [""; 0], "each has arrived");
    }
}

#[test]
fn a_metric_that_comes_while_a_cycle_is_behind_it_is_told_in_the_next() {
    let mut table = table(10);
    for (owner, name) in [(Owner::Service, "own"), (Owner::SharedData, "shared")] {
        assert!(table.set(owner, &metric(name), &route("a"), Point::Counter(1), 0, 10));
    }
    let (told, next) = slice(&mut table, DELTA, Cursor::default(), 1, 11);
    assert_eq!(told.len(), 1);
    table.merge(batch("m", &[("a", 1)]), 12);
    table.arrived(DELTA, Cursor::default(), next);
    let (told, end) = slice(&mut table, DELTA, next.unwrap(), 1, 13);
    assert_eq!((told[0].series.0.as_str(), end), ("own", None));
    table.arrived(DELTA, next.unwrap(), end);
    let told = tell(&mut table, DELTA, 1, 14, true);
    assert_eq!(told.iter().map(|told| told.series.0.as_str()).collect::<Vec<_>>(), ["m"]);
}

#[test]
fn sums_that_were_refused_are_told_again_and_deltas_are_not() {
    let mut table = table(10);
    table.merge(batch("m", &[("a", 5)]), 9);
    for (viewer, expected) in [(CUMULATIVE, vec![Some(5)]), (DELTA, vec![])] {
        assert_eq!(counts(&tell(&mut table, viewer, 100, 10, false)), [Some(5)]);
        let refused = table.refused(viewer, Cursor::default(), None);
        assert_eq!(refused, if viewer == DELTA { 5 } else { 0 });
        // What is told of a series when all else is over: what its destination does not have.
        let size = SizeHint::new(Encoding::OtlpProtobuf, &Resource::default());
        let limits =
            SliceLimits { rows_max: usize::MAX, bytes_max: usize::MAX, size: &size, only_news: true };
        let slice = table.collect(viewer, Cursor::default(), &limits, 11);
        assert_eq!(slice.metrics.iter().map(|metric| metric.points.len()).sum::<usize>(), expected.len());
    }
    table.sweep(100, 500);
    assert_eq!(counts(&tell(&mut table, CUMULATIVE, 100, 600, true)), [Some(5)], "it did not end untold");
    table.sweep(100, 700);
    assert_eq!(counts(&tell(&mut table, CUMULATIVE, 100, 800, true)), [None]);
}

#[test]
fn counters_of_the_services_own_do_not_crowd_each_other_out() {
    let mut table = table(1);
    for (name, value) in [("a", 3), ("b", 5)] {
        assert!(table.set(Owner::Service, &metric("own"), &route(name), Point::Counter(value), 0, 10));
    }
    assert_eq!(counts(&tell(&mut table, CUMULATIVE, 100, 20, true)), [Some(3), Some(5)]);
}

#[test]
fn a_sum_that_also_falls_is_cumulative_for_everybody() {
    let mut table = table(10);
    table.merge(change("a", 5), 9);
    table.merge(change("a", -7), 9);
    for viewer in [CUMULATIVE, DELTA] {
        let told = tell(&mut table, viewer, 100, 10, true);
        assert_eq!((told[0].count, told[0].window), (Some(-2), (5, 10)));
        let told = tell(&mut table, viewer, 100, 20, true);
        assert_eq!((told[0].count, told[0].window), (Some(-2), (5, 20)), "again, though nothing came");
    }
}

#[test]
fn a_sum_that_also_falls_ends_only_where_it_began() {
    let mut table = table(10);
    let idle = |table: &mut Table, now| {
        for viewer in [CUMULATIVE, DELTA] {
            tell(table, viewer, 100, now, true);
        }
        table.sweep(100, now + 200);
        tell(table, CUMULATIVE, 100, now + 201, true)[0].count
    };
    table.merge(change("a", 1), 9);
    assert_eq!(idle(&mut table, 10), Some(1), "somebody is still there");
    table.merge(change("a", -1), 300);
    assert_eq!(idle(&mut table, 310), None);
    assert_eq!(tell(&mut table, DELTA, 100, 600, true)[0].count, None, "and all are told that it did");
    table.sweep(100, 700);
    assert_eq!(table.series(), 0);
}

#[test]
fn a_slice_ends_with_the_point_that_goes_past_its_bytes() {
    let mut table = table(100);
    let names: Vec<String> = (0..50).map(|number| number.to_string()).collect();
    table.merge(batch("m", &names.iter().map(|name| (name.as_str(), 1)).collect::<Vec<_>>()), 9);
    let size = SizeHint::new(Encoding::OtlpProtobuf, &Resource::default());
    let limits = SliceLimits { rows_max: usize::MAX, bytes_max: 1_000, size: &size, only_news: false };
    let slice = table.collect(CUMULATIVE, Cursor::default(), &limits, 10);
    let points = slice.metrics[0].points.len();
    assert!((2..30).contains(&points) && slice.next == Some(Cursor { metric: 0, row: points }), "{points}");
}
