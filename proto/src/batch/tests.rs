//! Batches through the queue, valid and forged.

use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::attributes;
use crate::generated::batch as wire;
use crate::limits::{BATCH_BYTES_MAX, COUNTERS_MAX};
use crate::metric::Kind;

fn exemplar() -> Exemplar {
    Exemplar::new(15, 1_700_000_000_000_000_000, [1; 16], [2; 8]).unwrap()
}

fn batch() -> Batch {
    let bounds: Box<[u64]> = [10, 20].into();
    let mut histogram = Histogram::new(bounds.len());
    histogram.record(15, &bounds);
    let mut exponential = ExponentialHistogram::new(8);
    exponential.record(15, 1);
    let metric = |name: &str, kind| Metric {
        name: name.into(),
        unit: "s".into(),
        description: String::new(),
        divisor: 1,
        kind,
    };
    Batch {
        observed_before: 5,
        producer: 7,
        sequence: 1,
        counters: vec!["requests".into()],
        groups: vec![Group {
            metrics: vec![
                metric("count", Kind::Counter),
                metric("duration", Kind::Histogram { bounds }),
                metric("size", Kind::Exponential { max_size: 8 }),
                metric("active", Kind::UpDownCounter),
            ],
            series: vec![Series {
                attributes: attributes::encode(vec![attributes::text("route", "a")]).into(),
                observations: 1,
                points: vec![
                    Point::Counter(1),
                    Point::Histogram(histogram),
                    Point::Exponential(exponential.into()),
                    Point::UpDownCounter(-1),
                ],
                exemplars: vec![(1, exemplar()), (2, exemplar())],
            }],
        }],
    }
}

#[test]
fn fields_that_a_later_release_adds_are_ignored() {
    let unknown = b"\xa8\x06\x01\xaa\x06\x02hi\xad\x06\0\0\0\0\xb3\x06\xb4\x06";
    let mut bytes = batch().encode();
    bytes.extend_from_slice(unknown);
    assert_eq!(Batch::decode(bytes), Ok(batch()));
    let mut group =
        wire::Batch::decode(batch().encode().as_slice()).unwrap().groups.remove(0).encode_to_vec();
    group.extend_from_slice(unknown);
    let mut bytes = Batch { groups: vec![], ..batch() }.encode();
    prost::encoding::bytes::encode(3, &group, &mut bytes);
    assert_eq!(Batch::decode(bytes), Ok(batch()));
}

#[test]
fn unknown_extremes_stay_unknown() {
    let mut histogram = Histogram::new(1);
    histogram.record(3, &[10]);
    let mut exponential = ExponentialHistogram::new(8);
    exponential.record(3, 1);
    let (nothing, none) = (Histogram::new(1), ExponentialHistogram::new(8));
    let mut batch = batch();
    let group = &mut batch.groups[0];
    group.metrics = vec![
        Metric { kind: Kind::Histogram { bounds: [10].into() }, ..group.metrics[0].clone() },
        Metric { kind: Kind::Exponential { max_size: 8 }, ..group.metrics[0].clone() },
    ];
    for points in [
        [Point::Histogram(histogram.since(&nothing)), Point::Exponential(exponential.since(&none).into())],
        [Point::Histogram(nothing), Point::Exponential(none.into())],
    ] {
        batch.groups[0].series[0].points = points.into();
        batch.groups[0].series[0].exemplars.clear();
        assert_eq!(Batch::decode(batch.encode()), Ok(batch.clone()));
    }
}

#[test]
fn a_batch_survives_the_queue() {
    assert_eq!(Batch::decode(batch().encode()), Ok(batch()));
    assert_eq!(batch().observations(), 1);
}

#[test]
fn an_encoded_batch_is_never_empty() {
    let least = Batch { producer: 0, sequence: 1, observed_before: 0, counters: vec![], groups: vec![] };
    assert!(!least.encode().is_empty(), "an empty item would look like an empty queue");
}

#[test]
fn an_exemplar_without_an_id_is_rejected() {
    for forge in
        [(|wire| (wire.trace_id_high, wire.trace_id_low) = (0, 0)) as fn(&mut wire::Exemplar), |wire| {
            wire.span_id = 0
        }]
    {
        let mut forged = wire::Batch::decode(batch().encode().as_slice()).unwrap();
        forge(&mut forged.groups[0].series[0].exemplars[0]);
        assert_eq!(Batch::decode(forged.encode_to_vec()), Err(BatchError::Exemplars));
    }
}

