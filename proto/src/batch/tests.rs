//! Batches through the queue, and forged ones.

use super::*;

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
                    Point::Exponential(exponential),
                    Point::UpDownCounter(-1),
                ],
                exemplars: vec![(1, exemplar()), (2, exemplar())],
            }],
        }],
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
                b.groups[0].series[0].points[2] = Point::Exponential(wide);
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
