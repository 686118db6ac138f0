//! Batches, which workers send to the service. The service checks them strictly, because any plugin in the
//! process can write to the queue.
//!
//! A [`BatchWriter`] writes the series of a fold into items of the queue, and starts the next item before
//! the size limit is reached. [`Batch::decode`] decodes an item as the messages of
//! `proto/schema/batch.proto`, and `wire` checks and converts them. A [`Point`] is the change of one metric
//! in one series.

mod point;
mod wire;
mod writer;

pub use writer::BatchWriter;

use std::error::Error;
use std::fmt;

use prost::bytes::Bytes;

use crate::attributes::AttributesError;
use crate::exemplar::Exemplar;
use crate::exponential::ExponentialHistogram;
use crate::histogram::Histogram;
use crate::metric::{Metric, MetricError};

/// The checked contents of one flush of a producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The random number that identifies the producer.
    pub producer: u64,
    /// The sequence number of the batch, from 1.
    pub sequence: u64,
    /// The number of observations in all earlier batches of the producer.
    pub observed_before: u64,
    /// The keys of the shared-data counters to which the producer adds.
    pub counters: Vec<String>,
    /// The series, in groups of series that share their metrics.
    pub groups: Vec<Group>,
}

/// Series that share their metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The metrics, in the order of the points of each series.
    pub metrics: Vec<Metric>,
    /// The changes since the last flush.
    pub series: Vec<Series>,
}

/// The observations with one set of attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    /// Canonical attributes ([`crate::attributes::check`]), a slice of the decoded item.
    pub attributes: Bytes,
    /// The number of observations.
    pub observations: u64,
    /// The points, one for each metric of the group.
    pub points: Vec<Point>,
    /// Exemplars, each with the index of its point, in the order of the points. A histogram has at most one
    /// exemplar.
    pub exemplars: Vec<(usize, Exemplar)>,
}

/// The aggregated observations of one metric in one series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Point {
    /// The increase of a [`crate::metric::Kind::Counter`].
    Counter(u64),
    /// The change of a [`crate::metric::Kind::UpDownCounter`]: additions minus subtractions.
    UpDownCounter(i64),
    /// The values of a [`crate::metric::Kind::Histogram`], with one bucket more than bounds.
    Histogram(Histogram),
    /// The values of a [`crate::metric::Kind::Exponential`], with at most `max_size` buckets.
    Exponential(Box<ExponentialHistogram>),
}

/// Why an item of the queue is not a valid batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchError {
    /// The item is longer than [`crate::limits::BATCH_BYTES_MAX`].
    TooLong,
    /// The item is not an encoded message `Batch`.
    Malformed,
    /// The batch has the sequence number 0.
    NoSequence,
    /// The batch has too many groups, metrics or counters.
    TooMany,
    /// The key of a counter is invalid.
    CounterKey,
    /// A metric is invalid.
    Metric(MetricError),
    /// The attributes of a series are invalid.
    Attributes(AttributesError),
    /// The points of a series do not match the metrics.
    Points,
    /// An exemplar has no ids, does not belong to a histogram, or is out of order.
    Exemplars,
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "it is too long",
            Self::Malformed => "it is not a batch",
            Self::NoSequence => "it has the sequence number 0",
            Self::TooMany => "it has too many groups, metrics or counters",
            Self::CounterKey => "it has an invalid counter key",
            Self::Metric(error) => return write!(f, "it has {error}"),
            Self::Attributes(error) => return write!(f, "it has {error}"),
            Self::Points => "it has points that do not match their metrics",
            Self::Exemplars => "it has invalid exemplars",
        })
    }
}

impl Error for BatchError {}

impl Batch {
    /// Returns the number of observations in the batch.
    pub fn observations(&self) -> u64 {
        let series = self.groups.iter().flat_map(|group| &group.series);
        series.fold(0, |sum, series| sum.saturating_add(series.observations))
    }
}

#[cfg(test)]
mod tests;
