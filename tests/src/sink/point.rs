//! Points of all kinds of metrics, converted from OpenTelemetry's own types.

use std::fmt;

use anyhow::{Context, Result, bail, ensure};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{
    self as otlp, AggregationTemporality, DataPointFlags, ExponentialHistogramDataPoint, HistogramDataPoint,
    Metric, NumberDataPoint, exponential_histogram_data_point, metric::Data, number_data_point,
};

use crate::metrics::{
    Attributes, ReceivedAttribute, ReceivedBuckets, ReceivedExemplar, ReceivedExponentialHistogram,
    ReceivedHistogram,
};

const TRACE_ID_BYTES: usize = 16;
const SPAN_ID_BYTES: usize = 8;

/// How consecutive points of a metric are related: the type and temporality of the metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SeriesKind {
    Gauge,
    Delta { monotonic: bool },
    Cumulative { monotonic: bool },
}

/// The time range of a point, in nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) start: u64,
    pub(super) time: u64,
}

#[derive(Debug)]
pub(super) struct ReceivedPoint {
    pub(super) attributes: Attributes,
    pub(super) window: Window,
    /// Whether the point has the flag `NO_RECORDED_VALUE`.
    pub(super) is_flagged: bool,
    pub(super) value: Option<ReceivedValue>,
    pub(super) exemplars: Vec<ReceivedExemplar>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum ReceivedValue {
    Int(i64),
    Double(f64),
    Histogram(ReceivedHistogram),
    Exponential(ReceivedExponentialHistogram),
}

impl fmt::Display for Window {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}..{}", self.start, self.time)
    }
}

impl ReceivedValue {
    /// Checks that the value is consistent.
    pub(super) fn check(&self) -> Result<()> {
        match self {
            Self::Int(_) | Self::Double(_) => Ok(()),
            Self::Exponential(histogram) => histogram.check(),
            Self::Histogram(ReceivedHistogram { count, bounds, buckets, .. }) => {
                ensure!(bounds.is_sorted_by(|a, b| a < b), "the bounds {bounds:?} do not ascend");
                let (bounds, counts) = (bounds.len(), buckets.len());
                ensure!(counts == bounds + 1, "{counts} buckets for {bounds} bounds");
                let in_buckets: u64 = buckets.iter().sum();
                ensure!(in_buckets == *count, "a count of {count}, but {in_buckets} in all buckets");
                Ok(())
            }
        }
    }

    pub(super) fn plus(self, other: &Self) -> Result<Self> {
        Ok(match (self, other) {
            (Self::Int(a), Self::Int(b)) => Self::Int(a + b),
            (Self::Double(a), Self::Double(b)) => Self::Double(a + b),
            (Self::Histogram(mut a), Self::Histogram(b)) => {
                a.add(b)?;
                Self::Histogram(a)
            }
            (Self::Exponential(mut a), Self::Exponential(b)) => {
                a.add(b)?;
                Self::Exponential(a)
            }
            (a, b) => bail!("{a:?} and {b:?} are of different kinds"),
        })
    }

    /// Returns whether this value is less than an earlier cumulative value.
    pub(super) fn is_below(&self, earlier: &Self) -> bool {
        match (self, earlier) {
            (Self::Int(now), Self::Int(then)) => now < then,
            (Self::Double(now), Self::Double(then)) => now < then,
            (Self::Histogram(now), Self::Histogram(then)) => {
                now.count < then.count || now.buckets.iter().zip(&then.buckets).any(|(now, then)| now < then)
            }
            (Self::Exponential(now), Self::Exponential(then)) => now.is_below(then),
            _ => true,
        }
    }

    pub(super) fn is_negative(&self) -> bool {
        match self {
            Self::Int(value) => *value < 0,
            Self::Double(value) => *value < 0.0,
            Self::Histogram(_) | Self::Exponential(_) => false,
        }
    }

    /// Returns the number; `None` if the value is a histogram.
    #[expect(clippy::cast_precision_loss, reason = "sums in tests are far below 2^53")]
    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Self::Int(value) => Some(*value as f64),
            Self::Double(value) => Some(*value),
            Self::Histogram(_) | Self::Exponential(_) => None,
        }
    }

    /// Returns the number of recorded values; `None` if the value is not a histogram.
    pub(super) fn count(&self) -> Option<u64> {
        match self {
            Self::Int(_) | Self::Double(_) => None,
            Self::Histogram(histogram) => Some(histogram.count),
            Self::Exponential(histogram) => Some(histogram.count),
        }
    }
}

/// Converts all points of a metric.
pub(super) fn points(metric: &Metric) -> Result<(SeriesKind, Vec<ReceivedPoint>)> {
    let kind = |temporality, monotonic| match AggregationTemporality::try_from(temporality) {
        Ok(AggregationTemporality::Cumulative) => Ok(SeriesKind::Cumulative { monotonic }),
        Ok(AggregationTemporality::Delta) => Ok(SeriesKind::Delta { monotonic }),
        _ => bail!("temporality {temporality} is neither delta nor cumulative"),
    };
    let (kind, points) = match metric.data.as_ref().context("it has no data")? {
        Data::Gauge(gauge) => (SeriesKind::Gauge, gauge.data_points.iter().map(number).collect()),
        Data::Sum(sum) => {
            let kind = kind(sum.aggregation_temporality, sum.is_monotonic)?;
            (kind, sum.data_points.iter().map(number).collect())
        }
        Data::Histogram(data) => {
            (kind(data.aggregation_temporality, true)?, data.data_points.iter().map(histogram).collect())
        }
        Data::ExponentialHistogram(data) => {
            (kind(data.aggregation_temporality, true)?, data.data_points.iter().map(exponential).collect())
        }
        other @ Data::Summary(_) => bail!("the sink does not support {other:?}"),
    };
    let points: Result<Vec<ReceivedPoint>> = points;
    Ok((kind, points?))
}

