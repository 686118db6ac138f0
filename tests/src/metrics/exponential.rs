//! A base-2 exponential histogram as a collector stores it. Histograms are added exactly, at the finest
//! scale at which the buckets fit.

use anyhow::{Result, bail, ensure};

use super::Attributes;

/// The maximum number of buckets on each side of zero after an addition: the default of OpenTelemetry's
/// SDKs.
pub const MAX_BUCKETS: usize = 160;

/// The scales of OpenTelemetry's SDKs. At the lowest scale, one bucket spans the range of a double.
const SCALES: std::ops::RangeInclusive<i32> = -10..=20;
/// The range of doubles, including subnormal doubles, as powers of two.
const LOWEST_POWER: i64 = -1074;
const HIGHEST_POWER: i64 = 1024;

/// One series of an exponential histogram.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ExponentialPoint {
    /// The resource's `service.instance.id`; empty if the resource does not have it.
    pub instance: String,
    /// The attributes of the series.
    pub attributes: Attributes,
    /// The recorded values.
    pub histogram: ReceivedExponentialHistogram,
}

/// A histogram whose bounds are powers of `2^(2^-scale)`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReceivedExponentialHistogram {
    /// The number of recorded values.
    pub count: u64,
    /// The sum of the recorded values, in the unit of the metric.
    pub sum: f64,
    /// The smallest value, if the exporter sent it.
    pub min: Option<f64>,
    /// The largest value, if the exporter sent it.
    pub max: Option<f64>,
    /// The scale. The next higher scale has twice as many buckets in the same range.
    pub scale: i32,
    /// The number of values within [`ReceivedExponentialHistogram::zero_threshold`] of zero.
    pub zero_count: u64,
    /// The largest distance from zero that counts as zero.
    pub zero_threshold: f64,
    /// The buckets above zero.
    pub positive: ReceivedBuckets,
    /// The buckets below zero, ordered by their distance from zero.
    pub negative: ReceivedBuckets,
}

/// Consecutive buckets: bucket `i` counts the values in `(2^(i * 2^-scale), 2^((i + 1) * 2^-scale)]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReceivedBuckets {
    /// The index of the first bucket.
    pub offset: i32,
    /// The number of values in each bucket.
    pub counts: Vec<u64>,
}

impl ReceivedExponentialHistogram {
    /// Checks that the fields are consistent.
    ///
    /// # Errors
    /// The fields contradict each other, or a bucket lies outside the range of doubles.
    pub fn check(&self) -> Result<()> {
        let Self { scale, count, zero_count, zero_threshold, min, max, .. } = self;
        ensure!(SCALES.contains(scale), "the scale {scale} is not in {SCALES:?}");
        for buckets in [&self.positive, &self.negative] {
            buckets.check(*scale)?;
        }
        let in_buckets = zero_count + self.positive.count() + self.negative.count();
        ensure!(in_buckets == *count, "a count of {count}, but {in_buckets} in all buckets");
        ensure!(*zero_threshold >= 0.0, "the zero threshold {zero_threshold} is below zero");
        ensure!(
            min.zip(*max).is_none_or(|(min, max)| min <= max),
            "the minimum {min:?} is above the maximum {max:?}"
        );
        Ok(())
    }

    /// Adds a histogram, at the finest scale at which the result has at most [`MAX_BUCKETS`].
    ///
    /// # Errors
    /// The zero thresholds differ, or an index overflows.
    pub fn add(&mut self, other: &Self) -> Result<()> {
        if self.count == 0 {
            self.clone_from(other);
            return Ok(());
        }
        if other.count == 0 {
            return Ok(());
        }
        ensure!(
            self.zero_threshold.total_cmp(&other.zero_threshold).is_eq(),
            "histograms of different zero thresholds cannot be added: {} and {}",
            self.zero_threshold,
            other.zero_threshold
        );
        let mut theirs = other.clone();
        loop {
            let scale = self.scale.min(theirs.scale);
            self.downscale(scale);
            theirs.downscale(scale);
            let positive = self.positive.plus(&theirs.positive)?;
            let negative = self.negative.plus(&theirs.negative)?;
            if let (Some(positive), Some(negative)) = (positive, negative) {
                (self.positive, self.negative) = (positive, negative);
                break;
            }
            self.downscale(scale - 1);
        }
        self.count += theirs.count;
        self.zero_count += theirs.zero_count;
        self.sum += theirs.sum;
        self.min = self.min.zip(theirs.min).map(|(mine, theirs)| mine.min(theirs));
        self.max = self.max.zip(theirs.max).map(|(mine, theirs)| mine.max(theirs));
        Ok(())
    }

