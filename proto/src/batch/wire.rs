//! A batch as bytes: the messages of `schema/batch.proto`, their fields by the numbers that they have there.

use super::{Batch, BatchError, Group, Point, Series};
use crate::attributes;
use crate::counter;
use crate::exemplar::Exemplar;
use crate::exponential::ExponentialHistogram;
use crate::generated::batch as wire;
use crate::histogram::{Histogram, halves};
use crate::limits::{BATCH_BYTES_MAX, COUNTERS_MAX, GROUPS_MAX, METRICS_MAX};
use crate::metric::{Kind, Metric};
use crate::protobuf::{Field, field, varints, write, zigzag};

/// `Batch.groups`.
pub(super) const BATCH_GROUPS: u32 = 3;
/// `Group.series`.
pub(super) const GROUP_SERIES: u32 = 2;

impl Batch {
    /// As it travels through the queue; never empty, since a batch has a sequence.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        head(&mut out, self.producer, self.sequence, &self.counters);
        for group in &self.groups {
            write::message(&mut out, BATCH_GROUPS, |out| {
                metrics(out, &group.metrics);
                for Series { attributes, observations, points, exemplars } in &group.series {
                    series(out, attributes, *observations, points, exemplars);
                }
            });
        }
        out
    }

    /// From the queue.
    pub fn decode(mut bytes: &[u8]) -> Result<Self, BatchError> {
        if bytes.len() > BATCH_BYTES_MAX {
            return Err(BatchError::TooLong);
        }
        let mut batch = Self { producer: 0, sequence: 0, counters: Vec::new(), groups: Vec::new() };
        while !bytes.is_empty() {
            match field(&mut bytes).ok_or(BatchError::Malformed)? {
                (1, Field::Fixed64(producer)) => batch.producer = producer,
                (2, Field::Varint(sequence)) => batch.sequence = sequence,
                (3, Field::Bytes(group)) => batch.groups.push(Group::decode(group)?),
                (4, Field::Bytes(key)) => {
                    batch
                        .counters
                        .push(text(key).filter(|key| counter::is_key(key)).ok_or(BatchError::TooMany)?);
                }
                (1..=4, _) => return Err(BatchError::Malformed),
                // A field of a later release.
                _ => {}
            }
            if batch.groups.len() > GROUPS_MAX || batch.counters.len() > COUNTERS_MAX {
                return Err(BatchError::TooMany);
            }
        }
        if batch.sequence == 0 { Err(BatchError::NoSequence) } else { Ok(batch) }
    }
}

/// What a batch has besides its groups.
pub(super) fn head(out: &mut Vec<u8>, producer: u64, sequence: u64, counters: &[String]) {
    write::fixed64(out, 1, producer.to_le_bytes());
    write::uint(out, 2, sequence);
    for key in counters {
        write::bytes(out, 4, key.as_bytes());
    }
}

/// The metrics of a group. They come before its series, which cannot be read without them.
pub(super) fn metrics(out: &mut Vec<u8>, metrics: &[Metric]) {
    for metric in metrics {
        let wire = metric.to_wire();
        write::message(out, 1, |out| {
            write::text(out, 1, &wire.name);
            write::text(out, 2, &wire.unit);
            write::text(out, 3, &wire.description);
            write::uint(out, 4, u64::from(wire.kind.unsigned_abs()));
            write::uint(out, 5, wire.divisor);
            write::uints(out, 6, wire.bounds.iter().copied());
            write::uint(out, 7, wire.max_size.into());
        });
    }
}

/// One series of a group.
pub(super) fn series(
    out: &mut Vec<u8>,
    attributes: &[u8],
    observations: u64,
    points: &[Point],
    exemplars: &[(usize, Exemplar)],
) {
    write::message(out, GROUP_SERIES, |out| {
        write::bytes(out, 1, attributes);
        write::uint(out, 2, observations);
        for value in points {
            write::message(out, 3, |out| point(out, value));
        }
        for (point, exemplar) in exemplars {
            let wire = exemplar.to_wire(*point);
            write::message(out, 4, |out| {
                write::uint(out, 1, wire.point.into());
                write::uint(out, 2, wire.value);
                write::fixed64(out, 3, wire.time_unix_nano.to_le_bytes());
                write::fixed64(out, 4, wire.trace_id_high.to_le_bytes());
                write::fixed64(out, 5, wire.trace_id_low.to_le_bytes());
                write::fixed64(out, 6, wire.span_id.to_le_bytes());
            });
        }
    });
}

