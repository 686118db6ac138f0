use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;

use super::super::sample::{
    COUNTER, CUMULATIVE, DELTA, DURATION, SIZE, counter, duration, ended, request, size,
};
use super::*;
use crate::metrics::ReceivedBuckets;

fn store(metrics: impl IntoIterator<Item = Metric>) -> Store {
    let mut store = Store::default();
    for metric in metrics {
        store.take_otlp(&request("a", vec![metric])).unwrap();
    }
    store
}

#[test]
fn delta_points_add_up_and_a_new_start_continues_the_total() {
    let mut store = Store::default();
    for (start, value) in [(1, 10), (2, 5), (3, 0)] {
        store.take_otlp(&request("delta", vec![counter(DELTA, start, start + 1, value)])).unwrap();
    }
    assert_eq!(store.sum(COUNTER, &[]), 15);
    for (start, time, value) in [(1, 2, 10), (1, 3, 20), (4, 5, 3), (4, 6, 4)] {
        store.take_otlp(&request("restarted", vec![counter(CUMULATIVE, start, time, value)])).unwrap();
    }
    assert_eq!(store.sum(COUNTER, &[]), 15 + 24);
}

#[test]
fn invalid_points_are_rejected_with_their_whole_request() {
    let mut wrong_count = duration(2, 200, [1, 2, 3]);
    if let Some(Data::Histogram(histogram)) = &mut wrong_count.data {
        histogram.data_points[0].count = 7;
    }
    let mut falling_bounds = duration(2, 200, [1, 2, 3]);
    if let Some(Data::Histogram(histogram)) = &mut falling_bounds.data {
        histogram.data_points[0].explicit_bounds = vec![1.0, 0.1];
    }
    let twice = vec![counter(CUMULATIVE, 1, 3, 10), counter(CUMULATIVE, 1, 3, 10)];
    for (wrong, why) in [
        (vec![counter(CUMULATIVE, 1, 3, 9)], "comes after"),
        (vec![counter(CUMULATIVE, 1, 1, 11)], "older"),
        (vec![counter(CUMULATIVE, 9, 8, 11)], "before its start"),
        (vec![counter(0, 1, 3, 11)], "temporality"),
        (vec![wrong_count], "in all buckets"),
        (vec![falling_bounds], "do not ascend"),
        (twice, "duplicate"),
    ] {
        let mut store = Store::default();
        store.take_otlp(&request("a", vec![counter(CUMULATIVE, 1, 2, 10)])).unwrap();
        let mut metrics = vec![duration(2, 500, [1, 0, 0])];
        metrics.extend(wrong);
        let error = format!("{:#}", store.take_otlp(&request("a", metrics)).unwrap_err());
        assert!(error.contains(why), "{why}: {error}");
        assert_eq!((store.sum(COUNTER, &[]), store.count(DURATION, &[])), (10, 0), "{why}");
    }
}

#[test]
fn windows_of_deltas_must_touch() {
    for (start, time, why) in [(3, 5, "gap"), (1, 3, "overlaps"), (0, 2, "overlaps"), (0, 1, "older")] {
        let mut store = store([counter(DELTA, 1, 2, 10)]);
        let error = store.take_otlp(&request("a", vec![counter(DELTA, start, time, 1)])).unwrap_err();
        assert!(format!("{error:#}").contains(why), "{why}: {error:#}");
        assert_eq!(store.sum(COUNTER, &[]), 10);
        store.take_otlp(&request("b", vec![counter(DELTA, start, time, 1)])).unwrap();
    }
    let negative = store([]).take_otlp(&request("a", vec![counter(DELTA, 1, 2, -1)]));
    assert!(format!("{:#}", negative.unwrap_err()).contains("is negative"));
}

#[test]
fn a_series_keeps_its_temporality() {
    let mut store = store([counter(DELTA, 1, 2, 10)]);
    let error = store.take_otlp(&request("a", vec![counter(CUMULATIVE, 2, 3, 10)])).unwrap_err();
    assert!(format!("{error:#}").contains("Cumulative { monotonic: true } after Delta"), "{error:#}");
}

#[test]
fn a_series_keeps_its_bounds_over_restarts() {
    let restarted = |bounds: Vec<f64>| {
        let mut metric = duration(9, 200, [1, 2, 3]);
        if let Some(Data::Histogram(histogram)) = &mut metric.data {
            let point = &mut histogram.data_points[0];
            (point.start_time_unix_nano, point.explicit_bounds) = (5, bounds);
        }
        metric
    };
    let mut store = store([duration(2, 200, [1, 2, 3])]);
    let error = store.take_otlp(&request("a", vec![restarted(vec![0.2, 1.0])])).unwrap_err();
    assert!(format!("{error:#}").contains("different bounds"), "{error:#}");
    assert_eq!(store.count(DURATION, &[]), 6);
    store.take_otlp(&request("a", vec![restarted(vec![0.1, 1.0])])).unwrap();
    assert_eq!(store.count(DURATION, &[]), 12);
}

