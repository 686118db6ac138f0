//! A base-2 exponential histogram of integers. Values of any magnitude have a known relative error, without
//! configured bounds.
//!
//! Bucket `i` of scale `s` counts the values in (2^(i/2^s), 2^((i+1)/2^s)] of the metric's unit, as in the
//! OpenTelemetry data model. The scale is the largest at which all recorded values fit into `max_size`
//! buckets. Indices are computed at [`SCALE_MAX`] and then shifted to the scale. So a histogram depends only
//! on its values, not on their order or on how they were distributed over the histograms that were merged
//! into it.

use crate::generated::batch;
use crate::histogram::halves;

/// The finest scale, with 2^20 buckets for each power of two: the scale of an empty histogram (OpenTelemetry
/// metrics SDK specification, "MaxScale").
pub const SCALE_MAX: i32 = 20;
/// The coarsest scale, with one bucket for 2^10 powers of two: two buckets hold every double (the same
/// specification).
pub const SCALE_MIN: i32 = -10;

/// The index at [`SCALE_MAX`] of 2^-64, the smallest value above 0: 1 divided by the greatest divisor.
const INDEX_LEAST: i32 = -(64 << SCALE_MAX) - 1;
/// The index at [`SCALE_MAX`] of 2^64, the greatest value: `u64::MAX` as a double.
const INDEX_GREATEST: i32 = (64 << SCALE_MAX) - 1;

/// Counts per bucket, sum and extremes of the recorded values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExponentialHistogram {
    max_size: usize,
    scale: i32,
    zero_count: u64,
    /// The index of the first bucket.
    offset: i32,
    /// The counts of all buckets from the first to the last bucket that is not empty.
    buckets: Vec<u64>,
    sum: u128,
    min: u64,
    max: u64,
}

impl ExponentialHistogram {
    /// Creates an empty histogram of at most `max_size` buckets, but at least two.
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

