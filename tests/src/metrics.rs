//! Points of metrics as a collector has them: attributes with a number or a histogram, and exemplars.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Result, ensure};

mod classic;
mod exponential;

pub use classic::classic_histograms;
pub use exponential::{Buckets, ExponentialHistogram, ExponentialPoint, MAX_BUCKETS};

/// The attributes of one series, by key.
pub type Attributes = BTreeMap<String, AttributeValue>;

/// The value of an attribute, with its type.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum AttributeValue {
    /// A string.
    Text(String),
    /// An integer.
    Int(i64),
    /// A truth value.
    Bool(bool),
    /// Any other type, in its debug form.
    Other(String),
}

/// One series of a sum or a gauge.
#[derive(Debug, Clone, PartialEq)]
pub struct NumberPoint {
    /// The resource's `service.instance.id`; empty if it has none.
    pub instance: String,
    /// The series' attributes.
    pub attributes: Attributes,
    /// Its value.
    pub value: f64,
}

/// One series of a histogram with explicit bounds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HistogramPoint {
    /// The resource's `service.instance.id`; empty if it has none.
    pub instance: String,
    /// The series' attributes.
    pub attributes: Attributes,
    /// What was measured.
    pub histogram: Histogram,
}

/// A histogram with explicit bounds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Histogram {
    /// How many values were measured.
    pub count: u64,
    /// Their sum, in the metric's unit.
    pub sum: f64,
    /// The upper bounds (inclusive) of all buckets but the last, which has none.
    pub bounds: Vec<f64>,
    /// The number of values in each bucket, not added up; one more than there are bounds.
    pub buckets: Vec<u64>,
}

/// One measurement, kept beside the sums of its series as an example of what they are made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Exemplar {
    /// What was measured, in the metric's unit.
    pub value: f64,
    /// When, in nanoseconds since 1970.
    pub time_unix_nano: u64,
    /// The trace that it was part of, in lower-case hexadecimal digits; empty if it was part of none.
    pub trace_id: String,
    /// The span that it was part of, in lower-case hexadecimal digits; empty if it was part of none.
    pub span_id: String,
    /// What the measurement had in addition to the attributes of its series.
    pub attributes: Attributes,
}

/// The exemplars of one series.
#[derive(Debug, Clone, PartialEq)]
pub struct ExemplarPoint {
    /// The resource's `service.instance.id`; empty if it has none.
    pub instance: String,
    /// The series' attributes.
    pub attributes: Attributes,
    /// Its exemplars in the order of arrival, each once.
    pub exemplars: Vec<Exemplar>,
}

impl fmt::Display for AttributeValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) | Self::Other(text) => formatter.write_str(text),
            Self::Int(number) => number.fmt(formatter),
            Self::Bool(truth) => truth.fmt(formatter),
        }
    }
}

impl From<&str> for AttributeValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<i64> for AttributeValue {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

/// Whether `attributes` has all of `wanted`, as key and text of the value.
pub fn matches(attributes: &Attributes, wanted: &[(&str, &str)]) -> bool {
    wanted.iter().all(|(key, value)| attributes.get(*key).is_some_and(|found| found.to_string() == *value))
}

impl Histogram {
    /// Adds the values of another histogram with the same bounds; an empty one takes the other's bounds.
    ///
    /// # Errors
    /// The bounds differ.
    pub fn add(&mut self, other: &Self) -> Result<()> {
        if self.count == 0 && self.buckets.is_empty() {
            self.clone_from(other);
            return Ok(());
        }
        ensure!(
            self.bounds == other.bounds && self.buckets.len() == other.buckets.len(),
            "histograms of different bounds cannot be added: {:?} and {:?}",
            self.bounds,
            other.bounds
        );
        self.count += other.count;
        self.sum += other.sum;
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        Ok(())
    }

    /// An estimate of the value below which the share `quantile` of all values lies; none without values.
    ///
    /// Values are taken to be spread evenly over their bucket, and the first bucket to begin at 0; in the last
    /// bucket, which has no end, its beginning is the answer. Prometheus' `histogram_quantile` does the same.
    pub fn quantile(&self, quantile: f64) -> Option<f64> {
        let rank = quantile * to_f64(self.count);
        let mut below = 0_u64;
        let mut lower = 0.0;
        for (position, count) in self.buckets.iter().copied().enumerate() {
            let upper = self.bounds.get(position).copied();
            if count > 0 && to_f64(below + count) >= rank {
                let share = ((rank - to_f64(below)) / to_f64(count)).max(0.0);
                return Some(upper.map_or(lower, |upper| lower + (upper - lower) * share));
            }
            below += count;
            lower = upper.unwrap_or(lower);
        }
        None
    }
}

/// A count as a floating-point number, exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts in tests are far below 2^53")]
pub fn to_f64(count: u64) -> f64 {
    count as f64
}

/// A floating-point number that holds a count, as a count; what is negative or no number is 0.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
pub fn to_count(number: f64) -> u64 {
    number.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(buckets: [u64; 4]) -> Histogram {
        let count = buckets.iter().sum();
        Histogram { count, sum: 1.0, bounds: vec![1.0, 2.0, 4.0], buckets: buckets.to_vec() }
    }

    #[test]
    fn quantiles_are_interpolated_within_their_bucket() {
        let even = histogram([10, 10, 0, 0]);
        assert_eq!(even.quantile(0.25), Some(0.5));
        assert_eq!(even.quantile(0.5), Some(1.0));
        assert_eq!(even.quantile(0.75), Some(1.5));
        assert_eq!(histogram([0, 0, 4, 0]).quantile(0.5), Some(3.0));
        assert_eq!(histogram([0, 0, 0, 7]).quantile(0.5), Some(4.0), "the last bucket has no end");
        assert_eq!(histogram([0, 0, 0, 0]).quantile(0.5), None);
    }

    #[test]
    fn histograms_add_up_if_their_bounds_agree() {
        let mut sum = Histogram::default();
        sum.add(&histogram([1, 2, 3, 4])).unwrap();
        sum.add(&histogram([1, 0, 0, 1])).unwrap();
        assert_eq!((sum.count, sum.sum, sum.buckets.as_slice()), (12, 2.0, [2, 2, 3, 5].as_slice()));
        assert!(sum.add(&Histogram { bounds: vec![9.0], buckets: vec![0, 0], ..sum.clone() }).is_err());
    }

    #[test]
    fn attributes_match_by_the_text_of_their_values() {
        let attributes: Attributes =
            [("code".to_owned(), 200.into()), ("route".to_owned(), "users".into())].into();
        assert!(matches(&attributes, &[("code", "200"), ("route", "users")]));
        assert!(!matches(&attributes, &[("code", "404")]));
        assert!(!matches(&attributes, &[("method", "GET")]));
        assert!(matches(&attributes, &[]));
    }
}
