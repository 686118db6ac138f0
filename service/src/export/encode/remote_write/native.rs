//! Native histograms: exponential histograms at a scale that Prometheus supports, in spans of buckets.

use tributary_proto::exponential::ExponentialHistogram;
use tributary_proto::metric::Metric;
use tributary_proto::remote_write::{
    self as wire, BucketSpan, STALE_BITS,
    histogram::{Count, ZeroCount},
};

/// The finest and the coarsest scale of a native histogram.
const SCHEMA_MAX: i32 = 8;
const SCHEMA_MIN: i32 = -4;

/// The default width of the zero bucket (OpenTelemetry specification,
/// `compatibility/prometheus_and_openmetrics.md`). No value except 0 is that small.
const ZERO_THRESHOLD: f64 = 1e-128;

/// The maximum number of empty buckets in a row that are written. More empty buckets are skipped with a new
/// span, which needs about as many bytes.
const GAP_MAX: usize = 2;

/// Returns a native histogram; `None` if its scale is coarser than every schema.
pub(super) fn histogram(
    histogram: &ExponentialHistogram,
    metric: &Metric,
    timestamp: i64,
) -> Option<wire::Histogram> {
    let rescaled = (histogram.scale() > SCHEMA_MAX).then(|| histogram.clone().at_scale(SCHEMA_MAX));
    let histogram = rescaled.as_ref().unwrap_or(histogram);
    if histogram.scale() < SCHEMA_MIN {
        return None;
    }
    let (positive_spans, positive_deltas) = spans(histogram);
    Some(wire::Histogram {
        count: Some(Count::CountInt(histogram.count())),
        sum: metric.in_unit(histogram.sum()),
        schema: histogram.scale(),
        zero_threshold: Some(ZERO_THRESHOLD),
        zero_count: Some(ZeroCount::ZeroCountInt(histogram.zero_count())),
        positive_spans,
        positive_deltas,
        timestamp,
    })
}

/// Returns the staleness marker of a native histogram: Prometheus recognizes it by the sum.
pub(super) fn stale(timestamp: i64) -> wire::Histogram {
    wire::Histogram {
        count: Some(Count::CountInt(STALE_BITS)),
        sum: f64::from_bits(STALE_BITS),
        zero_threshold: Some(0.0),
        timestamp,
        ..wire::Histogram::default()
    }
}

fn spans(histogram: &ExponentialHistogram) -> (Vec<BucketSpan>, Vec<i64>) {
    let (mut spans, mut deltas): (Vec<BucketSpan>, Vec<i64>) = (Vec::new(), Vec::new());
    // OpenTelemetry derives the index of a bucket from its lower bound, Prometheus from its upper bound.
    let mut offset = histogram.offset().saturating_add(1);
    let mut before: i64 = 0;
    let mut buckets = histogram.buckets();
    while !buckets.is_empty() {
        let zeros = run(buckets, |count| count == 0);
        if zeros > 0 && (zeros > GAP_MAX || spans.is_empty()) {
            offset = offset.saturating_add(i32::try_from(zeros).unwrap_or(i32::MAX));
            buckets = buckets.get(zeros..).unwrap_or_default();
            continue;
        }
        let counted = run(buckets.get(zeros..).unwrap_or_default(), |count| count > 0);
        let length = zeros.saturating_add(counted);
        for count in buckets.iter().take(length) {
            let count = i64::try_from(*count).unwrap_or(i64::MAX);
            deltas.push(count.saturating_sub(before));
            before = count;
        }
        buckets = buckets.get(length..).unwrap_or_default();
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        match spans.last_mut() {
            Some(last) if offset == 0 => last.length = last.length.saturating_add(length),
            _ => spans.push(BucketSpan { offset, length }),
        }
        offset = 0;
    }
    (spans, deltas)
}

/// Returns the number of buckets at the start for which `is_part` is true.
fn run(buckets: &[u64], is_part: impl Fn(u64) -> bool) -> usize {
    buckets.iter().take_while(|count| is_part(**count)).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tributary_proto::metric::Kind;

    use super::*;

    fn metric() -> Metric {
        let kind = Kind::Exponential { max_size: 160 };
        Metric { name: "m".into(), unit: "s".into(), description: String::new(), divisor: 1, kind }
    }

    fn folded(values: &[u64], max_size: usize) -> ExponentialHistogram {
        let mut histogram = ExponentialHistogram::new(max_size);
        values.iter().for_each(|value| histogram.record(*value, 1));
        histogram
    }

    /// Returns (index, count) of each bucket that is not empty, as Prometheus reads them.
    fn read(native: &wire::Histogram) -> Vec<(i32, i64)> {
        let (mut at, mut count, mut deltas) = (0, 0, native.positive_deltas.iter());
        let mut buckets = Vec::new();
        for span in &native.positive_spans {
            at += span.offset;
            for _ in 0..span.length {
                count += deltas.next().unwrap();
                buckets.push((at, count));
                at += 1;
            }
        }
        assert_eq!(deltas.next(), None, "spans and deltas have the same length");
        buckets.retain(|(_, count)| *count != 0);
        buckets
    }

    #[test]
    fn powers_of_two_are_in_prometheus_buckets() {
        // In schema 0, bucket 0 is (0.5, 1], bucket 1 is (1, 2] and bucket 4 is (8, 16].
        let native = histogram(&folded(&[0, 1, 2, 2, 16, 1 << 40], 64).at_scale(0), &metric(), 7).unwrap();
        assert_eq!(read(&native), [(0, 1), (1, 2), (4, 1), (40, 1)]);
        let spans: Vec<_> = native.positive_spans.iter().map(|span| (span.offset, span.length)).collect();
        assert_eq!(spans, [(0, 5), (35, 1)], "a small gap is written, a wide one is not");
        assert_eq!(
            (native.count, native.zero_count),
            (Some(Count::CountInt(6)), Some(ZeroCount::ZeroCountInt(1)))
        );
        assert_eq!((native.schema, native.timestamp), (0, 7));
    }

    #[test]
    fn too_fine_scales_become_coarser_and_too_coarse_ones_are_left_out() {
        assert_eq!(histogram(&folded(&[3], 160), &metric(), 0).unwrap().schema, 8);
        assert_eq!(histogram(&folded(&[1, u64::MAX], 160), &metric(), 0).unwrap().schema, 1);
        assert_eq!(histogram(&folded(&[1, u64::MAX], 2), &metric(), 0), None);
    }

    #[test]
    fn a_histogram_of_zeros_has_no_spans() {
        let native = histogram(&folded(&[0], 160), &metric(), 0).unwrap();
        assert!(native.positive_spans.is_empty() && native.positive_deltas.is_empty());
    }

    proptest! {
        #[test]
        fn spans_have_every_bucket(values in prop::collection::vec((any::<u64>(), 0u32..64), 0..60), max_size in 20usize..160) {
            let values: Vec<u64> = values.into_iter().map(|(value, shift)| value >> shift).collect();
            let folded = folded(&values, max_size).at_scale(8);
            let native = histogram(&folded, &metric(), 0).unwrap();
            let expected: Vec<(i32, i64)> = (folded.offset() + 1..)
                .zip(folded.buckets().iter().map(|count| i64::try_from(*count).unwrap()))
                .filter(|(_, count)| *count != 0)
                .collect();
            prop_assert_eq!(read(&native), expected);
        }
    }
}
