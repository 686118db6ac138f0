//! Conversion between batches and protobuf messages (`schema/batch.proto`). Decoded messages are checked.

use prost::Message;
use prost::bytes::Bytes;

use super::{Batch, BatchError, Group, Point, Series};
use crate::exemplar::Exemplar;
use crate::exponential::ExponentialHistogram;
use crate::generated::batch as wire;
use crate::generated::batch::point::Value;
use crate::histogram::Histogram;
use crate::limits::{BATCH_BYTES_MAX, COUNTERS_MAX, GROUP_METRICS_MAX, GROUPS_MAX};
use crate::metric::{Kind, Metric};
use crate::{attributes, counter};

#[cfg(target_pointer_width = "32")]
const _: () = assert!(
    size_of::<wire::Point>() <= 64 && size_of::<wire::Metric>() <= 64 && size_of::<wire::Series>() <= 64,
    "the memory of decoding depends on these sizes"
);

impl Batch {
    /// Encodes the batch for the queue. The result is never empty, because a sequence number is not 0.
    pub fn encode(&self) -> Vec<u8> {
        let batch = wire::Batch {
            producer: self.producer,
            sequence: self.sequence,
            groups: self.groups.iter().map(Group::to_wire).collect(),
            counters: self.counters.clone(),
            observed_before: self.observed_before,
        };
        batch.encode_to_vec()
    }

    /// Decodes and checks an item of the queue. The attributes of series are slices of the item.
    ///
    /// Decoding allocates at most 24 MiB. An item of [`BATCH_BYTES_MAX`] can consist of empty points or
    /// metrics. Each takes 2 bytes in the item and 64 bytes when decoded, and a growing list needs half as
    /// much again.
    pub fn decode(item: Vec<u8>) -> Result<Self, BatchError> {
        if item.len() > BATCH_BYTES_MAX {
            return Err(BatchError::TooLong);
        }
        let batch = wire::Batch::decode(Bytes::from(item)).map_err(|_| BatchError::Malformed)?;
        if batch.sequence == 0 {
            return Err(BatchError::NoSequence);
        }
        if batch.groups.len() > GROUPS_MAX || batch.counters.len() > COUNTERS_MAX {
            return Err(BatchError::TooMany);
        }
        if !batch.counters.iter().all(|key| counter::is_key(key)) {
            return Err(BatchError::CounterKey);
        }
        Ok(Self {
            producer: batch.producer,
            sequence: batch.sequence,
            observed_before: batch.observed_before,
            counters: batch.counters,
            groups: batch.groups.into_iter().map(Group::from_wire).collect::<Result<_, _>>()?,
        })
    }
}

impl Group {
    /// Converts the group to a message.
    pub fn to_wire(&self) -> wire::Group {
        wire::Group {
            metrics: self.metrics.iter().map(Metric::to_wire).collect(),
            series: self.series.iter().map(Series::to_wire).collect(),
        }
    }

    /// Converts a message to a group, and checks it.
    pub fn from_wire(wire: wire::Group) -> Result<Self, BatchError> {
        if wire.metrics.len() > GROUP_METRICS_MAX {
            return Err(BatchError::TooMany);
        }
        let metrics = wire.metrics.into_iter().map(Metric::from_wire);
        let metrics: Vec<_> = metrics.collect::<Result<_, _>>().map_err(BatchError::Metric)?;
        let series = wire.series.into_iter().map(|series| Series::from_wire(series, &metrics));
        Ok(Self { series: series.collect::<Result<_, _>>()?, metrics })
    }
}

impl Series {
    fn to_wire(&self) -> wire::Series {
        let exemplars = self.exemplars.iter().map(|(point, exemplar)| exemplar.to_wire(*point));
        wire::Series {
            attributes: self.attributes.clone(),
            observations: self.observations,
            points: self.points.iter().map(Point::to_wire).collect(),
            exemplars: exemplars.collect(),
        }
    }

    fn from_wire(wire: wire::Series, metrics: &[Metric]) -> Result<Self, BatchError> {
        attributes::check(&wire.attributes).map_err(BatchError::Attributes)?;
        if wire.points.len() != metrics.len() {
            return Err(BatchError::Points);
        }
        let points = wire.points.into_iter().zip(metrics);
        let points = points.map(|(point, metric)| Point::from_wire(point, metric).ok_or(BatchError::Points));
        let exemplars = wire.exemplars.into_iter().map(Exemplar::from_wire);
        let series = Self {
            attributes: wire.attributes,
            observations: wire.observations,
            points: points.collect::<Result<_, _>>()?,
            exemplars: exemplars.collect::<Option<_>>().ok_or(BatchError::Exemplars)?,
        };
        // At most one exemplar for each histogram, in the order of the points.
        let of_histogram = |(point, _): &(usize, Exemplar)| {
            matches!(series.points.get(*point), Some(Point::Histogram(_) | Point::Exponential(_)))
        };
        let is_valid = series.exemplars.is_sorted_by(|(a, _), (b, _)| a < b)
            && series.exemplars.iter().all(of_histogram);
        if is_valid { Ok(series) } else { Err(BatchError::Exemplars) }
    }
}

impl Point {
    /// Converts the point to a message.
    pub fn to_wire(&self) -> wire::Point {
        let mut wire = wire::Point::default();
        self.write_to(&mut wire);
        wire
    }

    /// Writes the point into a message. Reuses its list of buckets if it was a histogram.
    pub(super) fn write_to(&self, wire: &mut wire::Point) {
        let value = match (self, &mut wire.value) {
            (Self::Histogram(histogram), Some(Value::Histogram(wire))) => return histogram.write_to(wire),
            (Self::Histogram(histogram), _) => Value::Histogram(histogram.to_wire()),
            (Self::Exponential(histogram), _) => Value::ExponentialHistogram(histogram.to_wire()),
            (Self::Counter(count), _) => Value::Counter(*count),
            (Self::UpDownCounter(change), _) => Value::UpDownCounter(*change),
        };
        wire.value = Some(value);
    }

    fn from_wire(wire: wire::Point, metric: &Metric) -> Option<Self> {
        match (wire.value?, &metric.kind) {
            (Value::Counter(count), Kind::Counter) => Some(Self::Counter(count)),
            (Value::UpDownCounter(change), Kind::UpDownCounter) => Some(Self::UpDownCounter(change)),
            (Value::Histogram(histogram), Kind::Histogram { bounds }) => {
                let matches = histogram.buckets.len() == bounds.len().saturating_add(1);
                matches.then(|| Self::Histogram(Histogram::from_wire(histogram)))
            }
            (Value::ExponentialHistogram(histogram), Kind::Exponential { max_size }) => {
                let histogram = ExponentialHistogram::from_wire(histogram, *max_size)?;
                Some(Self::Exponential(Box::new(histogram)))
            }
            _ => None,
        }
    }
}
