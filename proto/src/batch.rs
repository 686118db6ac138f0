//! What a worker hands to the service: reading it strictly, since any plugin in the process can write to the queue.

mod point;
mod writer;

pub use writer::BatchWriter;

use prost::Message;

use crate::attributes::{self, AttributesError};
use crate::counter;
use crate::exemplar::Exemplar;
use crate::exponential::ExponentialHistogram;
use crate::generated::batch as wire;
use crate::histogram::Histogram;
use crate::limits::{BATCH_BYTES_MAX, COUNTERS_MAX, GROUPS_MAX, METRICS_MAX};
use crate::metric::{Kind, Metric, MetricError};

/// One hand-over of one producer, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Random per worker VM.
    pub producer: u64,
    /// 1, then one more each time.
    pub sequence: u64,
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
    /// Canonical ([`attributes::decode`]).
    pub attributes: Vec<u8>,
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
    /// For [`Kind::Counter`].
    Counter(u64),
    /// For [`Kind::UpDownCounter`]: what was added less what was taken away.
    UpDownCounter(i64),
    /// For [`Kind::Histogram`], with as many buckets as its bounds make.
    Histogram(Histogram),
    /// For [`Kind::Exponential`], with at most as many buckets as it allows.
    Exponential(ExponentialHistogram),
}

/// Why the service refuses a message: nothing of it is taken then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchError {
    /// Longer than [`BATCH_BYTES_MAX`].
    TooLong,
    /// Not a Batch.
    Malformed,
    /// A sequence starts with 1.
    NoSequence,
    /// More groups, metrics or counters than their limits, or a counter key that is none.
    TooMany,
    /// A metric that is none.
    Metric(MetricError),
    /// Attributes that are none.
    Attributes(AttributesError),
    /// Points that do not fit their metrics.
    Points,
    /// An exemplar without ids, of no histogram, or out of order.
    Exemplars,
}

impl Batch {
    /// As it travels through the queue; never empty, since a batch has a sequence.
    pub fn encode(&self) -> Vec<u8> {
        let groups = self.groups.iter().map(Group::to_wire).collect();
        let (producer, sequence, counters) = (self.producer, self.sequence, self.counters.clone());
        wire::Batch { producer, sequence, groups, counters }.encode_to_vec()
    }

    /// From the queue.
    pub fn decode(bytes: &[u8]) -> Result<Self, BatchError> {
        if bytes.len() > BATCH_BYTES_MAX {
            return Err(BatchError::TooLong);
        }
        let batch = wire::Batch::decode(bytes).map_err(|_| BatchError::Malformed)?;
        if batch.sequence == 0 {
            return Err(BatchError::NoSequence);
        }
        let key_fits = |key: &String| counter::is_key(key);
        if batch.groups.len() > GROUPS_MAX
            || batch.counters.len() > COUNTERS_MAX
            || !batch.counters.iter().all(key_fits)
        {
            return Err(BatchError::TooMany);
        }
        let groups = batch.groups.into_iter().map(Group::from_wire).collect::<Result<_, _>>()?;
        Ok(Self { producer: batch.producer, sequence: batch.sequence, counters: batch.counters, groups })
    }

    /// How many observations the batch carries.
    pub fn observations(&self) -> u64 {
        let series = self.groups.iter().flat_map(|group| &group.series);
        series.fold(0, |sum, series| sum.saturating_add(series.observations))
    }
}

impl Group {
    fn to_wire(&self) -> wire::Group {
        wire::Group {
            metrics: self.metrics.iter().map(Metric::to_wire).collect(),
            series: self.series.iter().map(Series::to_wire).collect(),
        }
    }

    fn from_wire(group: wire::Group) -> Result<Self, BatchError> {
        if group.metrics.len() > METRICS_MAX {
            return Err(BatchError::TooMany);
        }
        let metrics = group.metrics.into_iter().map(Metric::from_wire).collect::<Result<Vec<_>, _>>();
        let metrics = metrics.map_err(BatchError::Metric)?;
        let series = group.series.into_iter().map(|series| Series::from_wire(series, &metrics));
        let series = series.collect::<Result<_, _>>()?;
        Ok(Self { metrics, series })
    }
}

impl Series {
    fn to_wire(&self) -> wire::Series {
        let points = self.points.iter().map(Point::to_wire).collect();
        let exemplars = self.exemplars.iter().map(|(point, exemplar)| exemplar.to_wire(*point)).collect();
        let (attributes, observations) = (self.attributes.clone(), self.observations);
        wire::Series { attributes, observations, points, exemplars }
    }

    fn from_wire(series: wire::Series, metrics: &[Metric]) -> Result<Self, BatchError> {
        attributes::decode(&series.attributes).map_err(BatchError::Attributes)?;
        if series.points.len() != metrics.len() {
            return Err(BatchError::Points);
        }
        let points =
            series.points.into_iter().zip(metrics).map(|(point, metric)| Point::from_wire(point, metric));
        let points = points.collect::<Result<_, _>>()?;
        let exemplars = series.exemplars.into_iter().map(Exemplar::from_wire).collect::<Option<_>>();
        let series = Self {
            attributes: series.attributes,
            observations: series.observations,
            points,
            exemplars: exemplars.ok_or(BatchError::Exemplars)?,
        };
        if series.exemplars_fit() { Ok(series) } else { Err(BatchError::Exemplars) }
    }

    /// Whether each exemplar is of a histogram, and none is of the same or a later one than the exemplar after it.
    fn exemplars_fit(&self) -> bool {
        let ascending =
            self.exemplars.iter().zip(self.exemplars.iter().skip(1)).all(|((a, _), (b, _))| a < b);
        let of_histogram = |(point, _): &(usize, Exemplar)| {
            matches!(self.points.get(*point), Some(Point::Histogram(_) | Point::Exponential(_)))
        };
        ascending && self.exemplars.iter().all(of_histogram)
    }
}

impl Point {
    fn to_wire(&self) -> wire::Point {
        let value = match self {
            Point::Counter(count) => wire::point::Value::Counter(*count),
            Point::UpDownCounter(change) => wire::point::Value::UpDownCounter(*change),
            Point::Histogram(histogram) => wire::point::Value::Histogram(histogram.to_wire()),
            Point::Exponential(histogram) => wire::point::Value::ExponentialHistogram(histogram.to_wire()),
        };
        wire::Point { value: Some(value) }
    }

    fn from_wire(point: wire::Point, metric: &Metric) -> Result<Self, BatchError> {
        match (point.value, &metric.kind) {
            (Some(wire::point::Value::Counter(count)), Kind::Counter) => Ok(Point::Counter(count)),
            (Some(wire::point::Value::UpDownCounter(change)), Kind::UpDownCounter) => {
                Ok(Point::UpDownCounter(change))
            }
            (Some(wire::point::Value::Histogram(histogram)), Kind::Histogram { bounds })
                if histogram.buckets.len() == bounds.len().saturating_add(1) =>
            {
                Ok(Point::Histogram(Histogram::from_wire(histogram)))
            }
            (Some(wire::point::Value::ExponentialHistogram(histogram)), Kind::Exponential { max_size }) => {
                let read = ExponentialHistogram::from_wire(histogram, *max_size);
                read.map(Point::Exponential).map_err(|_| BatchError::Points)
            }
            _ => Err(BatchError::Points),
        }
    }
}

#[cfg(test)]
mod tests;
