//! A base-2 exponential histogram over integers, in which any values keep a known relative error without bounds being chosen.
//!
//! Bucket `i` of scale `s` counts the values in (2^(i/2^s), 2^((i+1)/2^s)] of the metric's unit, as in the OpenTelemetry
//! data model. The scale is always the largest at which everything recorded fits into `max_size` buckets, and an index is
//! always computed at [`SCALE_MAX`] and shifted down: so what a histogram is depends on the values alone, neither on their
//! order nor on how they were spread over the histograms that were merged.

mod wire;

pub use wire::ExponentialError;

/// The finest scale, with 2^20 buckets for each power of two, and that of an empty histogram (OpenTelemetry metrics SDK
/// specification, "MaxScale").
pub const SCALE_MAX: i32 = 20;
/// The coarsest scale, with one bucket for 2^10 powers of two: two buckets hold every double there is (the same).
pub const SCALE_MIN: i32 = -10;

/// The index of 2^-64, the least value above 0: 1 over the greatest divisor there is. All indices are of [`SCALE_MAX`].
const INDEX_LEAST: i32 = -(64 << SCALE_MAX) - 1;
/// The index of 2^64, the greatest value: doubles round `u64::MAX` up to it.
const INDEX_GREATEST: i32 = (64 << SCALE_MAX) - 1;

/// Counts per bucket, sum and extremes of the recorded values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExponentialHistogram {
    max_size: usize,
    scale: i32,
    zero_count: u64,
    /// The index of the first bucket.
    offset: i32,
    /// From the first that counted something to the last.
    buckets: Vec<u64>,
    sum: u128,
    min: u64,
    max: u64,
}

impl ExponentialHistogram {
    /// An empty histogram that will have at most `max_size` buckets, but never less than two.
    pub fn new(max_size: usize) -> Self {
        Self {
            max_size: max_size.max(2),
            scale: SCALE_MAX,
            zero_count: 0,
            offset: 0,
            buckets: Vec::new(),
            sum: 0,
            min: u64::MAX,
            max: 0,
        }
    }

    /// Counts `value`, of which `divisor` make one unit.
    ///
    /// Costs one division and one logarithm. Allocates only where the value is outside the range of those before.
    pub fn record(&mut self, value: u64, divisor: u64) {
        self.sum = self.sum.saturating_add(u128::from(value));
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        if value == 0 {
            self.zero_count = self.zero_count.saturating_add(1);
            return;
        }
        let finest = index(value, divisor);
        let at = finest >> self.shift();
        if let Some(count) = self.bucket(at) {
            *count = count.saturating_add(1);
            return;
        }
        self.cover(at, at);
        let at = finest >> self.shift();
        if let Some(count) = self.bucket(at) {
            *count = count.saturating_add(1);
        }
    }

    /// Adds what `other` counted, whatever its scale. Of two sizes the smaller holds.
    pub fn merge(&mut self, other: &Self) {
        self.max_size = self.max_size.min(other.max_size);
        self.sum = self.sum.saturating_add(other.sum);
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.zero_count = self.zero_count.saturating_add(other.zero_count);
        self.downscale(self.scale.saturating_sub(other.scale));
        let Some(last) = other.last() else {
            // The size may have become smaller.
            if let Some(last) = self.last() {
                self.cover(self.offset, last);
            }
            return;
        };
        let shift = other.scale.saturating_sub(self.scale);
        self.cover(other.offset >> shift, last >> shift);
        let shift = other.scale.saturating_sub(self.scale);
        for (at, more) in (other.offset..).zip(&other.buckets) {
            if let Some(count) = self.bucket(at >> shift) {
                *count = count.saturating_add(*more);
            }
        }
    }

    /// What was recorded since this histogram was `base`, without the extremes, which cannot be told.
    #[must_use]
    pub fn since(&self, base: &Self) -> Self {
        // It only ever grew since, so its scale is not above that of the base.
        let base = base.clone().at_scale(self.scale);
        let then = |index: i64| {
            let at = index.checked_sub(i64::from(base.offset)).and_then(|at| usize::try_from(at).ok());
            at.and_then(|at| base.buckets.get(at)).copied().unwrap_or(0)
        };
        let indices = i64::from(self.offset)..;
        let since: Vec<u64> =
            self.buckets.iter().zip(indices).map(|(now, index)| now.saturating_sub(then(index))).collect();
        let first = since.iter().position(|count| *count > 0).unwrap_or(since.len());
        let end = since.iter().rposition(|count| *count > 0).map_or(first, |last| last.saturating_add(1));
        Self {
            max_size: self.max_size,
            scale: self.scale,
            zero_count: self.zero_count.saturating_sub(base.zero_count),
            offset: i32::try_from(first).map_or(0, |first| self.offset.saturating_add(first)),
            buckets: since.get(first..end).unwrap_or_default().to_vec(),
            sum: self.sum.saturating_sub(base.sum),
            min: u64::MAX,
            max: 0,
        }
    }

    /// Forgets everything recorded, and is at the finest scale again.
    pub fn clear(&mut self) {
        (self.scale, self.zero_count, self.offset) = (SCALE_MAX, 0, 0);
        self.buckets.clear();
        (self.sum, self.min, self.max) = (0, u64::MAX, 0);
    }

