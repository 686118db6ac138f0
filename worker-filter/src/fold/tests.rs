//! Tests the fold by the series that it flushes.

use std::collections::BTreeMap;
use std::hash::{BuildHasherDefault, DefaultHasher};

use proptest::prelude::*;
use tributary_proto::exponential::ExponentialHistogram;
use tributary_proto::otlp::any_value;

use super::*;
use crate::observation::Phase;
use tributary_plan::config::WorkerConfig;

type Seeded = BuildHasherDefault<DefaultHasher>;

/// The metric group of the preset with one stable metric, and with the keys in `more`.
fn group(more: &str) -> MetricGroup {
    let sizes = r#""drop": ["http.server.request.body.size", "http.server.response.body.size"]"#;
    WorkerConfig::parse(format!("{{{sizes}, \"counters\": [] {more}}}").as_bytes()).unwrap().plan.main
}

fn fold(series_max: usize) -> Fold<Seeded> {
    Fold::new(group(""), series_max, Seeded::default())
}

fn record(fold: &mut Fold<Seeded>, observation: &Observation<'_>) {
    fold.record(observation, Progress::whole(0));
}

fn observe(fold: &mut Fold<Seeded>, route: &[u8], code: i64, duration_ns: i64) {
    let (code, duration) = (code.to_le_bytes(), duration_ns.to_le_bytes());
    let mut observation = Observation::default();
    let values = [&b"GET"[..], &code, route, b"http", &duration];
    observation.values_mut().iter_mut().zip(values).for_each(|(place, value)| *place = Some(value));
    record(fold, &observation);
}

/// Flushes the fold: count and sum by the route, or by "overflow".
fn flushed(fold: &mut Fold<Seeded>) -> BTreeMap<String, (u64, u128)> {
    let mut flushed = BTreeMap::new();
    fold.drain(|bytes, observations, points, _| {
        let attributes = attributes::decode(bytes).unwrap();
        let name = attributes.iter().find_map(|a| match (a.key.as_str(), a.value.clone()?.value?) {
            ("http.route", any_value::Value::StringValue(route)) => Some(route),
            (attributes::OVERFLOW, _) => Some("overflow".to_owned()),
            _ => None,
        });
        let [Point::Histogram(histogram)] = points else { panic!("one histogram") };
        assert_eq!(histogram.count(), observations);
        let total: &mut (u64, u128) = flushed.entry(name.unwrap_or_default()).or_default();
        *total = (total.0 + observations, total.1 + histogram.sum());
    });
    flushed
}

fn expected(series: &[(&str, u64, u128)]) -> BTreeMap<String, (u64, u128)> {
    series.iter().map(|(name, count, sum)| ((*name).to_owned(), (*count, *sum))).collect()
}

#[test]
fn messages_of_a_call_are_two_numbers_in_one_text() {
    for (text, expected) in [
        (&b"3,500"[..], [Some(3), Some(500)]),
        (b"0,0", [Some(0), Some(0)]),
        (b"", [None, None]),
        (b"3", [None, None]),
        (b"3,-1", [Some(3), None]),
        (b"18446744073709551616,\xff", [None, None]),
    ] {
        assert_eq!([Side::Request, Side::Response].map(|side| messages(text, side)), expected, "{text:?}");
    }
}

#[test]
fn observations_add_up_by_series_and_are_flushed_once() {
    let mut fold = fold(10);
    observe(&mut fold, b"a", 200, 5);
    observe(&mut fold, b"a", 200, 7);
    observe(&mut fold, b"b", 200, 1);
    assert_eq!(fold.observations(), 3);
    assert_eq!(flushed(&mut fold), expected(&[("a", 2, 12), ("b", 1, 1)]));
    assert_eq!((flushed(&mut fold), fold.observations()), (expected(&[]), 0));
}

#[test]
fn past_the_limit_everything_counts_in_the_overflow_series() {
    let mut fold = fold(2);
    for route in 0..5 {
        observe(&mut fold, format!("{route}").as_bytes(), 200, 1);
    }
    observe(&mut fold, b"0", 200, 1);
    assert_eq!(flushed(&mut fold), expected(&[("0", 2, 2), ("1", 1, 1), ("overflow", 3, 3)]));
}

#[test]
fn a_million_distinct_values_take_bounded_memory_and_all_count() {
    for (limit, values, slots, overflow) in
        [("", 1_000_000, 2_001, 998_000), (r#", "max_values": 100"#, 100_000, 101, 99_900)]
    {
        let json = format!(
            r#"{{"preset": "none", "counters": [], "metrics": [{{"name": "requests", "kind": "counter"}}],
                "dimensions": [{{"name": "user", "request_header": "x-user" {limit}}}]}}"#
        );
        let group = WorkerConfig::parse(json.as_bytes()).unwrap().plan.main;
        let mut fold = Fold::new(group, 2_000, Seeded::default());
        for number in 0..values {
            let (user, mut observation) = (u32::to_be_bytes(number), Observation::default());
            observation.values_mut()[0] = Some(&user);
            record(&mut fold, &observation);
        }
        assert_eq!((fold.slots.len(), fold.index.len()), (slots, slots), "{limit}");
        let mut counts = Vec::new();
        fold.drain(|_, observations, points, _| {
            assert_eq!(points, [Point::Counter(observations)]);
            counts.push(observations);
        });
        assert_eq!(
            (counts.iter().sum(), counts.iter().max()),
            (u64::from(values), Some(&overflow)),
            "{limit}"
        );
    }
}

