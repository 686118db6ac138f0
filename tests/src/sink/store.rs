//! What a sink knows after all it has received: the state of every series, checked point by point.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, DataPointFlags, HistogramDataPoint, Metric, NumberDataPoint, metric::Data,
    number_data_point,
};

use crate::metrics::{AttributeValue, Attributes, Histogram, HistogramPoint, NumberPoint, matches, to_count};

const INSTANCE_KEY: &str = "service.instance.id";

/// The series of everything received and accepted.
///
/// Cumulative points replace their predecessor, those of a new start time continue it, and delta points add up:
/// in each case a series has the total of what was measured.
#[derive(Debug, Clone, Default)]
pub struct Store {
    series: BTreeMap<Key, Series>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    metric: String,
    instance: String,
    attributes: Attributes,
}

#[derive(Debug, Clone)]
struct Series {
    /// Deltas, and cumulative points of earlier start times.
    finished: Option<Value>,
    /// The latest cumulative point, with its start and its own time.
    current: Option<(u64, u64, Value)>,
}

#[derive(Debug, Clone, PartialEq)]
enum Value {
    Int(i64),
    Double(f64),
    Histogram(Histogram),
}

/// How the points of a metric follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Gauge,
    Delta,
    Cumulative { monotonic: bool },
}

struct Point {
    attributes: Vec<KeyValue>,
    start: u64,
    time: u64,
    flags: u32,
    /// None if the point says that there is no value.
    value: Option<Value>,
}

impl Store {
    /// The sum of the values of all series of the metric `name` that have the attributes `wanted`; 0 without any.
    pub fn sum(&self, name: &str, wanted: &[(&str, &str)]) -> u64 {
        let points = self.number_points(name).into_iter();
        points.filter(|point| matches(&point.attributes, wanted)).map(|point| to_count(point.value)).sum()
    }

    /// The sum of the counts of all series of the histogram `name` that have the attributes `wanted`.
    pub fn count(&self, name: &str, wanted: &[(&str, &str)]) -> u64 {
        let points = self.histogram_points(name).into_iter();
        points.filter(|point| matches(&point.attributes, wanted)).map(|point| point.histogram.count).sum()
    }

    /// Every series of the sum or gauge `name`.
    pub fn number_points(&self, name: &str) -> Vec<NumberPoint> {
        let point = |(key, value): (&Key, Value)| {
            let value = value.number()?;
            Some(NumberPoint { instance: key.instance.clone(), attributes: key.attributes.clone(), value })
        };
        self.totals(name).filter_map(point).collect()
    }

    /// Every series of the histogram `name`.
    pub fn histogram_points(&self, name: &str) -> Vec<HistogramPoint> {
        let point = |(key, value): (&Key, Value)| {
            let Value::Histogram(histogram) = value else { return None };
            let (instance, attributes) = (key.instance.clone(), key.attributes.clone());
            Some(HistogramPoint { instance, attributes, histogram })
        };
        self.totals(name).filter_map(point).collect()
    }

    /// The names of all metrics, each with the number of its series.
    pub fn metrics(&self) -> BTreeMap<&str, usize> {
        let mut metrics = BTreeMap::new();
        for key in self.series.keys() {
            *metrics.entry(key.metric.as_str()).or_default() += 1;
        }
        metrics
    }

    fn totals<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a Key, Value)> {
        let named = self.series.iter().filter(move |(key, _)| key.metric == name);
        named.filter_map(|(key, series)| Some((key, series.total()?)))
    }

    /// Takes all points of a request, or none: the error names the first point that cannot be right.
    pub(super) fn take(&mut self, request: &ExportMetricsServiceRequest) -> Result<()> {
        let mut next = self.clone();
        let mut seen = BTreeMap::new();
        for resource_metrics in &request.resource_metrics {
            let resource = resource_metrics.resource.as_ref();
            let resource =
                attributes(resource.map(|resource| resource.attributes.as_slice()).unwrap_or_default())?;
            let instance = resource.get(INSTANCE_KEY).map(ToString::to_string).unwrap_or_default();
            for metric in resource_metrics.scope_metrics.iter().flat_map(|scope| &scope.metrics) {
                let (kind, points) = points(metric).with_context(|| format!("metric {:?}", metric.name))?;
                for point in points {
                    let (metric, instance) = (metric.name.clone(), instance.clone());
                    let key = Key { metric, instance, attributes: attributes(&point.attributes)? };
                    ensure!(seen.insert(key.clone(), ()).is_none(), "{key:?} is twice in one request");
                    next.put(key.clone(), kind, point).with_context(|| format!("{key:?}"))?;
                }
            }
        }
        *self = next;
        Ok(())
    }

    fn put(&mut self, key: Key, kind: Kind, point: Point) -> Result<()> {
        ensure!(point.time >= point.start, "its time {} is before its start {}", point.time, point.start);
        let no_value = point.flags & u32::from(DataPointFlags::NoRecordedValueMask as u16) != 0;
        ensure!(
            no_value == point.value.is_none(),
            "a value and the flag that there is none exclude each other"
        );
        let Some(value) = point.value else { return Ok(()) };
        value.check()?;
        let series = self.series.entry(key).or_insert(Series { finished: None, current: None });
        match kind {
            Kind::Gauge => series.current = Some((point.start, point.time, value)),
            Kind::Delta => series.finish(value)?,
            Kind::Cumulative { monotonic } => {
                if let Some((start, time, previous)) = series.current.take() {
                    ensure!(point.start >= start && point.time >= time, "it is older than its predecessor");
                    if point.start > start {
                        series.finish(previous)?;
                    } else {
                        ensure!(
                            !monotonic || !value.is_below(&previous),
                            "{value:?} comes after {previous:?}"
                        );
                    }
                }
                series.current = Some((point.start, point.time, value));
            }
        }
        Ok(())
    }
}