    /// Merges buckets to the coarser `scale`; a finer scale changes nothing.
    pub fn downscale(&mut self, scale: i32) {
        let Some(steps) = self.scale.checked_sub(scale).filter(|steps| *steps > 0) else { return };
        self.positive = self.positive.coarser(steps);
        self.negative = self.negative.coarser(steps);
        self.scale = scale;
    }

    /// Returns whether this histogram has fewer values than `earlier`, in total or in any bucket.
    pub fn is_below(&self, earlier: &Self) -> bool {
        let (mut now, mut then) = (self.clone(), earlier.clone());
        let scale = now.scale.min(then.scale);
        now.downscale(scale);
        then.downscale(scale);
        now.count < then.count
            || now.zero_count < then.zero_count
            || now.positive.is_below(&then.positive)
            || now.negative.is_below(&then.negative)
    }

    /// Returns the bounds of the bucket that contains a quantile (0 to 1).
    ///
    /// `None` without values, or if the quantile is not above zero.
    pub fn quantile_bounds(&self, quantile: f64) -> Option<(f64, f64)> {
        let rank = quantile * super::to_f64(self.count);
        let mut below = self.negative.count() + self.zero_count;
        for (index, count) in self.positive.indexed() {
            below += count;
            if count > 0 && super::to_f64(below) >= rank {
                return Some((bound(self.scale, index), bound(self.scale, index + 1)));
            }
        }
        None
    }
}

impl ReceivedBuckets {
    /// Returns the number of values in all buckets.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Iterates over the buckets with their indices.
    pub fn indexed(&self) -> impl Iterator<Item = (i64, u64)> {
        (i64::from(self.offset)..).zip(self.counts.iter().copied())
    }

    fn check(&self, scale: i32) -> Result<()> {
        // Scales the exponents of the bounds such that they are integers.
        let (coarse, fine) = if scale < 0 { (-scale, 0) } else { (0, scale) };
        for (index, _) in self.indexed().filter(|(_, count)| *count > 0) {
            let (lower, upper) = (index << coarse, (index + 1) << coarse);
            if lower >= HIGHEST_POWER << fine || upper < LOWEST_POWER << fine {
                bail!("no double lies in the bucket {index} of scale {scale}");
            }
        }
        Ok(())
    }

    /// Returns the index after the last bucket.
    fn end(&self) -> Result<i64> {
        Ok(i64::from(self.offset) + i64::try_from(self.counts.len())?)
    }

    /// Adds the counts of both. Returns `None` if the result needs more than [`MAX_BUCKETS`].
    fn plus(&self, other: &Self) -> Result<Option<Self>> {
        if self.counts.is_empty() || other.counts.is_empty() {
            return Ok(Some(if self.counts.is_empty() { other } else { self }.clone()));
        }
        let offset = self.offset.min(other.offset);
        let width = usize::try_from(self.end()?.max(other.end()?) - i64::from(offset))?;
        if width > MAX_BUCKETS.max(self.counts.len()).max(other.counts.len()) {
            return Ok(None);
        }
        let mut counts = vec![0; width];
        for (index, count) in self.indexed().chain(other.indexed()) {
            let position = usize::try_from(index - i64::from(offset))?;
            if let Some(sum) = counts.get_mut(position) {
                *sum += count;
            }
        }
        Ok(Some(Self { offset, counts }))
    }

    /// Merges every `2^steps` buckets into one.
    fn coarser(&self, steps: i32) -> Self {
        let offset = self.offset >> steps.min(31);
        let mut counts: Vec<u64> = Vec::new();
        let mut last = None;
        for (index, count) in self.indexed() {
            let wide = index >> steps.min(63);
            match counts.last_mut().filter(|_| last == Some(wide)) {
                Some(sum) => *sum += count,
                None => counts.push(count),
            }
            last = Some(wide);
        }
        Self { offset, counts }
    }

    fn is_below(&self, earlier: &Self) -> bool {
        let now = |index: i64| {
            let position = usize::try_from(index - i64::from(self.offset)).ok()?;
            self.counts.get(position).copied()
        };
        earlier.indexed().any(|(index, then)| now(index).unwrap_or(0) < then)
    }
}

/// Returns the lower bound of the bucket at `index`.
fn bound(scale: i32, index: i64) -> f64 {
    let [scale, index] = [i64::from(scale), index].map(|number| {
        #[expect(clippy::cast_precision_loss, reason = "scales and indices are far below 2^53")]
        let number = number as f64;
        number
    });
    (index * (-scale).exp2()).exp2()
}

#[cfg(test)]
mod tests;
