//! Exponential histograms: the bucket of each value, merging in any order, and forged messages.

use proptest::prelude::*;

use super::*;
use crate::generated::batch;
use crate::limits::EXPONENTIAL_SIZE_DEFAULT;

const NANOS: u64 = 1_000_000_000;

fn folded<'a>(
    values: impl IntoIterator<Item = &'a u64>,
    divisor: u64,
    max_size: usize,
) -> ExponentialHistogram {
    let mut histogram = ExponentialHistogram::new(max_size);
    values.into_iter().for_each(|value| histogram.record(*value, divisor));
    histogram
}

fn through_the_wire(histogram: &ExponentialHistogram) -> ExponentialHistogram {
    ExponentialHistogram::from_wire(histogram.to_wire(), histogram.max_size).unwrap()
}

/// The lower bound of a bucket, by the definition in the data model.
fn lower(scale: i32, index: i32) -> f64 {
    (f64::from(index) * f64::from(-scale).exp2()).exp2()
}

#[expect(clippy::cast_precision_loss, reason = "a bucket is known to the precision of a double")]
fn in_unit(value: u64, divisor: u64) -> f64 {
    value as f64 / divisor as f64
}

/// Values of any magnitude. Nearly all evenly distributed values would have the greatest exponents.
fn value() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0u32..64).prop_map(|(value, shift)| value >> shift)
}

#[test]
fn a_power_of_two_is_the_upper_bound_of_its_bucket() {
    for (value, divisor, at_scale_0) in
        [(1, 1, -1), (2, 1, 0), (3, 1, 1), (4, 1, 1), (5, 1, 2), (1 << 63, 1, 62), (u64::MAX, 1, 63)]
            .into_iter()
            .chain([(1, 2, -2), (1, 3, -2), (3, 2, 0), (NANOS, NANOS, -1), (NANOS + 1, NANOS, 0)])
            .chain([(1, u64::MAX, -65), (u64::MAX, u64::MAX, -1)])
    {
        let histogram = folded(&[value], divisor, 160).at_scale(0);
        assert_eq!((histogram.offset(), histogram.buckets()), (at_scale_0, &[1][..]), "{value}/{divisor}");
    }
}

#[test]
fn zeros_have_their_own_count() {
    let histogram = folded(&[0, 0, 3], 1, 160);
    assert_eq!((histogram.zero_count(), histogram.count(), histogram.sum()), (2, 3, 3));
    assert_eq!((histogram.min(), histogram.max(), histogram.buckets()), (Some(0), Some(3), &[1][..]));
}

#[test]
fn the_scale_is_the_largest_at_which_all_values_fit() {
    for (values, max_size, scale) in [
        (&[][..], 160, 20),
        (&[7][..], 160, 20),
        (&[0, 7][..], 160, 20),
        // A power of two has 2^scale buckets.
        (&[1, 2][..], 160, 7),
        (&[1, 2][..], 129, 7),
        (&[1, 2][..], 128, 6),
        (&[1, u64::MAX][..], 160, 1),
        (&[1, u64::MAX][..], 2, -6),
    ] {
        assert_eq!(folded(values, 1, max_size).scale(), scale, "{values:?} in {max_size}");
    }
    assert_eq!(folded(&[1, u64::MAX], u64::MAX, 2).scale(), -6, "2^-64 and 1");
}

#[test]
fn a_cleared_histogram_equals_a_new_one() {
    let mut histogram = folded(&[0, 1, u64::MAX], 1, 160);
    histogram.clear();
    assert_eq!(histogram, ExponentialHistogram::new(160));
    assert_eq!((histogram.count(), histogram.min(), histogram.max()), (0, None, None));
}

#[test]
fn values_in_known_buckets_cost_no_allocation() {
    let mut histogram = folded(&[NANOS / 1_000, NANOS, NANOS * 60], NANOS, 160);
    let before = histogram.buckets.as_ptr();
    (1..60_000).for_each(|ms| histogram.record(ms * 1_000_000, NANOS));
    assert_eq!(histogram.buckets.as_ptr(), before);
    assert_eq!(histogram.count(), 60_002);
}

#[test]
fn an_impossible_message_is_rejected() {
    let good = || folded(&[1, 2, 3], 1, 4).to_wire();
    assert_eq!(ExponentialHistogram::from_wire(good(), 4), Some(folded(&[1, 2, 3], 1, 4)));
    let bucket = |scale, offset| batch::ExponentialHistogram { scale, offset, buckets: vec![1], ..good() };
    for (wire, expected) in [
        (batch::ExponentialHistogram { scale: 21, ..good() }, false),
        (batch::ExponentialHistogram { scale: -11, ..good() }, false),
        (batch::ExponentialHistogram { scale: i32::MIN, ..good() }, false),
        (batch::ExponentialHistogram { buckets: vec![1; 5], ..good() }, false),
        (bucket(20, INDEX_GREATEST), true),
        (bucket(20, INDEX_GREATEST + 1), false),
        (bucket(20, INDEX_LEAST), true),
        (bucket(20, INDEX_LEAST - 1), false),
        (bucket(0, 64), false),
        (bucket(-10, 0), true),
        (bucket(-10, -1), true),
        (bucket(-10, 1), false),
        (batch::ExponentialHistogram { offset: i32::MAX, ..good() }, false),
    ] {
        assert_eq!(ExponentialHistogram::from_wire(wire.clone(), 4).is_some(), expected, "{wire:?}");
    }
}