impl Series {
    fn total(&self) -> Option<Value> {
        let current = self.current.as_ref().map(|(_, _, value)| value.clone());
        match (&self.finished, current) {
            // Both went through `finish` or are of one metric; what cannot be added was refused before.
            (Some(finished), Some(current)) => finished.clone().plus(&current).ok(),
            (Some(finished), None) => Some(finished.clone()),
            (None, current) => current,
        }
    }

    fn finish(&mut self, value: Value) -> Result<()> {
        self.finished = Some(match self.finished.take() {
            Some(finished) => finished.plus(&value)?,
            None => value,
        });
        Ok(())
    }
}

impl Value {
    fn check(&self) -> Result<()> {
        let Self::Histogram(Histogram { count, bounds, buckets, .. }) = self else { return Ok(()) };
        ensure!(bounds.is_sorted_by(|a, b| a < b), "the bounds {bounds:?} do not rise");
        ensure!(buckets.len() == bounds.len() + 1, "{} buckets for {} bounds", buckets.len(), bounds.len());
        let in_buckets: u64 = buckets.iter().sum();
        ensure!(in_buckets == *count, "a count of {count}, but {in_buckets} in all buckets");
        Ok(())
    }

    fn plus(self, other: &Self) -> Result<Self> {
        Ok(match (self, other) {
            (Self::Int(a), Self::Int(b)) => Self::Int(a + b),
            (Self::Double(a), Self::Double(b)) => Self::Double(a + b),
            (Self::Histogram(mut a), Self::Histogram(b)) => {
                a.add(b)?;
                Self::Histogram(a)
            }
            (a, b) => bail!("{a:?} and {b:?} are of different kinds"),
        })
    }

    fn is_below(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => a < b,
            (Self::Double(a), Self::Double(b)) => a < b,
            (Self::Histogram(a), Self::Histogram(b)) => {
                a.count < b.count || a.buckets.iter().zip(&b.buckets).any(|(a, b)| a < b)
            }
            _ => true,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "sums in tests are far below 2^53")]
    fn number(&self) -> Option<f64> {
        match self {
            Self::Int(value) => Some(*value as f64),
            Self::Double(value) => Some(*value),
            Self::Histogram(_) => None,
        }
    }
}

fn points(metric: &Metric) -> Result<(Kind, Vec<Point>)> {
    let kind = |temporality, monotonic| match AggregationTemporality::try_from(temporality) {
        Ok(AggregationTemporality::Cumulative) => Ok(Kind::Cumulative { monotonic }),
        Ok(AggregationTemporality::Delta) => Ok(Kind::Delta),
        _ => bail!("temporality {temporality} is neither delta nor cumulative"),
    };
    match metric.data.as_ref() {
        Some(Data::Gauge(gauge)) => Ok((Kind::Gauge, gauge.data_points.iter().map(number).collect())),
        Some(Data::Sum(sum)) => {
            let kind = kind(sum.aggregation_temporality, sum.is_monotonic)?;
            Ok((kind, sum.data_points.iter().map(number).collect()))
        }
        Some(Data::Histogram(data)) => {
            let kind = kind(data.aggregation_temporality, true)?;
            Ok((kind, data.data_points.iter().map(histogram).collect()))
        }
        Some(other) => bail!("this sink does not read {other:?}"),
        None => bail!("it has no data"),
    }
}

fn number(point: &NumberDataPoint) -> Point {
    Point {
        attributes: point.attributes.clone(),
        start: point.start_time_unix_nano,
        time: point.time_unix_nano,
        flags: point.flags,
        value: point.value.map(|value| match value {
            number_data_point::Value::AsInt(value) => Value::Int(value),
            number_data_point::Value::AsDouble(value) => Value::Double(value),
        }),
    }
}

fn histogram(point: &HistogramDataPoint) -> Point {
    let has_value = !point.bucket_counts.is_empty();
    let histogram = Histogram {
        count: point.count,
        sum: point.sum.unwrap_or_default(),
        bounds: point.explicit_bounds.clone(),
        buckets: point.bucket_counts.clone(),
    };
    Point {
        attributes: point.attributes.clone(),
        start: point.start_time_unix_nano,
        time: point.time_unix_nano,
        flags: point.flags,
        value: has_value.then_some(Value::Histogram(histogram)),
    }
}

fn attributes(list: &[KeyValue]) -> Result<Attributes> {
    let mut attributes = Attributes::new();
    for attribute in list {
        let value = match attribute.value.as_ref().and_then(|value| value.value.as_ref()) {
            Some(any_value::Value::StringValue(text)) => AttributeValue::Text(text.clone()),
            Some(any_value::Value::IntValue(number)) => AttributeValue::Int(*number),
            Some(any_value::Value::BoolValue(truth)) => AttributeValue::Bool(*truth),
            other => AttributeValue::Other(format!("{other:?}")),
        };
        let previous = attributes.insert(attribute.key.clone(), value);
        ensure!(previous.is_none(), "the attribute {:?} is there twice", attribute.key);
    }
    Ok(attributes)
}