#[test]
fn an_ended_series_keeps_its_total_and_continues_with_a_new_start() {
    for temporality in [CUMULATIVE, DELTA] {
        let mut store = store([counter(temporality, 1, 2, 10), ended(temporality, 1, 4)]);
        let now = |store: &Store| (store.sum(COUNTER, &[]), store.ended(COUNTER, &[("key", "requests")]));
        assert_eq!(now(&store), (10, 1));
        for (start, time) in [(1, 5), (3, 5), (1, 3)] {
            store.take_otlp(&request("a", vec![counter(temporality, start, time, 10)])).unwrap_err();
        }
        store.take_otlp(&request("a", vec![counter(temporality, 7, 8, 3)])).unwrap();
        assert_eq!(now(&store), (13, 0));
    }
}

#[test]
fn exponential_histograms_are_read_in_both_temporalities() {
    let cumulative = store([size(CUMULATIVE, 1, 2, &[1, 2]), size(CUMULATIVE, 1, 3, &[1, 2, 5])]);
    let delta = store([size(DELTA, 1, 2, &[1, 2]), size(DELTA, 2, 3, &[0, 0, 5])]);
    for (store, count, zero_count) in [(cumulative, 9, 1), (delta, 10, 2)] {
        let points = store.exponential_points(SIZE);
        let histogram = &points[0].histogram;
        assert_eq!((histogram.count, histogram.zero_count, histogram.scale), (count, zero_count, 1));
        assert_eq!(histogram.positive, ReceivedBuckets { offset: -1, counts: vec![1, 2, 5] });
        assert_eq!((histogram.min, histogram.max), (Some(0.0), Some(4.0)));
        assert_eq!(points[0].attributes["http.route"], "users".into());
        assert_eq!(store.count(SIZE, &[]), count);
    }
    let fallen = store([size(CUMULATIVE, 1, 2, &[1, 2])])
        .take_otlp(&request("a", vec![size(CUMULATIVE, 1, 3, &[2, 1])]));
    assert!(format!("{:#}", fallen.unwrap_err()).contains("comes after"));
    let mut off = size(CUMULATIVE, 1, 2, &[1]);
    if let Some(Data::ExponentialHistogram(histogram)) = &mut off.data {
        histogram.data_points[0].zero_count = 0;
    }
    let off = store([]).take_otlp(&request("a", vec![off]));
    assert!(format!("{:#}", off.unwrap_err()).contains("in all buckets"));
}

#[test]
fn distinct_exemplars_are_kept_once() {
    let mut store = store([size(CUMULATIVE, 1, 2, &[1]), size(CUMULATIVE, 1, 3, &[2])]);
    let mut again = size(CUMULATIVE, 1, 4, &[2]);
    if let Some(Data::ExponentialHistogram(histogram)) = &mut again.data {
        histogram.data_points[0].exemplars[0].time_unix_nano = 3;
    }
    store.take_otlp(&request("a", vec![again])).unwrap();
    let [point] = &store.exemplars(SIZE)[..] else { panic!("{:?}", store.exemplars(SIZE)) };
    assert_eq!(point.attributes["http.route"], "users".into());
    let times: Vec<_> = point.exemplars.iter().map(|exemplar| exemplar.time_unix_nano).collect();
    assert_eq!(times, [2, 3]);
    let first = &point.exemplars[0];
    assert_eq!((first.value, first.trace_id.as_str()), (1.5, "0102030405060708090a0b0c0d0e0f10"));
    assert_eq!((first.span_id.as_str(), &first.attributes["user"]), ("0102030405060708", &"7".into()));
}

#[test]
fn invalid_exemplars_are_rejected() {
    for (trace_id, span_id, time) in
        [(vec![1; 15], vec![], 2), (vec![0; 16], vec![], 2), (vec![], vec![1; 16], 2), (vec![], vec![], 0)]
    {
        let mut wrong = size(CUMULATIVE, 1, 2, &[1]);
        if let Some(Data::ExponentialHistogram(histogram)) = &mut wrong.data {
            let exemplar = &mut histogram.data_points[0].exemplars[0];
            (exemplar.trace_id, exemplar.span_id, exemplar.time_unix_nano) = (trace_id, span_id, time);
        }
        let error = store([]).take_otlp(&request("a", vec![wrong])).unwrap_err();
        assert!(format!("{error:#}").contains("exemplar"), "{error:#}");
    }
}
