//! Properties that hold for any input: merging in any order, and decoding any bytes.

use proptest::prelude::*;

use crate::batch::Batch;
use crate::histogram::Histogram;
use crate::{attributes, config, duration};

const BOUNDS: [u64; 4] = [1, 10, 100, u64::MAX / 2];

fn folded(values: &[u64]) -> Histogram {
    let mut histogram = Histogram::new(BOUNDS.len());
    values.iter().for_each(|value| histogram.record(*value, &BOUNDS));
    histogram
}

proptest! {
    #[test]
    fn any_split_over_any_workers_in_any_order_equals_one_fold(
        shuffled in prop::collection::vec((any::<u64>(), 0usize..5), 0..200).prop_shuffle(),
    ) {
        let values: Vec<u64> = shuffled.iter().map(|(value, _)| *value).collect();
        let mut merged = Histogram::new(BOUNDS.len());
        for worker in 0..5 {
            let seen: Vec<u64> = shuffled.iter().filter(|(_, at)| *at == worker).map(|(value, _)| *value).collect();
            prop_assert!(merged.merge(&Histogram::from_wire(folded(&seen).to_wire())));
        }
        prop_assert_eq!(merged, folded(&values));
    }

    #[test]
    fn merging_is_associative_and_commutative(
        a in prop::collection::vec(any::<u64>(), 0..20),
        b in prop::collection::vec(any::<u64>(), 0..20),
        c in prop::collection::vec(any::<u64>(), 0..20),
    ) {
        let merge = |mut left: Histogram, right: &Histogram| { left.merge(right); left };
        let (a, b, c) = (folded(&a), folded(&b), folded(&c));
        prop_assert_eq!(merge(merge(a.clone(), &b), &c), merge(a.clone(), &merge(b.clone(), &c)));
        prop_assert_eq!(merge(a.clone(), &b), merge(b.clone(), &a));
    }

    #[test]
    fn the_count_is_the_sum_of_the_buckets(values in prop::collection::vec(any::<u64>(), 0..50)) {
        let histogram = folded(&values);
        prop_assert_eq!(histogram.count(), values.len() as u64);
        prop_assert_eq!(histogram.min(), values.iter().copied().min());
        prop_assert_eq!(histogram.max(), values.iter().copied().max());
    }

    #[test]
    fn no_item_of_the_queue_panics(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        if let Ok(batch) = Batch::decode(bytes) {
            prop_assert_eq!(Batch::decode(batch.encode()), Ok(batch));
        }
    }

    #[test]
    fn no_attributes_panic(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
        if let Ok(decoded) = attributes::decode(&bytes) {
            prop_assert_eq!(attributes::decode(&attributes::encode(decoded.clone())), Ok(decoded));
        }
    }

    #[test]
    fn no_configuration_panics(text in "\\PC{0,200}", bytes in prop::collection::vec(any::<u8>(), 0..500)) {
        let _ = config::read(text.as_bytes(), |section| section.texts("a", 9, 9));
        let _ = config::read(&bytes, |section| section.texts("a", 9, 9));
        let _ = duration::parse(&text);
    }
}