    /// Records `value / divisor` units.
    ///
    /// Costs one division and one logarithm. Allocates only if the value is outside the range of the buckets.
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
        if !self.add(at, 1) {
            self.cover(at, at);
            self.add(finest >> self.shift(), 1);
        }
    }

    /// Adds a histogram of any scale. The result has the smaller `max_size` of the two.
    pub fn merge(&mut self, other: &Self) {
        self.max_size = self.max_size.min(other.max_size);
        self.sum = self.sum.saturating_add(other.sum);
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.zero_count = self.zero_count.saturating_add(other.zero_count);
        self.downscale(self.scale.saturating_sub(other.scale));
        let Some(last) = other.last() else {
            // `max_size` may have become smaller.
            if let Some(last) = self.last() {
                self.cover(self.offset, last);
            }
            return;
        };
        let shift = other.scale.saturating_sub(self.scale);
        self.cover(other.offset >> shift, last >> shift);
        let shift = other.scale.saturating_sub(self.scale);
        for (at, more) in (other.offset..).zip(&other.buckets) {
            self.add(at >> shift, *more);
        }
    }

    /// Returns the difference between this histogram and its earlier state `base`. The minimum and the
    /// maximum of the difference are unknown.
    #[must_use]
    pub fn since(&self, base: &Self) -> Self {
        // The scale of a growing histogram only decreases.
        let base = base.clone().at_scale(self.scale);
        let then = |index: i64| {
            let at = index.checked_sub(i64::from(base.offset)).and_then(|at| usize::try_from(at).ok());
            at.and_then(|at| base.buckets.get(at)).copied().unwrap_or(0)
        };
        let indices = i64::from(self.offset)..;
        let buckets = self.buckets.iter().zip(indices).map(|(now, index)| now.saturating_sub(then(index)));
        let mut since = Self {
            scale: self.scale,
            zero_count: self.zero_count.saturating_sub(base.zero_count),
            offset: self.offset,
            buckets: buckets.collect(),
            sum: self.sum.saturating_sub(base.sum),
            ..Self::new(self.max_size)
        };
        since.trim();
        since
    }

    /// Removes all values and returns to the finest scale.
    pub fn clear(&mut self) {
        (self.scale, self.zero_count, self.offset) = (SCALE_MAX, 0, 0);
        self.buckets.clear();
        (self.sum, self.min, self.max) = (0, u64::MAX, 0);
    }

    /// Returns the histogram at `scale`. Returns it unchanged if `scale` is finer than its own scale.
    #[must_use]
    pub fn at_scale(mut self, scale: i32) -> Self {
        self.downscale(self.scale.saturating_sub(scale.max(SCALE_MIN)));
        self
    }

    /// Returns the number of recorded values.
    pub fn count(&self) -> u64 {
        self.buckets.iter().fold(self.zero_count, |sum, count| sum.saturating_add(*count))
    }

    /// Returns the number of recorded values that are 0.
    pub fn zero_count(&self) -> u64 {
        self.zero_count
    }

    /// Returns the sum of the values.
    pub fn sum(&self) -> u128 {
        self.sum
    }

    /// Returns the smallest value, or `None` if it is unknown.
    pub fn min(&self) -> Option<u64> {
        (self.min <= self.max).then_some(self.min)
    }

    /// Returns the greatest value, or `None` if it is unknown.
    pub fn max(&self) -> Option<u64> {
        (self.min <= self.max).then_some(self.max)
    }

    /// Returns the scale, from [`SCALE_MIN`] to [`SCALE_MAX`].
    pub fn scale(&self) -> i32 {
        self.scale
    }

    /// Returns the index of the first bucket.
    pub fn offset(&self) -> i32 {
        self.offset
    }

    /// Returns the counts of all buckets from the first to the last bucket that is not empty.
    pub fn buckets(&self) -> &[u64] {
        &self.buckets
    }

    /// Converts the histogram to a message.
    pub fn to_wire(&self) -> batch::ExponentialHistogram {
        let (sum_low, sum_high) = halves(self.sum);
        batch::ExponentialHistogram {
            sum_low,
            sum_high,
            scale: self.scale,
            zero_count: self.zero_count,
            offset: self.offset,
            buckets: self.buckets.clone(),
            min: if self.count() > 0 { self.min } else { 0 },
            max: self.max,
        }
    }

    /// Converts a message to a histogram of at most `max_size` buckets, and checks it, because any plugin in
    /// the process can send a message. Returns `None` if the scale is out of range, there are too many
    /// buckets, or a bucket covers no 64-bit value. Counts, sum and extremes cannot be checked.
    pub fn from_wire(wire: batch::ExponentialHistogram, max_size: usize) -> Option<Self> {
        let mut read = Self {
            scale: wire.scale,
            zero_count: wire.zero_count,
            offset: wire.offset,
            buckets: wire.buckets,
            sum: u128::from(wire.sum_high) << 64 | u128::from(wire.sum_low),
            ..Self::new(max_size)
        };
        if !(SCALE_MIN..=SCALE_MAX).contains(&read.scale) || read.buckets.len() > read.max_size {
            return None;
        }
        read.trim();
        let indices = INDEX_LEAST >> read.shift()..=INDEX_GREATEST >> read.shift();
        if read.buckets.is_empty() {
            (read.scale, read.offset) = (SCALE_MAX, 0);
        } else if !indices.contains(&read.offset) || !indices.contains(&read.last()?) {
            return None;
        }
        if read.count() > 0 {
            (read.min, read.max) = (wire.min, wire.max);
        }
        Some(read)
    }

    /// Adds to the count of a bucket. Returns false if there is no such bucket.
    fn add(&mut self, at: i32, more: u64) -> bool {
        let at = usize::try_from(at.saturating_sub(self.offset)).ok();
        let count = at.and_then(|at| self.buckets.get_mut(at));
        count.map(|count| *count = count.saturating_add(more)).is_some()
    }

    /// Returns the index of the last bucket, if there is one.
    fn last(&self) -> Option<i32> {
        let length = self.buckets.len().checked_sub(1)?;
        Some(self.offset.saturating_add(i32::try_from(length).ok()?))
    }

    /// Returns the number of bits by which indices of the finest scale are shifted at the current scale.
    fn shift(&self) -> i32 {
        SCALE_MAX.saturating_sub(self.scale)
    }

    /// Extends the buckets to cover the indices `from` to `to` of the current scale. Makes the scale coarser
    /// if there would be too many buckets.
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

    /// Removes empty buckets at both ends.
    fn trim(&mut self) {
        let is_counted = |count: &u64| *count > 0;
        let first = self.buckets.iter().position(is_counted).unwrap_or(self.buckets.len());
        let end = self.buckets.iter().rposition(is_counted).map_or(first, |last| last.saturating_add(1));
        self.buckets.truncate(end);
        self.buckets.drain(..first);
        self.offset = i32::try_from(first).map_or(0, |first| self.offset.saturating_add(first));
    }

    /// Makes the scale coarser by `by`: exactly 2^by adjacent buckets become one.
    fn downscale(&mut self, by: i32) {
        if by <= 0 {
            return;
        }
        self.scale = self.scale.saturating_sub(by);
        let first = self.offset >> by;
        let mut joined = 0;
        for source in 0..self.buckets.len() {
            let index = self.offset.saturating_add(i32::try_from(source).unwrap_or(i32::MAX));
            let target = usize::try_from((index >> by).saturating_sub(first)).unwrap_or(0);
            // A target never comes after its source, so a sum is never read as a source.
            let count = self.buckets.get_mut(source).map(std::mem::take).unwrap_or(0);
            if let Some(sum) = self.buckets.get_mut(target) {
                *sum = sum.saturating_add(count);
            }
            joined = target.saturating_add(1);
        }
        self.buckets.truncate(joined);
        self.offset = first;
    }
}

/// Returns the number of buckets from index `first` to index `last`.
fn size(first: i32, last: i32) -> usize {
    usize::try_from(last.saturating_sub(first)).unwrap_or(0).saturating_add(1)
}

/// Returns the index at [`SCALE_MAX`] of `value / divisor`. Both must be greater than 0.
///
/// The exponent is taken from the double, so that powers of two are exact. The logarithm is only taken of a
/// number from 1 to 2, so its error is far smaller than a bucket.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "53 bits distinguish buckets of 2^-20; the logarithm of a number from 1 to 2 is from 0 to 1"
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
    let bucket = (within * f64::from(1 << SCALE_MAX)).ceil() as i32;
    first.saturating_add(bucket.clamp(1, 1 << SCALE_MAX)).saturating_sub(1)
}

#[cfg(test)]
mod tests;
