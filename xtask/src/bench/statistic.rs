//! The median and spread of repeated measurements.

use serde::Serialize;

/// The median of measurements, and the bounds of their middle half.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Spread {
    /// Returns the spread of these values. Without values, all fields are 0.
    pub(crate) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or_default();
        let count = values.len();
        let middle = count / 2;
        let median = if count.is_multiple_of(2) {
            (at(middle.saturating_sub(1)) + at(middle)) / 2.0
        } else {
            at(middle)
        };
        // With four or fewer values, the bounds include all values.
        let outside = count.saturating_sub(1) / 4;
        Self { median, low: at(outside), high: at(count.saturating_sub(outside + 1)) }
    }

    /// Returns half of the distance between the bounds.
    pub(crate) fn half_width(&self) -> f64 {
        (self.high - self.low) / 2.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_value_or_the_mean_of_the_middle_two() {
        assert_eq!(Spread::of(vec![3.0, 1.0, 2.0]), Spread { median: 2.0, low: 1.0, high: 3.0 });
        assert_eq!(Spread::of(vec![4.0, 1.0, 2.0, 8.0]), Spread { median: 3.0, low: 1.0, high: 8.0 });
        assert_eq!(Spread::of(vec![4.0, 1.0]).half_width(), 1.5);
        assert_eq!(Spread::of(Vec::new()), Spread::default());
    }

    #[test]
    fn an_outlier_is_not_in_the_middle_half() {
        let values = vec![90.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
        assert_eq!(Spread::of(values), Spread { median: 5.0, low: 3.0, high: 7.0 });
    }
}