#[test]
fn a_forged_batch_is_rejected() {
    let forged = |change: fn(&mut Batch)| {
        let mut batch = batch();
        change(&mut batch);
        Batch::decode(batch.encode())
    };
    for (result, expected) in [
        (forged(|b| b.sequence = 0), BatchError::NoSequence),
        (forged(|b| b.counters = vec![String::new()]), BatchError::CounterKey),
        (forged(|b| b.counters = vec!["k".into(); COUNTERS_MAX + 1]), BatchError::TooMany),
        (
            forged(|b| b.groups[0].series[0].attributes = vec![0xff].into()),
            BatchError::Attributes(AttributesError::Malformed),
        ),
        (forged(|b| b.groups[0].series[0].points.truncate(1)), BatchError::Points),
        (forged(|b| b.groups[0].series[0].points.swap(0, 3)), BatchError::Points),
        (forged(|b| b.groups[0].series[0].exemplars[0].0 = 0), BatchError::Exemplars),
        (forged(|b| b.groups[0].series[0].exemplars[0].0 = 2), BatchError::Exemplars),
        (forged(|b| b.groups[0].series[0].exemplars[1].0 = 3), BatchError::Exemplars),
        (forged(|b| b.groups[0].series[0].exemplars[1].0 = 4), BatchError::Exemplars),
        (forged(|b| b.groups[0].series[0].exemplars.swap(0, 1)), BatchError::Exemplars),
        (forged(|b| b.groups[0].series[0].points.swap(0, 1)), BatchError::Points),
        (
            forged(|b| b.groups[0].series[0].points[1] = Point::Histogram(Histogram::new(9))),
            BatchError::Points,
        ),
        (
            forged(|b| {
                let mut wide = ExponentialHistogram::new(9);
                [1, u64::MAX].iter().for_each(|value| wide.record(*value, 1));
                b.groups[0].series[0].points[2] = Point::Exponential(wide.into());
                b.groups[0].metrics[2].kind = Kind::Exponential { max_size: 2 };
            }),
            BatchError::Points,
        ),
        (forged(|b| b.groups[0].series[0].points.swap(1, 2)), BatchError::Points),
        (forged(|b| b.groups[0].metrics[0].divisor = 0), BatchError::Metric(MetricError::Divisor)),
        (Batch::decode(b"\xff".to_vec()), BatchError::Malformed),
        // Nested groups of an unknown field: prost stops at a depth of 100.
        (Batch::decode(b"\xa3\x06".repeat(100_000)), BatchError::Malformed),
        // A length greater than the item, and a length greater than any memory.
        (Batch::decode(b"\x1a\x05abc".to_vec()), BatchError::Malformed),
        (Batch::decode(b"\x1a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01".to_vec()), BatchError::Malformed),
        (Batch::decode(vec![0; BATCH_BYTES_MAX + 1]), BatchError::TooLong),
    ] {
        assert_eq!(result, Err(expected));
    }
}

fn any_kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Counter),
        Just(Kind::UpDownCounter),
        prop::collection::btree_set(any::<u64>(), 0..5)
            .prop_map(|bounds| Kind::Histogram { bounds: bounds.into_iter().collect() }),
        (2usize..20).prop_map(|max_size| Kind::Exponential { max_size }),
    ]
}

fn point(kind: &Kind, values: &[u64]) -> Point {
    let mut point = Point::empty(kind);
    for value in values {
        match (&mut point, kind) {
            (Point::Counter(count), _) => *count = count.saturating_add(*value),
            (Point::UpDownCounter(sum), _) => *sum = sum.wrapping_sub(value.cast_signed()),
            (Point::Histogram(histogram), Kind::Histogram { bounds }) => histogram.record(*value, bounds),
            (Point::Exponential(histogram), _) => histogram.record(*value, 1),
            (point, kind) => panic!("{point:?} of {kind:?}"),
        }
    }
    point
}

