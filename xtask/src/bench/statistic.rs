//! What several measurements of the same thing say together.

use serde::Serialize;

/// The median of some measurements, and the smallest and the largest of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// Of at least one measurement; of none all are 0.
    pub(crate) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or_default();
        let (last, middle) = (values.len().saturating_sub(1), values.len() / 2);
        let median = if values.len() % 2 == 0 {
            (at(middle.saturating_sub(1)) + at(middle)) / 2.0
        } else {
            at(middle)
        };
        Self { median, least: at(0), most: at(last) }
    }

    /// Half of the distance between the smallest and the largest.
    pub(crate) fn half_range(&self) -> f64 {
        (self.most - self.least) / 2.0
    }
}

/// A count as a real number: exact below 2^53, which no count here comes near.
#[allow(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
pub(crate) fn real(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one_or_between_the_middle_two() {
        assert_eq!(Spread::of(vec![3.0, 1.0, 2.0]), Spread { median: 2.0, least: 1.0, most: 3.0 });
        assert_eq!(Spread::of(vec![4.0, 1.0, 2.0, 8.0]).median, 3.0);
        assert_eq!(Spread::of(vec![4.0, 1.0]).half_range(), 1.5);
        assert_eq!(Spread::of(Vec::new()), Spread::default());
    }
}
