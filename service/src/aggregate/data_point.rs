//! A data point: one series as a destination gets it.

use std::borrow::Cow;

use tributary_proto::batch::Point;
use tributary_proto::exemplar::Exemplar;
use tributary_proto::metric::Kind;

/// The value of one series at one time, as a destination gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataPoint<'a> {
    /// Canonical bytes ([`tributary_proto::attributes::decode`]).
    pub attributes: &'a [u8],
    /// The time from which the value counts, in Unix nanoseconds.
    pub start_unix_nano: u64,
    /// The time up to which the value counts, in Unix nanoseconds.
    pub time_unix_nano: u64,
    /// The value, as integers that [`Metric::divisor`](tributary_proto::metric::Metric::divisor) scales;
    /// `None` if the series has ended.
    pub value: Option<Cow<'a, Point>>,
    /// The exemplar of one counted observation, if the destination has not confirmed it yet.
    pub exemplar: Option<&'a Exemplar>,
}

impl DataPoint<'_> {
    /// Returns whether a metric of this kind can have this point. The end of a series fits every kind.
    pub fn fits(&self, kind: &Kind) -> bool {
        match (self.value.as_deref(), kind) {
            (None, _)
            | (Some(Point::Counter(_)), Kind::Counter)
            | (Some(Point::UpDownCounter(_)), Kind::UpDownCounter)
            | (Some(Point::Exponential(_)), Kind::Exponential { .. }) => true,
            (Some(Point::Histogram(histogram)), Kind::Histogram { bounds }) => {
                histogram.buckets().len() == bounds.len().saturating_add(1)
            }
            _ => false,
        }
    }
}
