//! Metric points as a collector stores them: attributes, a number or a histogram, and exemplars.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Result, ensure};

mod classic;
mod exponential;

pub use classic::classic_histograms;
pub use exponential::{ExponentialPoint, MAX_BUCKETS, ReceivedBuckets, ReceivedExponentialHistogram};

/// The attributes of one series, by key.
pub type Attributes = BTreeMap<String, ReceivedAttribute>;

/// The value of an attribute, with its type.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReceivedAttribute {
    /// A string.
    Text(String),
    /// An integer.
    Int(i64),
    /// A boolean.
    Bool(bool),
    /// Any other type, in its `Debug` form.
    Other(String),
}

/// One series of a sum or a gauge.
#[derive(Debug, Clone, PartialEq)]
pub struct NumberPoint {
    /// The resource's `service.instance.id`; empty if the resource does not have it.
    pub instance: String,
    /// The attributes of the series.
    pub attributes: Attributes,
    /// The value.
    pub value: f64,
}

/// One series of a histogram with explicit bounds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HistogramPoint {
    /// The resource's `service.instance.id`; empty if the resource does not have it.
    pub instance: String,
    /// The attributes of the series.
    pub attributes: Attributes,
    /// The recorded values.
    pub histogram: ReceivedHistogram,
}

/// A histogram with explicit bounds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReceivedHistogram {
    /// The number of recorded values.
    pub count: u64,
    /// The sum of the recorded values, in the unit of the metric.
    pub sum: f64,
    /// The inclusive upper bounds of all buckets but the last, which is unbounded.
    pub bounds: Vec<f64>,
    /// The number of values in each bucket, not cumulative. There is one more bucket than `bounds`.
    pub buckets: Vec<u64>,
}

/// One recorded value, kept as an example of the values in its series.
#[derive(Debug, Clone, PartialEq)]
pub struct ReceivedExemplar {
    /// The value, in the unit of the metric.
    pub value: f64,
    /// The time, in nanoseconds since 1970.
    pub time_unix_nano: u64,
    /// The trace id in lower-case hexadecimal digits; empty without a trace.
    pub trace_id: String,
    /// The span id in lower-case hexadecimal digits; empty without a span.
    pub span_id: String,
    /// The attributes of the value that are not attributes of its series.
    pub attributes: Attributes,
}

/// The exemplars of one series.
#[derive(Debug, Clone, PartialEq)]
pub struct ExemplarPoint {
    /// The resource's `service.instance.id`; empty if the resource does not have it.
    pub instance: String,
    /// The attributes of the series.
    pub attributes: Attributes,
    /// The distinct exemplars in order of arrival.
    pub exemplars: Vec<ReceivedExemplar>,
}

impl fmt::Display for ReceivedAttribute {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) | Self::Other(text) => formatter.write_str(text),
            Self::Int(number) => number.fmt(formatter),
            Self::Bool(truth) => truth.fmt(formatter),
        }
    }
}

impl From<&str> for ReceivedAttribute {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<i64> for ReceivedAttribute {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

/// Returns whether `attributes` contains all of `wanted`; compares the text of the values.
pub fn matches(attributes: &Attributes, wanted: &[(&str, &str)]) -> bool {
    wanted.iter().all(|(key, value)| attributes.get(*key).is_some_and(|found| found.to_string() == *value))
}

impl ReceivedHistogram {
    /// Adds a histogram with the same bounds. If this histogram is empty, it takes the bounds of the other
    /// histogram.
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

    /// Estimates a quantile (0 to 1) of the recorded values; `None` without values.
    ///
    /// Interpolates like Prometheus' `histogram_quantile`: values are assumed to be spread evenly over
    /// their bucket, and the first bucket starts at 0. For the last bucket, the result is its lower bound.
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

/// Converts a count to a floating-point number, exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts in tests are far below 2^53")]
pub fn to_f64(count: u64) -> f64 {
    count as f64
}

/// Converts a floating-point number to a count; a negative number or NaN gives 0.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
pub fn to_count(number: f64) -> u64 {
    number.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(buckets: [u64; 4]) -> ReceivedHistogram {
        let count = buckets.iter().sum();
        ReceivedHistogram { count, sum: 1.0, bounds: vec![1.0, 2.0, 4.0], buckets: buckets.to_vec() }
    }

    #[test]
    fn quantiles_are_interpolated_within_their_bucket() {
        let even = histogram([10, 10, 0, 0]);
        assert_eq!(even.quantile(0.25), Some(0.5));
        assert_eq!(even.quantile(0.5), Some(1.0));
        assert_eq!(even.quantile(0.75), Some(1.5));
        assert_eq!(histogram([0, 0, 4, 0]).quantile(0.5), Some(3.0));
        assert_eq!(histogram([0, 0, 0, 7]).quantile(0.5), Some(4.0), "the last bucket is unbounded");
        assert_eq!(histogram([0, 0, 0, 0]).quantile(0.5), None);
    }

    #[test]
    fn histograms_add_up_if_their_bounds_agree() {
        let mut sum = ReceivedHistogram::default();
        sum.add(&histogram([1, 2, 3, 4])).unwrap();
        sum.add(&histogram([1, 0, 0, 1])).unwrap();
        assert_eq!((sum.count, sum.sum, sum.buckets.as_slice()), (12, 2.0, [2, 2, 3, 5].as_slice()));
        assert!(
            sum.add(&ReceivedHistogram { bounds: vec![9.0], buckets: vec![0, 0], ..sum.clone() }).is_err()
        );
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
