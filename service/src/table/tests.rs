//! The table, by what its slices show.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tributary_host::random;

use super::*;

fn metric(name: &str) -> Metric {
    let kind = Kind::Counter;
    Metric { name: name.into(), unit: "1".into(), description: String::new(), divisor: 1, kind }
}

fn batch(metric_name: &str, series: &[(&str, u64)]) -> Batch {
    let series = series.iter().map(|(route, count)| Series {
        attributes: attributes::encode(vec![attributes::text("route", route)]),
        observations: *count,
        points: vec![Point::Counter(*count)],
    });
    let groups = vec![Group { metrics: vec![metric(metric_name)], series: series.collect() }];
    Batch { producer: 1, sequence: 1, counters: vec![], groups }
}

/// All rows, read in slices of `rows_max`.
fn rows(table: &Table, rows_max: usize) -> Vec<(String, Vec<u8>, u64)> {
    let (mut all, mut cursor) = (Vec::new(), Some(Cursor::default()));
    while let Some(from) = cursor {
        let (parts, next) = table.slice(from, rows_max);
        let count: usize = parts.iter().map(|(_, rows)| rows.len()).sum();
        assert!(
            count <= rows_max && (next.is_none() || count == rows_max),
            "slices are full but for the last"
        );
        for (metric, rows) in parts {
            for row in rows {
                let Point::Counter(count) = row.point else { panic!("a counter") };
                all.push((metric.name.clone(), row.attributes.to_vec(), count));
            }
        }
        cursor = next;
    }
    all
}

#[test]
fn series_past_the_limit_are_counted_in_the_overflow_series() {
    let mut table = Table::new(2, random::hasher());
    table.merge(batch("m", &[("a", 1), ("b", 2), ("c", 3), ("d", 4)]), 9);
    table.merge(batch("m", &[("a", 1), ("d", 1)]), 9);
    let counts: Vec<u64> = rows(&table, 100).iter().map(|(_, _, count)| *count).collect();
    assert_eq!(counts, [2, 2, 8]);
    assert_eq!(rows(&table, 100)[2].1, attributes::overflow());
}

#[test]
fn the_limit_is_for_each_metric() {
    let mut table = Table::new(1, random::hasher());
    table.merge(batch("m", &[("a", 1)]), 9);
    table.merge(batch("n", &[("b", 1)]), 9);
    assert_eq!(table.series(), 2);
    assert!(rows(&table, 100).iter().all(|(_, bytes, _)| *bytes != attributes::overflow()));
}

#[test]
fn metrics_past_their_limit_are_dropped_and_counted() {
    let mut table = Table::new(10, random::hasher());
    let dropped: u64 = (0..METRICS_MAX + 3)
        .map(|number| table.merge(batch(&format!("m{number}"), &[("a", 1)]), 9).points_dropped)
        .sum();
    assert_eq!((dropped, table.series()), (3, METRICS_MAX));
}

#[test]
fn metrics_of_one_name_but_other_meaning_are_apart() {
    let mut table = Table::new(10, random::hasher());
    table.merge(batch("m", &[("a", 1)]), 9);
    let mut other = batch("m", &[("a", 1)]);
    other.groups[0].metrics[0].unit = "s".into();
    table.merge(other, 9);
    assert_eq!(table.series(), 2);
}

#[test]
fn exponential_histograms_of_other_scales_are_added_up() {
    let folded = |values: &[u64]| {
        let mut histogram = ExponentialHistogram::new(160);
        values.iter().for_each(|value| histogram.record(*value, 1));
        Point::Exponential(histogram)
    };
    let mut table = Table::new(10, random::hasher());
    for values in [&[7][..], &[1, u64::MAX], &[0, 8]] {
        let mut batch = batch("m", &[("a", 1)]);
        batch.groups[0].metrics[0].kind = Kind::Exponential { max_size: 160 };
        batch.groups[0].series[0].points = vec![folded(values)];
        assert_eq!(table.merge(batch, 9).points_dropped, 0);
    }
    let (parts, _) = table.slice(Cursor::default(), 10);
    assert_eq!(parts[0].1[0].point, folded(&[7, 1, u64::MAX, 0, 8]));
}

proptest! {
    #[test]
    fn any_order_of_batches_gives_the_same_sums_and_slices_miss_nothing(
        shuffled in prop::collection::vec((0u8..3, 0u8..12, 1u64..9), 0..80).prop_shuffle(),
        series_max in 1usize..15,
        rows_max in 1usize..9,
    ) {
        let mut table = Table::new(series_max, random::hasher());
        let mut expected: BTreeMap<String, u64> = BTreeMap::new();
        for (metric, route, count) in &shuffled {
            let name = format!("m{metric}");
            table.merge(batch(&name, &[(&format!("r{route}"), *count)]), 9);
            *expected.entry(name).or_default() += count;
        }
        let mut sums: BTreeMap<String, u64> = BTreeMap::new();
        for (name, _, count) in rows(&table, rows_max) {
            *sums.entry(name).or_default() += count;
        }
        prop_assert_eq!(sums, expected);
        prop_assert_eq!(rows(&table, rows_max), rows(&table, usize::MAX));
    }
}
