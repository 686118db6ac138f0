//! A histogram with explicit bounds over integers: exact sums, so that merging is associative and commutative to the unit.

use crate::generated::batch;

/// Counts per bucket, sum and extremes of the recorded values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    sum: u128,
    min: u64,
    max: u64,
    buckets: Box<[u64]>,
}

impl Histogram {
    /// An empty histogram of `bounds` bounds, which make one bucket more.
    pub fn new(bounds: usize) -> Self {
        Self { sum: 0, min: u64::MAX, max: 0, buckets: vec![0; bounds.saturating_add(1)].into_boxed_slice() }
    }

    /// Counts `value` in the bucket whose upper bound is the first that is not below it: buckets are (lower, upper], as in
    /// the OpenTelemetry data model.
    pub fn record(&mut self, value: u64, bounds: &[u64]) {
        let bucket = bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.buckets.get_mut(bucket) {
            *count = count.saturating_add(1);
            self.sum = self.sum.saturating_add(u128::from(value));
            self.min = self.min.min(value);
            self.max = self.max.max(value);
        }
    }

    /// Adds what `other` counted; false, with nothing changed, if it has another number of buckets.
    pub fn merge(&mut self, other: &Histogram) -> bool {
        if self.buckets.len() != other.buckets.len() {
            return false;
        }
        for (count, more) in self.buckets.iter_mut().zip(&other.buckets) {
            *count = count.saturating_add(*more);
        }
        self.sum = self.sum.saturating_add(other.sum);
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        true
    }

    /// Forgets everything recorded.
    pub fn clear(&mut self) {
        self.buckets.fill(0);
        (self.sum, self.min, self.max) = (0, u64::MAX, 0);
    }

    /// How many values were recorded.
    pub fn count(&self) -> u64 {
        self.buckets.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The sum of the values.
    pub fn sum(&self) -> u128 {
        self.sum
    }

    /// The least value, if there was one and it is known.
    pub fn min(&self) -> Option<u64> {
        (self.min <= self.max).then_some(self.min)
    }

    /// The greatest value, if there was one and it is known.
    pub fn max(&self) -> Option<u64> {
        (self.min <= self.max).then_some(self.max)
    }

    /// What was recorded since this histogram was `base`, without the extremes, which cannot be told.
    #[must_use]
    pub fn since(&self, base: &Histogram) -> Histogram {
        let then = base.buckets.iter().copied().chain(std::iter::repeat(0));
        let buckets = self.buckets.iter().zip(then).map(|(now, then)| now.saturating_sub(then)).collect();
        Histogram { sum: self.sum.saturating_sub(base.sum), min: u64::MAX, max: 0, buckets }
    }

    /// The count of each bucket.
    pub fn buckets(&self) -> &[u64] {
        &self.buckets
    }

    /// As it travels in a batch.
    pub fn to_wire(&self) -> batch::Histogram {
        // The two halves of the sum: masked and shifted, so neither conversion can fail.
        let low = u64::try_from(self.sum & u128::from(u64::MAX)).unwrap_or(u64::MAX);
        let high = u64::try_from(self.sum >> 64).unwrap_or(u64::MAX);
        let min = if self.count() > 0 { self.min } else { 0 };
        batch::Histogram { sum_low: low, sum_high: high, buckets: self.buckets.to_vec(), min, max: self.max }
    }

    /// From a batch; any numbers are taken, as only their sender can tell right from wrong.
    pub fn from_wire(wire: batch::Histogram) -> Self {
        let empty = wire.buckets.iter().all(|count| *count == 0);
        Self {
            sum: u128::from(wire.sum_high) << 64 | u128::from(wire.sum_low),
            min: if empty { u64::MAX } else { wire.min },
            max: if empty { 0 } else { wire.max },
            buckets: wire.buckets.into_boxed_slice(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_on_a_bound_belongs_to_the_bucket_below() {
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
    fn histograms_of_other_bounds_do_not_mix() {
        let mut histogram = Histogram::new(2);
        assert!(!histogram.merge(&Histogram::new(3)));
        assert_eq!(histogram, Histogram::new(2));
    }
}