/// Converts attributes; fails on duplicate keys.
pub(super) fn attributes(list: &[KeyValue]) -> Result<Attributes> {
    let mut attributes = Attributes::new();
    for attribute in list {
        let value = match attribute.value.as_ref().and_then(|value| value.value.as_ref()) {
            Some(any_value::Value::StringValue(text)) => ReceivedAttribute::Text(text.clone()),
            Some(any_value::Value::IntValue(number)) => ReceivedAttribute::Int(*number),
            Some(any_value::Value::BoolValue(truth)) => ReceivedAttribute::Bool(*truth),
            other => ReceivedAttribute::Other(format!("{other:?}")),
        };
        let previous = attributes.insert(attribute.key.clone(), value);
        ensure!(previous.is_none(), "duplicate attribute {:?}", attribute.key);
    }
    Ok(attributes)
}

fn number(point: &NumberDataPoint) -> Result<ReceivedPoint> {
    Ok(ReceivedPoint {
        attributes: attributes(&point.attributes)?,
        window: Window { start: point.start_time_unix_nano, time: point.time_unix_nano },
        is_flagged: is_flagged(point.flags),
        value: point.value.map(|value| match value {
            number_data_point::Value::AsInt(value) => ReceivedValue::Int(value),
            number_data_point::Value::AsDouble(value) => ReceivedValue::Double(value),
        }),
        exemplars: exemplars(&point.exemplars)?,
    })
}

fn histogram(point: &HistogramDataPoint) -> Result<ReceivedPoint> {
    let is_empty = point.count == 0 && point.bucket_counts.is_empty();
    let histogram = ReceivedHistogram {
        count: point.count,
        sum: point.sum.unwrap_or_default(),
        bounds: point.explicit_bounds.clone(),
        buckets: point.bucket_counts.clone(),
    };
    let (min, max) = (point.min, point.max);
    ensure!(
        min.zip(max).is_none_or(|(min, max)| min <= max),
        "the minimum {min:?} is above the maximum {max:?}"
    );
    Ok(ReceivedPoint {
        attributes: attributes(&point.attributes)?,
        window: Window { start: point.start_time_unix_nano, time: point.time_unix_nano },
        is_flagged: is_flagged(point.flags),
        value: (!is_empty).then_some(ReceivedValue::Histogram(histogram)),
        exemplars: exemplars(&point.exemplars)?,
    })
}

fn exponential(point: &ExponentialHistogramDataPoint) -> Result<ReceivedPoint> {
    let buckets = |buckets: Option<&exponential_histogram_data_point::Buckets>| {
        buckets.map_or_else(ReceivedBuckets::default, |buckets| ReceivedBuckets {
            offset: buckets.offset,
            counts: buckets.bucket_counts.clone(),
        })
    };
    let histogram = ReceivedExponentialHistogram {
        count: point.count,
        sum: point.sum.unwrap_or_default(),
        min: point.min,
        max: point.max,
        scale: point.scale,
        zero_count: point.zero_count,
        zero_threshold: point.zero_threshold,
        positive: buckets(point.positive.as_ref()),
        negative: buckets(point.negative.as_ref()),
    };
    let is_flagged = is_flagged(point.flags);
    // Unlike with explicit bounds, an empty histogram without the flag is a valid value.
    let is_missing = is_flagged && histogram.count == 0 && histogram.zero_count == 0;
    let is_missing =
        is_missing && histogram.positive.counts.is_empty() && histogram.negative.counts.is_empty();
    Ok(ReceivedPoint {
        attributes: attributes(&point.attributes)?,
        window: Window { start: point.start_time_unix_nano, time: point.time_unix_nano },
        is_flagged,
        value: (!is_missing).then_some(ReceivedValue::Exponential(histogram)),
        exemplars: exemplars(&point.exemplars)?,
    })
}

fn is_flagged(flags: u32) -> bool {
    flags & u32::from(DataPointFlags::NoRecordedValueMask as u16) != 0
}

fn exemplars(list: &[otlp::Exemplar]) -> Result<Vec<ReceivedExemplar>> {
    list.iter().map(exemplar).collect()
}

fn exemplar(exemplar: &otlp::Exemplar) -> Result<ReceivedExemplar> {
    #[expect(clippy::cast_precision_loss, reason = "values in tests are far below 2^53")]
    let value = match exemplar.value.context("an exemplar has no value")? {
        otlp::exemplar::Value::AsDouble(value) => value,
        otlp::exemplar::Value::AsInt(value) => value as f64,
    };
    ensure!(exemplar.time_unix_nano > 0, "an exemplar has no time");
    Ok(ReceivedExemplar {
        value,
        time_unix_nano: exemplar.time_unix_nano,
        trace_id: hex(&exemplar.trace_id, TRACE_ID_BYTES).context("the trace id of an exemplar")?,
        span_id: hex(&exemplar.span_id, SPAN_ID_BYTES).context("the span id of an exemplar")?,
        attributes: attributes(&exemplar.filtered_attributes)?,
    })
}

/// Formats an id in hexadecimal digits; empty if there is no id.
fn hex(id: &[u8], bytes: usize) -> Result<String> {
    ensure!(id.is_empty() || id.len() == bytes, "{} bytes, not {bytes}", id.len());
    ensure!(id.is_empty() || id.iter().any(|byte| *byte != 0), "all bytes are zero");
    Ok(id.iter().map(|byte| format!("{byte:02x}")).collect())
}