fn any_group() -> impl Strategy<Value = Group> {
    let metrics = prop::collection::vec((any_kind(), "[a-z]{1,9}", "\\PC{0,9}", 1..u64::MAX), 0..4);
    let metric = |(kind, name, text, divisor): (_, _, String, _)| Metric {
        unit: text.clone(),
        description: text,
        name,
        divisor,
        kind,
    };
    let values =
        prop::collection::vec((any::<u64>(), 0u32..64).prop_map(|(value, shift)| value >> shift), 0..9);
    let series = ("\\PC{0,30}", any::<u64>(), prop::collection::vec(values, 4), any::<bool>());
    (metrics, prop::collection::vec(series, 0..6)).prop_map(move |(metrics, series)| {
        let metrics: Vec<Metric> = metrics.into_iter().map(metric).collect();
        let series = series.into_iter().map(|(route, observations, values, is_traced)| {
            let points: Vec<Point> =
                metrics.iter().zip(&values).map(|(metric, values)| point(&metric.kind, values)).collect();
            let traced = points.iter().enumerate().filter(|(_, point)| {
                is_traced && matches!(point, Point::Histogram(_) | Point::Exponential(_))
            });
            Series {
                attributes: attributes::encode(vec![attributes::text("route", &route)]).into(),
                observations,
                exemplars: traced.map(|(at, _)| (at, exemplar())).collect(),
                points,
            }
        });
        Group { series: series.collect(), metrics }
    })
}

proptest! {
    #[test]
    fn any_batch_survives_the_queue(
        groups in prop::collection::vec(any_group(), 0..3),
        (producer, sequence, observed_before) in (any::<u64>(), 1..u64::MAX, any::<u64>()),
        counters in prop::collection::vec("[a-z]{1,9}", 0..4),
    ) {
        let batch = Batch { producer, sequence, observed_before, counters, groups };
        prop_assert_eq!(Batch::decode(batch.encode()), Ok(batch));
    }

    #[test]
    fn a_writer_and_encode_write_the_same_batch(group in any_group(), producer: u64) {
        let mut writer = BatchWriter::new(producer, vec!["requests".into()], &group.metrics);
        for Series { attributes, observations, points, exemplars } in &group.series {
            prop_assert_eq!(writer.push(attributes, *observations, points, exemplars), None);
        }
        let (counters, is_empty) = (vec!["requests".into()], group.series.is_empty());
        let batch = Batch { producer, sequence: 1, observed_before: 0, counters, groups: vec![group] };
        prop_assert_eq!(writer.finish().map(Batch::decode), (!is_empty).then_some(Ok(batch)));
    }
}

/// Compares, for each list of a batch, the smallest encoded element with a decoded element, which is larger
/// here than in a Wasm module. The comment of `Batch::decode` has the result.
#[test]
fn decoding_takes_a_bounded_multiple_of_the_item() {
    for (encoded, decoded) in [
        (2, size_of::<wire::Group>()),
        (2, size_of::<wire::Metric>()),
        (2, size_of::<wire::Series>()),
        (2, size_of::<wire::Point>()),
        (2, size_of::<wire::Exemplar>()),
        (2, size_of::<String>()),
        (1, size_of::<u64>()),
    ] {
        assert!(decoded <= 56 * encoded, "{decoded} bytes for {encoded}");
    }
    // As many empty messages as fit into an item. They are rejected because required values are missing.
    let nested = |bytes: Vec<u8>| {
        let mut group = Vec::new();
        prost::encoding::bytes::encode(2, &bytes, &mut group);
        let mut batch = wire::Batch { sequence: 1, ..wire::Batch::default() }.encode_to_vec();
        prost::encoding::bytes::encode(3, &group, &mut batch);
        assert!(batch.len() <= BATCH_BYTES_MAX && batch.len() > BATCH_BYTES_MAX - 100, "{}", batch.len());
        Batch::decode(batch)
    };
    let many = |field: u8| [field << 3 | 2, 0].repeat(BATCH_BYTES_MAX / 2 - 20);
    assert_eq!(nested(many(3)), Err(BatchError::Points));
    assert_eq!(nested(many(4)), Err(BatchError::Exemplars));
    let flat = |field| [vec![2 << 3, 1], many(field)].concat();
    assert_eq!(Batch::decode(flat(3)), Err(BatchError::TooMany));
    assert_eq!(Batch::decode(flat(4)), Err(BatchError::TooMany));
}
