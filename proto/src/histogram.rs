//! A histogram with explicit bounds over integers: exact sums, so that merging is associative and commutative to the unit.

use crate::generated::batch;

/// Counts per bucket, sum and extremes of the recorded values.
///
/// All of it is in one allocation, since there may be a hundred thousand of them: sum and extremes, then the buckets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    cells: Box<[u64]>,
}

/// The two halves of the sum, the lower first, and the extremes. Of no values these are the wrong way round.
type Head = [u64; 4];

const NOTHING: Head = [0, 0, u64::MAX, 0];

impl Histogram {
    /// An empty histogram of `bounds` bounds, which make one bucket more.
    pub fn new(bounds: usize) -> Self {
        Self::of(NOTHING, std::iter::repeat_n(0, bounds.saturating_add(1)))
    }

    fn of(head: Head, buckets: impl ExactSizeIterator<Item = u64>) -> Self {
        let mut cells = Vec::with_capacity(head.len().saturating_add(buckets.len()));
        cells.extend_from_slice(&head);
        cells.extend(buckets);
        Self { cells: cells.into_boxed_slice() }
    }

    fn parts(&self) -> (&Head, &[u64]) {
        self.cells.split_first_chunk().unwrap_or((&NOTHING, &[]))
    }

    /// Counts `value` in the bucket whose upper bound is the first that is not below it: buckets are (lower, upper], as in
    /// the OpenTelemetry data model.
    #[inline]
    pub fn record(&mut self, value: u64, bounds: &[u64]) {
        let bucket = bounds.partition_point(|bound| *bound < value);
        let Some((head, buckets)) = self.cells.split_first_chunk_mut() else { return };
        if let Some(count) = buckets.get_mut(bucket) {
            *count = count.saturating_add(1);
            add(head, &[value, 0, value, value]);
        }
    }

    /// Adds what `other` counted; false, with nothing changed, if it has another number of buckets.
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

    /// Forgets everything recorded.
    pub fn clear(&mut self) {
        if let Some((head, buckets)) = self.cells.split_first_chunk_mut() {
            *head = NOTHING;
            buckets.fill(0);
        }
    }

    /// How many values were recorded.
    pub fn count(&self) -> u64 {
        self.buckets().iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The sum of the values.
    pub fn sum(&self) -> u128 {
        sum(self.parts().0)
    }

    /// The least value, if there was one and it is known.
    pub fn min(&self) -> Option<u64> {
        let [_, _, min, max] = self.parts().0;
        (min <= max).then_some(*min)
    }

    /// The greatest value, if there was one and it is known.
    pub fn max(&self) -> Option<u64> {
        let [_, _, min, max] = self.parts().0;
        (min <= max).then_some(*max)
    }

    /// What was recorded since this histogram was `base`, without the extremes, which cannot be told.
    #[must_use]
    pub fn since(&self, base: &Histogram) -> Histogram {
        let then = base.buckets().iter().chain(std::iter::repeat(&0));
        let (low, high) = halves(self.sum().saturating_sub(base.sum()));
        let [_, _, min, max] = NOTHING;
        let mut since = Self::of([low, high, min, max], self.buckets().iter().copied());
        for (count, then) in since.cells.iter_mut().skip(NOTHING.len()).zip(then) {
            *count = count.saturating_sub(*then);
        }
        since
    }

    /// The count of each bucket.
    pub fn buckets(&self) -> &[u64] {
        self.parts().1
    }

    /// Converts it to a message.
    pub fn to_wire(&self) -> batch::Histogram {
        let mut wire = batch::Histogram::default();
        self.write_to(&mut wire);
        wire
    }

    /// Writes it into a message, whose list of buckets is reused.
    pub fn write_to(&self, wire: &mut batch::Histogram) {
        let ([sum_low, sum_high, min, max], buckets) = self.parts();
        wire.buckets.clear();
        wire.buckets.extend_from_slice(buckets);
        (wire.sum_low, wire.sum_high, wire.max) = (*sum_low, *sum_high, *max);
        wire.min = if self.count() > 0 { *min } else { 0 };
    }

    /// From a batch; any numbers are taken, as only their sender can tell right from wrong.
    pub fn from_wire(wire: batch::Histogram) -> Self {
        let [_, _, min, max] = NOTHING;
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

/// A sum in two halves, the lower first: masked and shifted, so neither conversion can fail.
pub(crate) fn halves(sum: u128) -> (u64, u64) {
    let low = u64::try_from(sum & u128::from(u64::MAX)).unwrap_or(u64::MAX);
    (low, u64::try_from(sum >> 64).unwrap_or(u64::MAX))
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