fn point(out: &mut Vec<u8>, point: &Point) {
    match point {
        Point::Counter(count) => write::one_of_uints(out, 1, *count),
        Point::UpDownCounter(change) => write::one_of_uints(out, 4, zigzag::encode(*change)),
        Point::Histogram(histogram) => write::message(out, 2, |out| {
            sum(out, histogram.sum());
            write::uints(out, 3, histogram.buckets().iter().copied());
            extremes(out, (4, histogram.min()), (5, histogram.max()), histogram.count());
        }),
        Point::Exponential(histogram) => write::message(out, 3, |out| {
            sum(out, histogram.sum());
            write::sint(out, 3, histogram.scale().into());
            write::uint(out, 4, histogram.zero_count());
            write::sint(out, 5, histogram.offset().into());
            write::uints(out, 6, histogram.buckets().iter().copied());
            extremes(out, (7, histogram.min()), (8, histogram.max()), histogram.count());
        }),
    }
}

/// The two halves of a sum, as fields 1 and 2.
fn sum(out: &mut Vec<u8>, sum: u128) {
    let (low, high) = halves(sum);
    write::uint(out, 1, low);
    write::uint(out, 2, high);
}

/// Of no values they are not looked at; of some whose extremes are not known, they are the wrong way round.
fn extremes(out: &mut Vec<u8>, min: (u32, Option<u64>), max: (u32, Option<u64>), count: u64) {
    let unknown = if count > 0 { u64::MAX } else { 0 };
    write::uint(out, min.0, min.1.unwrap_or(unknown));
    write::uint(out, max.0, max.1.unwrap_or(0));
}

impl Group {
    fn decode(mut bytes: &[u8]) -> Result<Self, BatchError> {
        let mut group = Self { metrics: Vec::new(), series: Vec::new() };
        while !bytes.is_empty() {
            match field(&mut bytes).ok_or(BatchError::Malformed)? {
                (1, Field::Bytes(_)) if group.metrics.len() >= METRICS_MAX => {
                    return Err(BatchError::TooMany);
                }
                (1, Field::Bytes(bytes)) => {
                    let metric = metric(bytes).ok_or(BatchError::Malformed)?;
                    group.metrics.push(Metric::from_wire(metric).map_err(BatchError::Metric)?);
                }
                (2, Field::Bytes(bytes)) => group.series.push(Series::decode(bytes, &group.metrics)?),
                (1 | 2, _) => return Err(BatchError::Malformed),
                _ => {}
            }
        }
        // A metric that came behind a series has no point in it.
        let fits = |series: &Series| series.points.len() == group.metrics.len();
        if group.series.iter().all(fits) { Ok(group) } else { Err(BatchError::Points) }
    }
}

fn metric(mut bytes: &[u8]) -> Option<wire::Metric> {
    let mut metric = wire::Metric::default();
    while !bytes.is_empty() {
        match field(&mut bytes)? {
            (1, Field::Bytes(name)) => metric.name = text(name)?,
            (2, Field::Bytes(unit)) => metric.unit = text(unit)?,
            (3, Field::Bytes(description)) => metric.description = text(description)?,
            (4, Field::Varint(kind)) => metric.kind = i32::try_from(kind).ok()?,
            (5, Field::Varint(divisor)) => metric.divisor = divisor,
            (6, Field::Bytes(packed)) => metric.bounds = varints(packed)?,
            (7, Field::Varint(size)) => metric.max_size = u32::try_from(size).ok()?,
            (1..=7, _) => return None,
            _ => {}
        }
    }
    Some(metric)
}