    /// The same values at `scale` or, if that is finer than the present one, unchanged.
    #[must_use]
    pub fn at_scale(mut self, scale: i32) -> Self {
        self.downscale(self.scale.saturating_sub(scale.max(SCALE_MIN)));
        self
    }

    /// How many values were recorded.
    pub fn count(&self) -> u64 {
        self.buckets.iter().fold(self.zero_count, |sum, count| sum.saturating_add(*count))
    }

    /// How many of the values were 0.
    pub fn zero_count(&self) -> u64 {
        self.zero_count
    }

    /// The sum of the values.
    pub fn sum(&self) -> u128 {
        self.sum
    }

    /// The least value, if it is known.
    pub fn min(&self) -> Option<u64> {
        (self.min <= self.max).then_some(self.min)
    }

    /// The greatest value, if it is known.
    pub fn max(&self) -> Option<u64> {
        (self.min <= self.max).then_some(self.max)
    }

    /// From [`SCALE_MIN`] to [`SCALE_MAX`].
    pub fn scale(&self) -> i32 {
        self.scale
    }

    /// The index of the first bucket.
    pub fn offset(&self) -> i32 {
        self.offset
    }

    /// The count of each bucket, from the first that is not 0 to the last.
    pub fn buckets(&self) -> &[u64] {
        &self.buckets
    }

    fn bucket(&mut self, at: i32) -> Option<&mut u64> {
        let place = usize::try_from(at.saturating_sub(self.offset)).ok()?;
        self.buckets.get_mut(place)
    }

    /// The index of the last bucket, if there is one.
    fn last(&self) -> Option<i32> {
        let beyond = self.buckets.len().checked_sub(1)?;
        Some(self.offset.saturating_add(i32::try_from(beyond).ok()?))
    }

    /// How far indices of the finest scale are shifted for the present one.
    fn shift(&self) -> i32 {
        SCALE_MAX.saturating_sub(self.scale)
    }

    /// Makes buckets for `from` to `to`, indices of the present scale, besides those there are; at a coarser scale if they
    /// would be too many.
    fn cover(&mut self, from: i32, to: i32) {
        let (mut first, mut last) = match self.last() {
            Some(last) => (self.offset.min(from), last.max(to)),
            None => (from, to),
        };
        let mut shift = 0;
        while size(first, last) > self.max_size && self.scale.saturating_sub(shift) > SCALE_MIN {
            (first, last, shift) = (first >> 1, last >> 1, shift.saturating_add(1));
        }
        self.downscale(shift);
        if self.buckets.is_empty() {
            self.offset = first;
        }
        let before = usize::try_from(self.offset.saturating_sub(first)).unwrap_or(0);
        self.buckets.resize(size(first, last), 0);
        self.buckets.rotate_right(before);
        self.offset = first;
    }

    /// Joins buckets so that the scale is coarser by `by`: 2^by neighbours become one, exactly.
    fn downscale(&mut self, by: i32) {
        if by <= 0 {
            return;
        }
        self.scale = self.scale.saturating_sub(by);
        let first = self.offset >> by;
        let mut joined = 0;
        for place in 0..self.buckets.len() {
            let index = self.offset.saturating_add(i32::try_from(place).unwrap_or(i32::MAX));
            let target = usize::try_from((index >> by).saturating_sub(first)).unwrap_or(0);
            // A target is never behind its source, so nothing is read that was written.
            let count = self.buckets.get_mut(place).map(std::mem::take).unwrap_or(0);
            if let Some(sum) = self.buckets.get_mut(target) {
                *sum = sum.saturating_add(count);
            }
            joined = target.saturating_add(1);
        }
        self.buckets.truncate(joined);
        self.offset = first;
    }
}

/// How many buckets there are from one index to another.
fn size(first: i32, last: i32) -> usize {
    usize::try_from(last.saturating_sub(first)).unwrap_or(0).saturating_add(1)
}

/// The index at [`SCALE_MAX`] of `value` over `divisor`, neither of which is 0.
///
/// The power of two is read off the double, so that powers of two are exactly where they belong, and the logarithm is of a
/// number from 1 to 2 only: it errs by far less than a bucket.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "53 bits tell buckets of 2^-20 apart; the logarithm of a number from 1 to 2 is from 0 to 1"
)]
fn index(value: u64, divisor: u64) -> i32 {
    const MANTISSA_BITS: u32 = f64::MANTISSA_DIGITS - 1;
    const EXPONENT_BIAS: i32 = f64::MAX_EXP - 1;
    let bits = (value as f64 / divisor as f64).to_bits();
    let power = i32::try_from(bits >> MANTISSA_BITS).unwrap_or(0).saturating_sub(EXPONENT_BIAS);
    let first = power << SCALE_MAX;
    let mantissa = bits & ((1 << MANTISSA_BITS) - 1);
    if mantissa == 0 {
        return first.saturating_sub(1);
    }
    let within = f64::from_bits(mantissa | 1_f64.to_bits()).log2();
    let place = (within * f64::from(1 << SCALE_MAX)).ceil() as i32;
    first.saturating_add(place.clamp(1, 1 << SCALE_MAX)).saturating_sub(1)
}

#[cfg(test)]
mod tests;
