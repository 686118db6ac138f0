//! Exemplars: single observations in a histogram, with their traces.

use crate::generated::batch;
use crate::histogram::halves;

/// One observation, and the span in which it was made.
///
/// Exemplars are ordered by their values first, so the greatest exemplar does not depend on the order of
/// comparisons. `None` is less than any exemplar, so `kept.max(Some(new))` keeps the greatest exemplar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Exemplar {
    value: u64,
    time_unix_nano: u64,
    trace_id: [u8; 16],
    span_id: [u8; 8],
}

impl Exemplar {
    /// Creates an exemplar. Returns `None` if an id is all zeros, which is invalid in W3C Trace Context.
    pub fn new(value: u64, time_unix_nano: u64, trace_id: [u8; 16], span_id: [u8; 8]) -> Option<Self> {
        let is_valid = trace_id != [0; 16] && span_id != [0; 8];
        is_valid.then_some(Self { value, time_unix_nano, trace_id, span_id })
    }

    /// Returns the value as a recorded integer, before its conversion to the unit of the metric.
    pub fn value(&self) -> u64 {
        self.value
    }

    /// Returns the time of the observation.
    pub fn time_unix_nano(&self) -> u64 {
        self.time_unix_nano
    }

    /// Returns the trace id, which is never all zeros.
    pub fn trace_id(&self) -> &[u8; 16] {
        &self.trace_id
    }

    /// Returns the span id, which is never all zeros.
    pub fn span_id(&self) -> &[u8; 8] {
        &self.span_id
    }

    /// Converts the exemplar to a message, with the index of its point in the series.
    pub fn to_wire(&self, point: usize) -> batch::Exemplar {
        let (trace_id_low, trace_id_high) = halves(u128::from_be_bytes(self.trace_id));
        batch::Exemplar {
            // A series has at most 64 points.
            point: u32::try_from(point).unwrap_or(u32::MAX),
            value: self.value,
            time_unix_nano: self.time_unix_nano,
            trace_id_high,
            trace_id_low,
            span_id: u64::from_be_bytes(self.span_id),
        }
    }

    /// Converts a message to an exemplar with the index of its point. Returns `None` if an id is all zeros.
    pub fn from_wire(wire: batch::Exemplar) -> Option<(usize, Self)> {
        let trace_id = u128::from(wire.trace_id_high) << 64 | u128::from(wire.trace_id_low);
        let (trace_id, span_id) = (trace_id.to_be_bytes(), wire.span_id.to_be_bytes());
        let exemplar = Self::new(wire.value, wire.time_unix_nano, trace_id, span_id)?;
        Some((usize::try_from(wire.point).ok()?, exemplar))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_exemplar_survives_the_wire(point in 0usize..64, value: u64, time: u64, trace_id: [u8; 16], span_id: [u8; 8]) {
            if let Some(exemplar) = Exemplar::new(value, time, trace_id, span_id) {
                prop_assert_eq!(Exemplar::from_wire(exemplar.to_wire(point)), Some((point, exemplar)));
            }
        }
    }

    #[test]
    fn ids_keep_their_bytes() {
        let (trace_id, span_id) = (*b"0123456789abcdef", *b"ABCDEFGH");
        let exemplar = Exemplar::new(1, 2, trace_id, span_id).unwrap();
        assert_eq!((exemplar.trace_id(), exemplar.span_id()), (&trace_id, &span_id));
    }

    #[test]
    fn an_exemplar_without_an_id_is_invalid() {
        assert_eq!(Exemplar::new(1, 2, [0; 16], [1; 8]), None);
        assert_eq!(Exemplar::new(1, 2, [1; 16], [0; 8]), None);
    }

    #[test]
    fn the_greatest_value_is_kept_in_any_order() {
        let of = |value, time| Exemplar::new(value, time, [1; 16], [1; 8]);
        let all = [of(3, 1), of(9, 1), None, of(9, 2), of(1, 9)];
        let kept = |all: &mut dyn Iterator<Item = Option<Exemplar>>| all.fold(None, Option::max);
        assert_eq!(kept(&mut all.into_iter()), of(9, 2));
        assert_eq!(kept(&mut all.into_iter().rev()), of(9, 2));
    }
}
