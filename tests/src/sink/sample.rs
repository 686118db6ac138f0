//! Requests for the unit tests of the sink.

use opentelemetry_proto::tonic::common::v1::any_value;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Histogram,
    HistogramDataPoint, Metric, NumberDataPoint, Sum, exemplar, exponential_histogram_data_point::Buckets,
    number_data_point,
};

pub(super) use crate::otlp::request;
use crate::otlp::{attribute, text};

pub(super) const COUNTER: &str = "tributary.counter";
pub(super) const DURATION: &str = "http.server.request.duration";
pub(super) const SIZE: &str = "http.server.response.body.size";
pub(super) const CUMULATIVE: i32 = AggregationTemporality::Cumulative as i32;
pub(super) const DELTA: i32 = AggregationTemporality::Delta as i32;

pub(super) fn counter(temporality: i32, start: u64, time: u64, value: i64) -> Metric {
    let point = NumberDataPoint {
        attributes: vec![text("key", "requests")],
        start_time_unix_nano: start,
        time_unix_nano: time,
        value: Some(number_data_point::Value::AsInt(value)),
        ..NumberDataPoint::default()
    };
    let sum = Sum { data_points: vec![point], aggregation_temporality: temporality, is_monotonic: true };
    Metric { name: COUNTER.to_owned(), data: Some(Data::Sum(sum)), ..Metric::default() }
}

pub(super) fn duration(time: u64, code: i64, buckets: [u64; 3]) -> Metric {
    let point = HistogramDataPoint {
        attributes: vec![
            text("http.route", "users"),
            attribute("http.response.status_code", any_value::Value::IntValue(code)),
        ],
        start_time_unix_nano: 1,
        time_unix_nano: time,
        count: buckets.iter().sum(),
        sum: Some(0.5),
        bucket_counts: buckets.to_vec(),
        explicit_bounds: vec![0.1, 1.0],
        ..HistogramDataPoint::default()
    };
    let histogram = Histogram { data_points: vec![point], aggregation_temporality: CUMULATIVE };
    Metric { name: DURATION.to_owned(), data: Some(Data::Histogram(histogram)), ..Metric::default() }
}

/// Makes an exponential histogram of scale 1 with one zero, positive buckets from index -1, and an
/// exemplar.
pub(super) fn size(temporality: i32, start: u64, time: u64, buckets: &[u64]) -> Metric {
    let exemplar = Exemplar {
        filtered_attributes: vec![text("user", "7")],
        time_unix_nano: time,
        trace_id: (1..=16).collect(),
        span_id: (1..=8).collect(),
        value: Some(exemplar::Value::AsDouble(1.5)),
    };
    let point = ExponentialHistogramDataPoint {
        attributes: vec![text("http.route", "users")],
        start_time_unix_nano: start,
        time_unix_nano: time,
        count: buckets.iter().sum::<u64>() + 1,
        sum: Some(0.5),
        scale: 1,
        zero_count: 1,
        positive: Some(Buckets { offset: -1, bucket_counts: buckets.to_vec() }),
        exemplars: vec![exemplar],
        min: Some(0.0),
        max: Some(4.0),
        ..ExponentialHistogramDataPoint::default()
    };
    let histogram = ExponentialHistogram { data_points: vec![point], aggregation_temporality: temporality };
    Metric { name: SIZE.to_owned(), data: Some(Data::ExponentialHistogram(histogram)), ..Metric::default() }
}

/// Makes the point that marks the series of [`counter`] as ended.
pub(super) fn ended(temporality: i32, start: u64, time: u64) -> Metric {
    let mut metric = counter(temporality, start, time, 0);
    if let Some(Data::Sum(sum)) = &mut metric.data {
        for point in &mut sum.data_points {
            (point.value, point.flags) = (None, 1);
        }
    }
    metric
}
