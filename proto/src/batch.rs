//! What a worker sends to the service. It is checked strictly, since any plugin in the process can write to the queue.

mod point;
mod wire;
mod writer;

pub use writer::BatchWriter;

use prost::bytes::Bytes;

use crate::attributes::AttributesError;
use crate::exemplar::Exemplar;
use crate::exponential::ExponentialHistogram;
use crate::histogram::Histogram;
use crate::metric::{Metric, MetricError};

/// One hand-over of one producer, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Random per worker VM.
    pub producer: u64,
    /// 1, then one more each time.
    pub sequence: u64,
    /// Observations in all batches of the producer before this one.
    pub observed_before: u64,
    /// Keys of the shared-data counters that the producer adds to.
    pub counters: Vec<String>,
    /// Series by the metrics that they share.
    pub groups: Vec<Group>,
}

/// Series that share their metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// What the points of each series measure, in their order.
    pub metrics: Vec<Metric>,
    /// Deltas since the last hand-over.
    pub series: Vec<Series>,
}

/// What was folded under one set of attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    /// Canonical ([`crate::attributes::check`]). A slice of the item that was decoded, without a copy.
    pub attributes: Bytes,
    /// How many observations were folded.
    pub observations: u64,
    /// One for each metric of the group.
    pub points: Vec<Point>,
    /// Observations among those folded, each with the place of its point: of each histogram one at most, in the order of
    /// the points.
    pub exemplars: Vec<(usize, Exemplar)>,
}

/// What was folded for one metric of one series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Point {
    /// For [`crate::metric::Kind::Counter`].
    Counter(u64),
    /// For [`crate::metric::Kind::UpDownCounter`]: what was added less what was taken away.
    UpDownCounter(i64),
    /// For [`crate::metric::Kind::Histogram`], with as many buckets as its bounds make.
    Histogram(Histogram),
    /// For [`crate::metric::Kind::Exponential`], with at most as many buckets as it allows.
    Exponential(Box<ExponentialHistogram>),
}

/// Why the service refuses an item of the queue as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchError {
    /// Longer than [`crate::limits::BATCH_BYTES_MAX`].
    TooLong,
    /// Not a message `Batch`.
    Malformed,
    /// A sequence starts with 1.
    NoSequence,
    /// More groups, metrics or counters than their limits, or an invalid counter key.
    TooMany,
    /// An invalid metric.
    Metric(MetricError),
    /// Attributes that are not canonical.
    Attributes(AttributesError),
    /// Points that do not fit their metrics.
    Points,
    /// An exemplar without ids, of no histogram, or out of order.
    Exemplars,
}

impl Batch {
    /// How many observations the batch carries.
    pub fn observations(&self) -> u64 {
        let series = self.groups.iter().flat_map(|group| &group.series);
        series.fold(0, |sum, series| sum.saturating_add(series.observations))
    }
}

#[cfg(test)]
mod tests;
