//! OTLP in protobuf, and the request that OTLP in JSON writes out too.

use prost::Message;
use tributary_proto::attributes;
use tributary_proto::exponential::ExponentialHistogram;
use tributary_proto::histogram::Histogram;
use tributary_proto::metric::Metric;
use tributary_proto::otlp::{
    self, AggregationTemporality, DataPointFlags, ExportMetricsServiceRequest, Resource, exemplar,
    exponential_histogram_data_point::Buckets, metric, number_data_point,
};

use super::Encoded;
use crate::points::{DataPoint, Exemplar, Form, MetricPoints, Temporality, Value};

const SCOPE_NAME: &str = "tributary";

/// A request in protobuf.
pub(super) fn encode(resource: &Resource, metrics: &[MetricPoints<'_>]) -> Encoded {
    let (request, counted) = request(resource, metrics);
    Encoded { bytes: request.encode_to_vec(), ..counted }
}

/// A request, and how many points are in it and are not.
pub(super) fn request(
    resource: &Resource,
    metrics: &[MetricPoints<'_>],
) -> (ExportMetricsServiceRequest, Encoded) {
    let mut counted = Encoded::default();
    let metrics = metrics.iter().filter_map(|metric| series(metric, &mut counted)).collect();
    let scope = otlp::InstrumentationScope {
        name: SCOPE_NAME.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let scope_metrics = vec![otlp::ScopeMetrics { scope: Some(scope), metrics, schema_url: String::new() }];
    let resource = Some(resource.clone());
    let resource_metrics = vec![otlp::ResourceMetrics { resource, scope_metrics, schema_url: String::new() }];
    (ExportMetricsServiceRequest { resource_metrics }, counted)
}

fn series(points: &MetricPoints<'_>, counted: &mut Encoded) -> Option<otlp::Metric> {
    let (metric, form) = (points.metric, points.form());
    let fitting: Vec<&DataPoint<'_>> = points.points.iter().filter(|point| point.value.fits(form)).collect();
    let (all, fit) = (as_u64(points.points.len()), as_u64(fitting.len()));
    counted.points = counted.points.saturating_add(fit);
    counted.left_out = counted.left_out.saturating_add(all.saturating_sub(fit));
    if fitting.is_empty() {
        return None;
    }
    let aggregation_temporality = match points.temporality {
        Temporality::Cumulative => AggregationTemporality::Cumulative,
        Temporality::Delta => AggregationTemporality::Delta,
    };
    let aggregation_temporality = aggregation_temporality.into();
    let fitting = fitting.into_iter();
    let data = match form {
        Form::Sum => metric::Data::Sum(otlp::Sum {
            data_points: fitting.map(|point| number(metric, point)).collect(),
            aggregation_temporality,
            is_monotonic: true,
        }),
        Form::Gauge => metric::Data::Gauge(otlp::Gauge {
            data_points: fitting.map(|point| number(metric, point)).collect(),
        }),
        Form::Histogram { bounds } => {
            let bounds: Vec<f64> = bounds.iter().map(|bound| metric.in_unit((*bound).into())).collect();
            metric::Data::Histogram(otlp::Histogram {
                data_points: fitting.map(|point| histogram(metric, &bounds, point)).collect(),
                aggregation_temporality,
            })
        }
        Form::Exponential => metric::Data::ExponentialHistogram(otlp::ExponentialHistogram {
            data_points: fitting.map(|point| exponential(metric, point)).collect(),
            aggregation_temporality,
        }),
    };
    let (name, description, unit) = (metric.name.clone(), metric.description.clone(), metric.unit.clone());
    Some(otlp::Metric { name, description, unit, data: Some(data) })
}

fn number(metric: &Metric, point: &DataPoint<'_>) -> otlp::NumberDataPoint {
    use number_data_point::Value::{AsDouble, AsInt};
    let whole = metric.divisor == 1;
    let value = match &point.value {
        Value::Counter(count) if whole => Some(AsInt(i64::try_from(*count).unwrap_or(i64::MAX))),
        Value::Counter(count) => Some(AsDouble(metric.in_unit((*count).into()))),
        Value::Gauge(value) if whole => Some(AsInt(*value)),
        Value::Gauge(value) => Some(AsDouble(signed(metric, *value))),
        Value::Histogram(_) | Value::Exponential(_) | Value::NoRecordedValue => None,
    };
    otlp::NumberDataPoint {
        start_time_unix_nano: point.start_unix_nano,
        time_unix_nano: point.time_unix_nano,
        exemplars: exemplars(metric, point),
        value,
        attributes: attributes_of(point),
        flags: flags(point),
    }
}

fn histogram(metric: &Metric, bounds: &[f64], point: &DataPoint<'_>) -> otlp::HistogramDataPoint {
    let counted: Option<&Histogram> = match &point.value {
        Value::Histogram(histogram) => Some(histogram),
        _ => None,
    };
    let in_unit = |value: u64| metric.in_unit(value.into());
    otlp::HistogramDataPoint {
        start_time_unix_nano: point.start_unix_nano,
        time_unix_nano: point.time_unix_nano,
        count: counted.map_or(0, Histogram::count),
        sum: counted.map(|counted| metric.in_unit(counted.sum())),
        bucket_counts: counted.map(|counted| counted.buckets().to_vec()).unwrap_or_default(),
        explicit_bounds: if counted.is_some() { bounds.to_vec() } else { Vec::new() },
        exemplars: exemplars(metric, point),
        attributes: attributes_of(point),
        flags: flags(point),
        min: counted.and_then(Histogram::min).map(in_unit),
        max: counted.and_then(Histogram::max).map(in_unit),
    }
}

fn exponential(metric: &Metric, point: &DataPoint<'_>) -> otlp::ExponentialHistogramDataPoint {
    let counted: Option<&ExponentialHistogram> = match &point.value {
        Value::Exponential(histogram) => Some(histogram),
        _ => None,
    };
    let in_unit = |value: u64| metric.in_unit(value.into());
    let buckets = |counted: &ExponentialHistogram| Buckets {
        offset: counted.offset(),
        bucket_counts: counted.buckets().to_vec(),
    };
    otlp::ExponentialHistogramDataPoint {
        attributes: attributes_of(point),
        start_time_unix_nano: point.start_unix_nano,
        time_unix_nano: point.time_unix_nano,
        count: counted.map_or(0, ExponentialHistogram::count),
        sum: counted.map(|counted| metric.in_unit(counted.sum())),
        scale: counted.map_or(0, ExponentialHistogram::scale),
        zero_count: counted.map_or(0, ExponentialHistogram::zero_count),
        positive: counted.filter(|counted| !counted.buckets().is_empty()).map(buckets),
        flags: flags(point),
        exemplars: exemplars(metric, point),
        min: counted.and_then(ExponentialHistogram::min).map(in_unit),
        max: counted.and_then(ExponentialHistogram::max).map(in_unit),
    }
}

fn exemplars(metric: &Metric, point: &DataPoint<'_>) -> Vec<otlp::Exemplar> {
    let known = |id: &[u8]| if id.iter().all(|byte| *byte == 0) { Vec::new() } else { id.to_vec() };
    let exemplar = |exemplar: &Exemplar| otlp::Exemplar {
        time_unix_nano: exemplar.time_unix_nano,
        value: Some(match i64::try_from(exemplar.value) {
            Ok(value) if metric.divisor == 1 => exemplar::Value::AsInt(value),
            _ => exemplar::Value::AsDouble(metric.in_unit(exemplar.value.into())),
        }),
        span_id: known(&exemplar.span_id),
        trace_id: known(&exemplar.trace_id),
    };
    point.exemplars.iter().map(exemplar).collect()
}

/// The table holds what intake has read, so these bytes can be read.
fn attributes_of(point: &DataPoint<'_>) -> Vec<otlp::KeyValue> {
    attributes::decode(point.attributes).unwrap_or_default()
}

fn flags(point: &DataPoint<'_>) -> u32 {
    match point.value {
        Value::NoRecordedValue => DataPointFlags::NoRecordedValueMask as u32,
        Value::Counter(_) | Value::Gauge(_) | Value::Histogram(_) | Value::Exponential(_) => 0,
    }
}

/// A gauge's value as one of the unit.
pub(super) fn signed(metric: &Metric, value: i64) -> f64 {
    let size = metric.in_unit(value.unsigned_abs().into());
    if value < 0 { -size } else { size }
}

/// Counts of this machine fit: usize is at most 64 bits wide on every target there is.
pub(super) fn as_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
