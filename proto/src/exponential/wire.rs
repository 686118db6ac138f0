//! An exponential histogram as it travels in a batch, read strictly: any plugin in the process can send one.

use super::{ExponentialHistogram, INDEX_GREATEST, INDEX_LEAST, SCALE_MAX, SCALE_MIN};
use crate::generated::batch;
use crate::histogram::halves;

/// Why what came in a batch is not an exponential histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExponentialError {
    /// Its scale is not from [`SCALE_MIN`] to [`SCALE_MAX`].
    Scale,
    /// It has more buckets than the metric allows.
    Size,
    /// A bucket is where no value of 64 bits can be.
    Offset,
}

impl ExponentialHistogram {
    /// As it travels in a batch.
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

    /// From a batch, for a metric of `max_size` buckets. Counts, sum and extremes are taken as they are: only their sender
    /// can tell right from wrong. Where the buckets are must make sense.
    pub fn from_wire(wire: batch::ExponentialHistogram, max_size: usize) -> Result<Self, ExponentialError> {
        let mut read = Self::new(max_size);
        if !(SCALE_MIN..=SCALE_MAX).contains(&wire.scale) {
            return Err(ExponentialError::Scale);
        }
        if wire.buckets.len() > read.max_size {
            return Err(ExponentialError::Size);
        }
        read.zero_count = wire.zero_count;
        read.sum = u128::from(wire.sum_high) << 64 | u128::from(wire.sum_low);
        let counted = |count: &u64| *count > 0;
        if let (Some(first), Some(last)) =
            (wire.buckets.iter().position(counted), wire.buckets.iter().rposition(counted))
        {
            let index =
                |place: usize| i32::try_from(place).ok().and_then(|place| wire.offset.checked_add(place));
            let (Some(least), Some(greatest)) = (index(first), index(last)) else {
                return Err(ExponentialError::Offset);
            };
            let shift = SCALE_MAX.saturating_sub(wire.scale);
            if least < INDEX_LEAST >> shift || greatest > INDEX_GREATEST >> shift {
                return Err(ExponentialError::Offset);
            }
            read.scale = wire.scale;
            read.offset = least;
            read.buckets = wire.buckets;
            read.buckets.truncate(last.saturating_add(1));
            read.buckets.drain(..first);
        }
        if read.count() > 0 {
            (read.min, read.max) = (wire.min, wire.max);
        }
        Ok(read)
    }
}
