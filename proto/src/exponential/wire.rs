//! Conversion between exponential histograms and their messages. Messages are checked: any plugin in the
//! process can send one.

use super::{ExponentialHistogram, INDEX_GREATEST, INDEX_LEAST, SCALE_MAX, SCALE_MIN};
use crate::generated::batch;
use crate::histogram::halves;

impl ExponentialHistogram {
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

    /// Converts a message to a histogram of at most `max_size` buckets. Returns `None` if the scale is out of
    /// range, there are too many buckets, or one is where no value of 64 bits can be. Counts, sum and
    /// extremes cannot be checked.
    pub fn from_wire(wire: batch::ExponentialHistogram, max_size: usize) -> Option<Self> {
        let mut read = Self::new(max_size);
        if !(SCALE_MIN..=SCALE_MAX).contains(&wire.scale) || wire.buckets.len() > read.max_size {
            return None;
        }
        read.zero_count = wire.zero_count;
        read.sum = u128::from(wire.sum_high) << 64 | u128::from(wire.sum_low);
        let is_counted = |count: &u64| *count > 0;
        if let (Some(first), Some(last)) =
            (wire.buckets.iter().position(is_counted), wire.buckets.iter().rposition(is_counted))
        {
            let index =
                |bucket: usize| i32::try_from(bucket).ok().and_then(|bucket| wire.offset.checked_add(bucket));
            let (least, greatest) = (index(first)?, index(last)?);
            let shift = SCALE_MAX.saturating_sub(wire.scale);
            if least < INDEX_LEAST >> shift || greatest > INDEX_GREATEST >> shift {
                return None;
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
        Some(read)
    }
}