#[test]
fn empty_buckets_at_the_ends_are_left_out() {
    let wire = batch::ExponentialHistogram {
        scale: 0,
        offset: -2,
        buckets: vec![0, 0, 3, 0, 1, 0],
        min: 1,
        max: 4,
        ..Default::default()
    };
    let read = ExponentialHistogram::from_wire(wire, 6).unwrap();
    assert_eq!((read.offset(), read.buckets()), (0, &[3, 0, 1][..]));
    let nothing =
        batch::ExponentialHistogram { scale: -3, offset: 9, buckets: vec![0; 3], ..Default::default() };
    assert_eq!(ExponentialHistogram::from_wire(nothing, 6), Some(ExponentialHistogram::new(6)));
}

proptest! {
    #[test]
    fn any_split_over_any_workers_in_any_order_equals_one_fold(
        shuffled in prop::collection::vec((value(), 0usize..5), 0..300).prop_shuffle(),
        divisor in prop_oneof![Just(1), Just(NANOS), 1..=u64::MAX],
        max_size in prop_oneof![Just(EXPONENTIAL_SIZE_DEFAULT), 2usize..20],
    ) {
        let mut merged = ExponentialHistogram::new(max_size);
        for worker in 0..5 {
            let seen = shuffled.iter().filter(|(_, at)| *at == worker).map(|(value, _)| value);
            merged.merge(&through_the_wire(&folded(seen, divisor, max_size)));
        }
        prop_assert_eq!(merged, folded(shuffled.iter().map(|(value, _)| value), divisor, max_size));
    }

    #[test]
    fn merging_is_associative_and_commutative(
        a in prop::collection::vec(value(), 0..30),
        b in prop::collection::vec(value(), 0..30),
        c in prop::collection::vec(value(), 0..30),
        sizes in (2usize..12, 2usize..12, 2usize..12),
        scale in SCALE_MIN..=SCALE_MAX,
    ) {
        let merge = |mut left: ExponentialHistogram, right: &ExponentialHistogram| { left.merge(right); left };
        let (a, b, c) = (folded(&a, 1, sizes.0), folded(&b, 1, sizes.1).at_scale(scale), folded(&c, 1, sizes.2));
        prop_assert_eq!(merge(merge(a.clone(), &b), &c), merge(a.clone(), &merge(b.clone(), &c)));
        prop_assert_eq!(merge(a.clone(), &b), merge(b.clone(), &a));
    }

    #[test]
    fn a_value_is_between_the_bounds_of_its_bucket(
        value in value().prop_filter("0 has no bucket", |value| *value > 0),
        divisor in 1..=u64::MAX,
        scale in SCALE_MIN..=SCALE_MAX,
    ) {
        let histogram = folded(&[value], divisor, 2).at_scale(scale);
        let in_unit = in_unit(value, divisor);
        // A double of this size has an error of 1e-16. The error of the bounds computed here is a few times
        // that.
        let (low, high) = (lower(scale, histogram.offset()), lower(scale, histogram.offset() + 1));
        prop_assert!(low < in_unit * (1.0 + 1e-13) && in_unit * (1.0 - 1e-13) <= high, "{} < {} <= {}", low, in_unit, high);
    }

    #[test]
    fn the_buckets_hold_every_value_within_the_size(
        values in prop::collection::vec(value(), 1..200),
        max_size in 2usize..200,
    ) {
        let histogram = folded(&values, NANOS, max_size);
        prop_assert!(histogram.buckets().len() <= max_size);
        prop_assert_eq!(histogram.count(), values.len() as u64);
        prop_assert_eq!(histogram.sum(), values.iter().map(|value| u128::from(*value)).sum::<u128>());
        prop_assert_eq!((histogram.min(), histogram.max()), (values.iter().copied().min(), values.iter().copied().max()));
        // At a finer scale there would be more buckets than `max_size`.
        let (first, last) = (values.iter().filter(|v| **v > 0).min(), values.iter().max().filter(|v| **v > 0));
        if let (Some(first), Some(last)) = (first, last) && histogram.scale() < SCALE_MAX {
            let shift = SCALE_MAX - histogram.scale() - 1;
            prop_assert!(size(index(*first, NANOS) >> shift, index(*last, NANOS) >> shift) > max_size);
        }
    }

    #[test]
    fn no_message_panics(
        scale in -12i32..22,
        offset in prop_oneof![any::<i32>(), -3i32..3, Just(INDEX_LEAST), Just(INDEX_GREATEST - 5)],
        buckets in prop::collection::vec(prop_oneof![Just(0), Just(u64::MAX), 1u64..9], 0..9),
        rest in any::<[u64; 5]>(),
        values in prop::collection::vec(value(), 0..9),
    ) {
        let [sum_low, sum_high, zero_count, min, max] = rest;
        let wire = batch::ExponentialHistogram { sum_low, sum_high, scale, zero_count, offset, buckets, min, max };
        if let Some(read) = ExponentialHistogram::from_wire(wire, 8) {
            prop_assert_eq!(&through_the_wire(&read), &read);
            let mut sum = folded(&values, 1, 8);
            sum.merge(&read);
            let mut other = read.clone();
            other.merge(&folded(&values, 1, 8));
            prop_assert_eq!(&sum, &other);
            prop_assert!(sum.buckets().len() <= 8);
            prop_assert_eq!(sum.count(), read.count().saturating_add(values.len() as u64));
        }
    }
}
