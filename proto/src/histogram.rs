//! A histogram of integers with explicit bounds. Its sum is exact, so that merging is associative and
//! commutative.

use crate::generated::batch;

/// Counts per bucket, sum and extremes of the recorded values.
///
/// One allocation holds all numbers, because there may be a hundred thousand histograms: first sum and
/// extremes, then the buckets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    cells: Box<[u64]>,
}

/// The low and the high half of the sum, the minimum and the maximum. If there are no values, the minimum is
/// greater than the maximum.
type Head = [u64; 4];

const EMPTY: Head = [0, 0, u64::MAX, 0];

impl Histogram {
    /// Creates an empty histogram with this number of bounds. It has one bucket more than bounds.
    pub fn new(bounds: usize) -> Self {
        Self::of(EMPTY, std::iter::repeat_n(0, bounds.saturating_add(1)))
    }

    fn of(head: Head, buckets: impl ExactSizeIterator<Item = u64>) -> Self {
        let mut cells = Vec::with_capacity(head.len().saturating_add(buckets.len()));
        cells.extend_from_slice(&head);
        cells.extend(buckets);
        Self { cells: cells.into_boxed_slice() }
    }

    fn parts(&self) -> (&Head, &[u64]) {
        self.cells.split_first_chunk().unwrap_or((&EMPTY, &[]))
    }

    /// Records a value in its bucket. Each bucket is an interval (lower, upper], as in the OpenTelemetry data
    /// model.
    #[inline]
    pub fn record(&mut self, value: u64, bounds: &[u64]) {
        let bucket = bounds.partition_point(|bound| *bound < value);
        let Some((head, buckets)) = self.cells.split_first_chunk_mut() else { return };
        if let Some(count) = buckets.get_mut(bucket) {
            *count = count.saturating_add(1);
            add(head, &[value, 0, value, value]);
        }
    }

    /// Adds another histogram. Returns false and changes nothing if the number of buckets differs.
    pub fn merge(&mut self, other: &Histogram) -> bool {
        if self.cells.len() != other.cells.len() {
            return false;
        }
        let (more_head, more_buckets) = other.parts();
        if let Some((head, buckets)) = self.cells.split_first_chunk_mut() {
            add(head, more_head);
            for (count, more) in buckets.iter_mut().zip(more_buckets) {
                *count = count.saturating_add(*more);
            }
        }
        true
    }

    /// Removes all values.
    pub fn clear(&mut self) {
        if let Some((head, buckets)) = self.cells.split_first_chunk_mut() {
            *head = EMPTY;
            buckets.fill(0);
        }
    }

    /// Returns the number of recorded values.
    pub fn count(&self) -> u64 {
        self.buckets().iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Returns the sum of the values.
    pub fn sum(&self) -> u128 {
        sum(self.parts().0)
    }

    /// Returns the smallest value, or `None` if it is unknown.
    pub fn min(&self) -> Option<u64> {
        let [_, _, min, max] = self.parts().0;
        (min <= max).then_some(*min)
    }

    /// Returns the greatest value, or `None` if it is unknown.
    pub fn max(&self) -> Option<u64> {
        let [_, _, min, max] = self.parts().0;
        (min <= max).then_some(*max)
    }

    /// Returns the difference between this histogram and its earlier state `base`. The minimum and the
    /// maximum of the difference are unknown.
    #[must_use]
    pub fn since(&self, base: &Histogram) -> Histogram {
        let then = base.buckets().iter().chain(std::iter::repeat(&0));
        let (low, high) = halves(self.sum().saturating_sub(base.sum()));
        let [_, _, min, max] = EMPTY;
        let mut since = Self::of([low, high, min, max], self.buckets().iter().copied());
        for (count, then) in since.cells.iter_mut().skip(EMPTY.len()).zip(then) {
            *count = count.saturating_sub(*then);
        }
        since
    }

    /// Returns the count of each bucket.
    pub fn buckets(&self) -> &[u64] {
        self.parts().1
    }

    /// Converts the histogram to a message.
    pub fn to_wire(&self) -> batch::Histogram {
        let mut wire = batch::Histogram::default();
        self.write_to(&mut wire);
        wire
    }

    /// Writes the histogram into a message. Reuses its list of buckets.
    pub fn write_to(&self, wire: &mut batch::Histogram) {
        let ([sum_low, sum_high, min, max], buckets) = self.parts();
        wire.buckets.clear();
        wire.buckets.extend_from_slice(buckets);
        (wire.sum_low, wire.sum_high, wire.max) = (*sum_low, *sum_high, *max);
        wire.min = if self.count() > 0 { *min } else { 0 };
    }

    /// Converts a message to a histogram. Its numbers cannot be checked.
    pub fn from_wire(wire: batch::Histogram) -> Self {
        let [_, _, min, max] = EMPTY;
        let empty = wire.buckets.iter().all(|count| *count == 0);
        let (min, max) = if empty { (min, max) } else { (wire.min, wire.max) };
        Self::of([wire.sum_low, wire.sum_high, min, max], wire.buckets.into_iter())
    }
}

fn add(head: &mut Head, more: &Head) {
    let (low, high) = halves(sum(head).saturating_add(sum(more)));
    let ([_, _, min, max], [_, _, other_min, other_max]) = (*head, *more);
    *head = [low, high, min.min(other_min), max.max(other_max)];
}

fn sum([low, high, ..]: &Head) -> u128 {
    u128::from(*high) << 64 | u128::from(*low)
}

/// Splits a sum into its low and its high half. The conversions cannot fail, because the halves are masked
/// and shifted.
pub(crate) fn halves(sum: u128) -> (u64, u64) {
    let low = u64::try_from(sum & u128::from(u64::MAX)).unwrap_or(u64::MAX);
    (low, u64::try_from(sum >> 64).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_on_a_bound_is_in_the_bucket_below() {
        let bounds = [10, 20];
        for (value, bucket) in [(0, 0), (10, 0), (11, 1), (20, 1), (21, 2), (u64::MAX, 2)] {
            let mut histogram = Histogram::new(bounds.len());
            histogram.record(value, &bounds);
            assert_eq!(histogram.buckets().iter().position(|count| *count == 1), Some(bucket), "{value}");
        }
    }

    #[test]
    fn the_sum_does_not_wrap() {
        let mut histogram = Histogram::new(0);
        histogram.record(u64::MAX, &[]);
        histogram.record(u64::MAX, &[]);
        assert_eq!(histogram.sum(), 2 * u128::from(u64::MAX));
        assert_eq!(Histogram::from_wire(histogram.to_wire()), histogram);
    }

    #[test]
    fn an_empty_histogram_has_no_extremes_and_survives_the_wire() {
        let histogram = Histogram::new(2);
        assert_eq!((histogram.count(), histogram.min(), histogram.max()), (0, None, None));
        assert_eq!(Histogram::from_wire(histogram.to_wire()), histogram);
    }

    #[test]
    fn histograms_of_different_bounds_are_not_merged() {
        let mut histogram = Histogram::new(2);
        assert!(!histogram.merge(&Histogram::new(3)));
        assert_eq!(histogram, Histogram::new(2));
    }
}