impl Series {
    fn decode(mut bytes: &[u8], metrics: &[Metric]) -> Result<Self, BatchError> {
        let points = Vec::with_capacity(metrics.len());
        let mut series = Self { attributes: Vec::new(), observations: 0, points, exemplars: Vec::new() };
        while !bytes.is_empty() {
            match field(&mut bytes).ok_or(BatchError::Malformed)? {
                (1, Field::Bytes(bytes)) => series.attributes = bytes.to_vec(),
                (2, Field::Varint(observations)) => series.observations = observations,
                (3, Field::Bytes(bytes)) => {
                    let metric = metrics.get(series.points.len()).ok_or(BatchError::Points)?;
                    series.points.push(Point::decode(bytes, metric)?);
                }
                (4, Field::Bytes(bytes)) => {
                    let exemplar = exemplar(bytes).ok_or(BatchError::Malformed)?;
                    series.exemplars.push(Exemplar::from_wire(exemplar).ok_or(BatchError::Exemplars)?);
                }
                (1..=4, _) => return Err(BatchError::Malformed),
                _ => {}
            }
        }
        if series.points.len() != metrics.len() {
            return Err(BatchError::Points);
        }
        attributes::check(&series.attributes).map_err(BatchError::Attributes)?;
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
    fn decode(mut bytes: &[u8], metric: &Metric) -> Result<Self, BatchError> {
        let mut point = None;
        while !bytes.is_empty() {
            let field = field(&mut bytes).ok_or(BatchError::Malformed)?;
            point = Some(match (field, &metric.kind) {
                ((1, Field::Varint(count)), Kind::Counter) => Point::Counter(count),
                ((4, Field::Varint(change)), Kind::UpDownCounter) => {
                    Point::UpDownCounter(zigzag::decode(change))
                }
                ((2, Field::Bytes(bytes)), Kind::Histogram { bounds }) => {
                    let histogram = histogram(bytes).ok_or(BatchError::Malformed)?;
                    if histogram.buckets.len() != bounds.len().saturating_add(1) {
                        return Err(BatchError::Points);
                    }
                    Point::Histogram(Histogram::from_wire(histogram))
                }
                ((3, Field::Bytes(bytes)), Kind::Exponential { max_size }) => {
                    let histogram = exponential(bytes).ok_or(BatchError::Malformed)?;
                    let read = ExponentialHistogram::from_wire(histogram, *max_size);
                    Point::Exponential(Box::new(read.map_err(|_| BatchError::Points)?))
                }
                _ => return Err(BatchError::Points),
            });
        }
        point.ok_or(BatchError::Points)
    }
}

fn histogram(mut bytes: &[u8]) -> Option<wire::Histogram> {
    let mut histogram = wire::Histogram::default();
    while !bytes.is_empty() {
        match field(&mut bytes)? {
            (1, Field::Varint(low)) => histogram.sum_low = low,
            (2, Field::Varint(high)) => histogram.sum_high = high,
            (3, Field::Bytes(packed)) => histogram.buckets = varints(packed)?,
            (4, Field::Varint(min)) => histogram.min = min,
            (5, Field::Varint(max)) => histogram.max = max,
            (1..=5, _) => return None,
            _ => {}
        }
    }
    Some(histogram)
}

fn exponential(mut bytes: &[u8]) -> Option<wire::ExponentialHistogram> {
    let mut histogram = wire::ExponentialHistogram::default();
    while !bytes.is_empty() {
        match field(&mut bytes)? {
            (1, Field::Varint(low)) => histogram.sum_low = low,
            (2, Field::Varint(high)) => histogram.sum_high = high,
            (3, Field::Varint(scale)) => histogram.scale = i32::try_from(zigzag::decode(scale)).ok()?,
            (4, Field::Varint(count)) => histogram.zero_count = count,
            (5, Field::Varint(offset)) => histogram.offset = i32::try_from(zigzag::decode(offset)).ok()?,
            (6, Field::Bytes(packed)) => histogram.buckets = varints(packed)?,
            (7, Field::Varint(min)) => histogram.min = min,
            (8, Field::Varint(max)) => histogram.max = max,
            (1..=8, _) => return None,
            _ => {}
        }
    }
    Some(histogram)
}

fn exemplar(mut bytes: &[u8]) -> Option<wire::Exemplar> {
    let mut exemplar = wire::Exemplar::default();
    while !bytes.is_empty() {
        match field(&mut bytes)? {
            (1, Field::Varint(point)) => exemplar.point = u32::try_from(point).ok()?,
            (2, Field::Varint(value)) => exemplar.value = value,
            (3, Field::Fixed64(time)) => exemplar.time_unix_nano = time,
            (4, Field::Fixed64(high)) => exemplar.trace_id_high = high,
            (5, Field::Fixed64(low)) => exemplar.trace_id_low = low,
            (6, Field::Fixed64(span_id)) => exemplar.span_id = span_id,
            (1..=6, _) => return None,
            _ => {}
        }
    }
    Some(exemplar)
}

fn text(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).ok().map(str::to_owned)
}