#[test]
fn values_that_clients_invent_leave_room_for_what_the_server_chooses() {
    let tenant = group(r#", "dimensions": [{"name": "tenant", "request_header": "x-tenant"}]"#);
    let mut fold = Fold::new(tenant, 8, Seeded::default());
    let observe = |fold: &mut Fold<Seeded>, route: &[u8], code: i64, tenant: &[u8]| {
        let (code, duration) = (code.to_le_bytes(), 1_i64.to_le_bytes());
        let mut observation = Observation::default();
        let values = [b"GET", &code[..], route, b"http", tenant, &duration];
        observation.values_mut().iter_mut().zip(values).for_each(|(place, value)| *place = Some(value));
        record(fold, &observation);
    };
    observe(&mut fold, b"a", 200, b"known");
    for tenant in 0..100_u8 {
        observe(&mut fold, b"flooded", 200, &[tenant]);
    }
    assert_eq!(fold.slots.len(), 9, "eight with a tenant, and one for all others");
    observe(&mut fold, b"a", 500, b"known");
    observe(&mut fold, b"a", 200, b"known");
    observe(&mut fold, b"b", 200, b"known");
    let counts = flushed(&mut fold);
    assert_eq!(counts, expected(&[("a", 3, 3), ("flooded", 100, 100), ("overflow", 1, 1)]));
}

#[test]
fn a_full_fold_removes_series_without_an_observation_since_the_last_flush() {
    let mut fold = fold(2);
    observe(&mut fold, b"a", 200, 1);
    observe(&mut fold, b"b", 200, 1);
    flushed(&mut fold);
    observe(&mut fold, b"a", 200, 1);
    flushed(&mut fold);
    observe(&mut fold, b"a", 200, 1);
    observe(&mut fold, b"c", 200, 1);
    assert_eq!(flushed(&mut fold), expected(&[("a", 1, 1), ("c", 1, 1)]), "b is replaced, a stays");
}

#[test]
fn an_exponential_histogram_is_folded_in_the_metrics_unit_and_reset() {
    let group = group(r#", "histogram": {"kind": "exponential"}"#);
    let mut fold = Fold::new(group, 10, Seeded::default());
    let mut expected = ExponentialHistogram::new(160);
    for duration_ns in [0, 5_000_000, 2_000_000_000] {
        observe(&mut fold, b"a", 200, duration_ns);
        expected.record(duration_ns.cast_unsigned(), 1_000_000_000);
    }
    fold.drain(|_, _, points, _| assert_eq!(points, [Point::Exponential(expected.clone().into())]));
    observe(&mut fold, b"a", 200, 1);
    fold.drain(|_, _, points, _| {
        let [Point::Exponential(histogram)] = points else { panic!("one histogram") };
        assert_eq!((histogram.count(), histogram.scale()), (1, 20));
    });
}

#[test]
fn an_idle_series_is_removed() {
    let mut fold = fold(10);
    observe(&mut fold, b"a", 200, 1);
    for _ in 0..=IDLE_FLUSHES_MAX {
        flushed(&mut fold);
    }
    assert!(fold.slots.is_empty() && fold.index.is_empty());
    observe(&mut fold, b"a", 200, 1);
    assert_eq!(flushed(&mut fold), expected(&[("a", 1, 1)]));
}

#[test]
fn an_observation_counts_even_if_its_values_are_absent_or_negative() {
    let mut fold = fold(10);
    record(&mut fold, &Observation::default());
    observe(&mut fold, b"", 0, -5);
    assert_eq!(flushed(&mut fold), expected(&[("", 2, 0)]));
}

#[test]
fn a_dimension_past_its_limit_becomes_other_and_the_rest_stays() {
    let limited =
        group(r#", "dimensions": [{"name": "http.route", "attribute": "xds.route_name", "max_values": 2}]"#);
    let mut fold = Fold::new(limited, 10, Seeded::default());
    // The dimension was replaced, so it is read just before the duration.
    let mut observe = |route: &[u8], method: &'static [u8]| {
        let (code, duration) = (200_i64.to_le_bytes(), 1_i64.to_le_bytes());
        let mut observation = Observation::default();
        let values = [method, &code, b"http", route, &duration];
        observation.values_mut().iter_mut().zip(values).for_each(|(place, value)| *place = Some(value));
        record(&mut fold, &observation);
    };
    for route in [&b"a"[..], b"b", b"c", b"d", b"a"] {
        observe(route, b"GET");
        observe(route, b"PUT");
    }
    assert_eq!(flushed(&mut fold), expected(&[("a", 4, 4), ("b", 2, 2), ("_OTHER", 4, 4)]));
    assert_eq!(fold.slots.len(), 6, "each method has its own series");
    for _ in 0..=IDLE_FLUSHES_MAX {
        flushed(&mut fold);
    }
    let mut observation = Observation::default();
    observation.values_mut()[3] = Some(b"z");
    record(&mut fold, &observation);
    assert_eq!(flushed(&mut fold).keys().collect::<Vec<_>>(), ["z"], "removed series free their values");
}

#[test]
fn a_counter_adds_the_change_and_a_histogram_records_the_total_at_the_end() {
    let json = br#"{"preset": "none", "streams": "tcp", "counters": [], "metrics": [
        {"name": "bytes", "kind": "counter", "value": "request.size"},
        {"name": "size", "kind": "histogram", "value": "request.size", "bounds": [10]},
        {"name": "closed", "kind": "counter"}]}"#;
    let mut fold = Fold::new(WorkerConfig::parse(json).unwrap().plan.main, 10, Seeded::default());
    let mut counted = [0; 3];
    let mut seen = Vec::new();
    for (phase, size) in [(Phase::First, 5_i64), (Phase::Next, 5), (Phase::Last, 30)] {
        let size = size.to_le_bytes();
        let mut observation = Observation::default();
        observation.values_mut()[0] = Some(&size);
        fold.record(&observation, Progress { phase, now_unix_nano: 0, counted: &mut counted });
        fold.drain(|_, observations, points, _| {
            let [Point::Counter(bytes), Point::Histogram(sizes), Point::Counter(closed)] = points else {
                panic!("{points:?}")
            };
            seen.push((observations, *bytes, sizes.sum(), *closed));
        });
    }
    assert_eq!(seen, [(0, 5, 0, 0), (0, 0, 0, 0), (1, 25, 30, 1)]);
}

