//! What a worker hands to the service: reading it strictly, since any plugin in the process can write to the queue.

mod point;
mod writer;

pub use writer::BatchWriter;

use prost::Message;

use crate::attributes::{self, AttributesError};
use crate::counter;
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
}

/// What was folded for one metric of one series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Point {
    /// For [`Kind::Counter`].
    Counter(u64),
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
        wire::Series { attributes: self.attributes.clone(), observations: self.observations, points }
    }

    fn from_wire(series: wire::Series, metrics: &[Metric]) -> Result<Self, BatchError> {
        attributes::decode(&series.attributes).map_err(BatchError::Attributes)?;
        if series.points.len() != metrics.len() {
            return Err(BatchError::Points);
        }
        let points =
            series.points.into_iter().zip(metrics).map(|(point, metric)| Point::from_wire(point, metric));
        let points = points.collect::<Result<_, _>>()?;
        Ok(Self { attributes: series.attributes, observations: series.observations, points })
    }
}

impl Point {
    fn to_wire(&self) -> wire::Point {
        let value = match self {
            Point::Counter(count) => wire::point::Value::Counter(*count),
            Point::Histogram(histogram) => wire::point::Value::Histogram(histogram.to_wire()),
            Point::Exponential(histogram) => wire::point::Value::ExponentialHistogram(histogram.to_wire()),
        };
        wire::Point { value: Some(value) }
    }

    fn from_wire(point: wire::Point, metric: &Metric) -> Result<Self, BatchError> {
        match (point.value, &metric.kind) {
            (Some(wire::point::Value::Counter(count)), Kind::Counter) => Ok(Point::Counter(count)),
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
mod tests {
    use super::*;

    fn batch() -> Batch {
        let bounds: Box<[u64]> = [10, 20].into();
        let mut histogram = Histogram::new(bounds.len());
        histogram.record(15, &bounds);
        let mut exponential = ExponentialHistogram::new(8);
        exponential.record(15, 1);
        let metric = |name: &str, kind| Metric {
            name: name.into(),
            unit: "s".into(),
            description: String::new(),
            divisor: 1,
            kind,
        };
        Batch {
            producer: 7,
            sequence: 1,
            counters: vec!["requests".into()],
            groups: vec![Group {
                metrics: vec![
                    metric("count", Kind::Counter),
                    metric("duration", Kind::Histogram { bounds }),
                    metric("size", Kind::Exponential { max_size: 8 }),
                ],
                series: vec![Series {
                    attributes: attributes::encode(vec![attributes::text("route", "a")]),
                    observations: 1,
                    points: vec![
                        Point::Counter(1),
                        Point::Histogram(histogram),
                        Point::Exponential(exponential),
                    ],
                }],
            }],
        }
    }

    #[test]
    fn a_batch_survives_the_queue() {
        assert_eq!(Batch::decode(&batch().encode()), Ok(batch()));
        assert_eq!(batch().observations(), 1);
    }

    #[test]
    fn a_batch_is_never_empty_bytes() {
        let least = Batch { producer: 0, sequence: 1, counters: vec![], groups: vec![] };
        assert!(!least.encode().is_empty(), "a queue cannot carry an empty item apart from having none");
    }

    #[test]
    fn a_forged_batch_is_refused_whole() {
        let forged = |change: fn(&mut Batch)| {
            let mut batch = batch();
            change(&mut batch);
            Batch::decode(&batch.encode())
        };
        for (result, expected) in [
            (forged(|b| b.sequence = 0), BatchError::NoSequence),
            (forged(|b| b.counters = vec![String::new()]), BatchError::TooMany),
            (forged(|b| b.counters = vec!["k".into(); COUNTERS_MAX + 1]), BatchError::TooMany),
            (
                forged(|b| b.groups[0].series[0].attributes = vec![0xff]),
                BatchError::Attributes(AttributesError::Malformed),
            ),
            (forged(|b| b.groups[0].series[0].points.truncate(1)), BatchError::Points),
            (forged(|b| b.groups[0].series[0].points.swap(0, 1)), BatchError::Points),
            (
                forged(|b| b.groups[0].series[0].points[1] = Point::Histogram(Histogram::new(9))),
                BatchError::Points,
            ),
            (
                forged(|b| {
                    let mut wide = ExponentialHistogram::new(9);
                    [1, u64::MAX].iter().for_each(|value| wide.record(*value, 1));
                    b.groups[0].series[0].points[2] = Point::Exponential(wide);
                    b.groups[0].metrics[2].kind = Kind::Exponential { max_size: 2 };
                }),
                BatchError::Points,
            ),
            (forged(|b| b.groups[0].series[0].points.swap(1, 2)), BatchError::Points),
            (forged(|b| b.groups[0].metrics[0].divisor = 0), BatchError::Metric(MetricError::Divisor)),
            (Batch::decode(b"\xff"), BatchError::Malformed),
            (Batch::decode(&vec![0; BATCH_BYTES_MAX + 1]), BatchError::TooLong),
        ] {
            assert_eq!(result, Err(expected));
        }
    }
}
