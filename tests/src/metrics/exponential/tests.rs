use super::*;

fn histogram(scale: i32, offset: i32, counts: &[u64]) -> ReceivedExponentialHistogram {
    ReceivedExponentialHistogram {
        count: counts.iter().sum(),
        scale,
        positive: ReceivedBuckets { offset, counts: counts.to_vec() },
        ..ReceivedExponentialHistogram::default()
    }
}

#[test]
fn coarser_buckets_hold_what_the_finer_ones_did() {
    let mut fine = histogram(1, -3, &[1, 2, 4, 8, 16]);
    // Indices -3..=1 become -2, -1, -1, 0, 0.
    fine.downscale(0);
    assert_eq!(fine.positive, ReceivedBuckets { offset: -2, counts: vec![1, 6, 24] });
    fine.downscale(5);
    assert_eq!(fine.scale, 0, "buckets cannot become finer");
    fine.downscale(-10);
    assert_eq!(fine.positive, ReceivedBuckets { offset: -1, counts: vec![7, 24] });
}

#[test]
fn a_sum_is_as_fine_as_its_width_allows() {
    let mut sum = histogram(3, 0, &[1, 1]);
    sum.add(&histogram(1, 5, &[2])).unwrap();
    assert_eq!((sum.scale, sum.count), (1, 4));
    assert_eq!(sum.positive, ReceivedBuckets { offset: 0, counts: vec![2, 0, 0, 0, 0, 2] });

    let mut wide = histogram(2, 0, &[1]);
    wide.add(&histogram(2, 160, &[1])).unwrap();
    assert_eq!((wide.scale, wide.positive.counts.len()), (1, 81));
    let mut exactly = histogram(2, 0, &[1]);
    exactly.add(&histogram(2, 159, &[1])).unwrap();
    assert_eq!((exactly.scale, exactly.positive.counts.len()), (2, 160));
}

#[test]
fn inconsistent_histograms_are_rejected() {
    assert!(histogram(0, 1023, &[1]).check().is_ok());
    assert!(histogram(-10, -2, &[1, 1]).check().is_ok());
    assert!(histogram(20, 1 << 29, &[1]).check().is_ok());
    for (wrong, why) in [
        (histogram(0, 1024, &[1]), "no double"),
        (histogram(0, -1080, &[1]), "no double"),
        (histogram(-10, 1, &[1]), "no double"),
        (histogram(20, 1 << 30, &[1]), "no double"),
        (histogram(21, 0, &[1]), "the scale 21"),
        (ReceivedExponentialHistogram { count: 2, ..histogram(0, 0, &[1]) }, "in all buckets"),
        (
            ReceivedExponentialHistogram { min: Some(2.0), max: Some(1.0), ..histogram(0, 0, &[1]) },
            "is above the maximum",
        ),
    ] {
        let error = wrong.check().unwrap_err().to_string();
        assert!(error.contains(why), "{why}: {error}");
    }
}

#[test]
fn fewer_values_in_any_bucket_are_found_across_scales() {
    let then = histogram(1, 0, &[1, 1, 4]);
    assert!(!histogram(0, 0, &[2, 4]).is_below(&then));
    assert!(!histogram(1, -1, &[9, 1, 1, 4, 3]).is_below(&then));
    assert!(histogram(0, 0, &[3, 3]).is_below(&then));
    assert!(histogram(1, 1, &[9, 9]).is_below(&then));
}

#[test]
fn quantiles_lie_between_the_bounds_of_their_bucket() {
    let even = histogram(0, -1, &[5, 5]);
    assert_eq!(even.quantile_bounds(0.5), Some((0.5, 1.0)));
    assert_eq!(even.quantile_bounds(0.9), Some((1.0, 2.0)));
    assert_eq!(histogram(1, 2, &[1]).quantile_bounds(0.5), Some((2.0, 8_f64.sqrt())));
    assert_eq!(histogram(0, 0, &[]).quantile_bounds(0.5), None);
}