#[test]
fn the_slowest_observation_of_a_series_keeps_its_trace_until_the_flush() {
    let mut fold = Fold::new(group(r#", "exemplars": true"#), 10, Seeded::default());
    let observe = |fold: &mut Fold<Seeded>, duration: i64, span: &str| {
        let (code, duration) = (200_i64.to_le_bytes(), duration.to_le_bytes());
        let header = format!("00-{}-{}-01", "1".repeat(32), span.repeat(16));
        let mut observation = Observation::default();
        let values = [b"GET", &code[..], b"a", b"http", &duration, header.as_bytes()];
        observation.values_mut().iter_mut().zip(values).for_each(|(place, value)| *place = Some(value));
        fold.record(&observation, Progress::whole(5));
    };
    let kept = |fold: &mut Fold<Seeded>| {
        let mut kept = Vec::new();
        fold.drain(|_, _, _, exemplars| {
            kept.extend(
                exemplars.iter().map(|(at, exemplar)| (*at, exemplar.value(), exemplar.span_id()[0])),
            );
        });
        kept
    };
    for (duration, span) in [(5, "a"), (9, "b"), (7, "c")] {
        observe(&mut fold, duration, span);
    }
    assert_eq!(kept(&mut fold), [(0, 9, 0xbb)]);
    observe(&mut fold, 1, "d");
    assert_eq!(kept(&mut fold), [(0, 1, 0xdd)]);
    observe(&mut fold, 1, "0");
    assert_eq!(kept(&mut fold), [], "an invalid span");
}

#[test]
fn values_of_another_type_are_counted() {
    let mut fold = fold(10);
    let mut observation = Observation::default();
    observation.values_mut()[1] = Some(b"text");
    observation.values_mut()[4] = Some(b"text");
    record(&mut fold, &observation);
    // The status has two dimensions; the duration is recorded as 0.
    assert_eq!((fold.take_mistyped(), fold.take_mistyped()), (2, 0));
    assert_eq!(flushed(&mut fold), expected(&[("", 1, 0)]));
}

proptest! {
    #[test]
    fn every_observation_is_flushed(
        seen in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..6), 0i64..3, 0i64..1000, any::<bool>()), 0..300),
        series_max in 1usize..20,
    ) {
        let mut fold = fold(series_max);
        let (mut count, mut sum) = (0, 0);
        let mut add = |fold: &mut Fold<Seeded>| {
            flushed(fold).values().for_each(|(c, s)| { count += c; sum += s });
        };
        for (route, code, duration, flush) in &seen {
            observe(&mut fold, route, *code, *duration);
            if *flush {
                add(&mut fold);
            }
            prop_assert!(fold.slots.len() <= attributes::with_reserve(series_max));
        }
        add(&mut fold);
        prop_assert_eq!(count, seen.len() as u64);
        prop_assert_eq!(sum, seen.iter().map(|(_, _, duration, _)| u128::try_from(*duration).unwrap()).sum::<u128>());
    }
}
