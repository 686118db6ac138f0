//! Batches through the queue, and forged ones.

use prost::Message;

use super::*;
use crate::attributes::{self, AttributesError};
use crate::generated::batch as wire;
use crate::limits::{BATCH_BYTES_MAX, COUNTERS_MAX};
use crate::metric::{Kind, MetricError};
use crate::protobuf::write;

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
                attributes: attributes::encode(vec![attributes::text("route", "a")]),
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
fn a_batch_is_what_the_generated_types_read_and_write() {
    let read = wire::Batch::decode(batch().encode().as_slice()).unwrap();
    assert_eq!(
        (read.producer, read.sequence, read.counters.as_slice()),
        (7, 1, &["requests".to_owned()][..])
    );
    let group = &read.groups[0];
    let metrics: Vec<_> = batch().groups[0].metrics.iter().map(Metric::to_wire).collect();
    assert_eq!(group.metrics, metrics);
    let value = |point: usize| group.series[0].points[point].value.clone().unwrap();
    assert_eq!(value(0), wire::point::Value::Counter(1));
    let buckets = vec![0, 1, 0];
    let histogram = wire::Histogram { sum_low: 15, sum_high: 0, buckets, min: 15, max: 15 };
    assert_eq!(value(1), wire::point::Value::Histogram(histogram));
    assert_eq!(value(3), wire::point::Value::UpDownCounter(-1));
    assert_eq!(group.series[0].exemplars, [exemplar().to_wire(1), exemplar().to_wire(2)]);
    assert_eq!(Batch::decode(&read.encode_to_vec()), Ok(batch()));
}

#[test]
fn what_a_later_release_adds_is_passed_over() {
    let mut bytes = batch().encode();
    bytes.extend_from_slice(b"\xa8\x06\x01\xaa\x06\x02hi");
    assert_eq!(Batch::decode(&bytes), Ok(batch()));
}

#[test]
fn a_series_before_its_metrics_is_refused() {
    let group = batch().groups.remove(0);
    let mut bytes = Vec::new();
    super::wire::head(&mut bytes, 7, 1, &[]);
    write::message(&mut bytes, super::wire::BATCH_GROUPS, |out| {
        super::wire::series(out, &group.series[0].attributes, 1, &[], &[]);
        super::wire::metrics(out, &group.metrics);
    });
    assert_eq!(Batch::decode(&bytes), Err(BatchError::Points));
}

#[test]
fn extremes_that_are_not_known_stay_so() {
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
        assert_eq!(Batch::decode(&batch.encode()), Ok(batch.clone()));
    }
}

#[test]
fn a_batch_survives_the_queue() {
    assert_eq!(Batch::decode(&batch().encode()), Ok(batch()));
    assert_eq!(batch().observations(), 1);
}

#[test]
fn a_batch_is_never_empty_bytes() {
    let least = Batch { producer: 0, sequence: 1, counters: vec![], groups: vec![] };
    assert!(!least.encode().is_empty(), "a queue cannot carry an empty item apart from having none");
}

#[test]
fn an_exemplar_without_an_id_is_refused() {
    for forge in
        [(|wire| (wire.trace_id_high, wire.trace_id_low) = (0, 0)) as fn(&mut wire::Exemplar), |wire| {
            wire.span_id = 0
        }]
    {
        let mut forged = wire::Batch::decode(batch().encode().as_slice()).unwrap();
        forge(&mut forged.groups[0].series[0].exemplars[0]);
        assert_eq!(Batch::decode(&forged.encode_to_vec()), Err(BatchError::Exemplars));
    }
}

#[test]
fn a_forged_batch_is_refused_whole() {
    let forged = |change: fn(&mut Batch)| {
        let mut batch = batch();
        change(&mut batch);
        Batch::decode(&batch.encode())
    };
    for (result, expected) in [
        (forged(|b| b.sequence = 0), BatchError::NoSequence),
        (forged(|b| b.counters = vec![String::new()]), BatchError::TooMany),
        (forged(|b| b.counters = vec!["k".into(); COUNTERS_MAX + 1]), BatchError::TooMany),
        (
            forged(|b| b.groups[0].series[0].attributes = vec![0xff]),
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
        (Batch::decode(b"\xff"), BatchError::Malformed),
        (Batch::decode(&vec![0; BATCH_BYTES_MAX + 1]), BatchError::TooLong),
    ] {
        assert_eq!(result, Err(expected));
    }
}
