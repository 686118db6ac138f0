//! OTLP in JSON, by the letter: keys in lowerCamelCase, integers of 64 bits as text, ids in hexadecimal, enums as numbers
//! (opentelemetry-proto, `docs/specification.md`, "JSON Protobuf Encoding"). What has its default is left out.

mod json;

use tributary_proto::otlp::{
    self, AnyValue, KeyValue, Resource, any_value, exemplar, exponential_histogram_data_point::Buckets,
    metric, number_data_point,
};

use self::json::Json;
use super::Encoded;
use super::otlp::request;
use crate::points::MetricPoints;

/// A request in JSON.
pub(super) fn encode(resource: &Resource, metrics: &[MetricPoints<'_>]) -> Encoded {
    let (request, counted) = request(resource, metrics);
    let mut json = Json::default();
    json.object(|json| {
        json.array("resourceMetrics", &request.resource_metrics, |json, of_resource| {
            if let Some(resource) = &of_resource.resource {
                json.member("resource", |json| attributes(json, &resource.attributes));
            }
            json.array("scopeMetrics", &of_resource.scope_metrics, scope_metrics);
        });
    });
    Encoded { bytes: json.finish(), ..counted }
}

fn scope_metrics(json: &mut Json, of_scope: &otlp::ScopeMetrics) {
    if let Some(scope) = &of_scope.scope {
        json.member("scope", |json| {
            json.text("name", &scope.name);
            json.text("version", &scope.version);
        });
    }
    json.array("metrics", &of_scope.metrics, metric);
}

fn metric(json: &mut Json, metric: &otlp::Metric) {
    json.text("name", &metric.name);
    json.text("description", &metric.description);
    json.text("unit", &metric.unit);
    match &metric.data {
        Some(metric::Data::Gauge(gauge)) => {
            json.member("gauge", |json| json.array("dataPoints", &gauge.data_points, number));
        }
        Some(metric::Data::Sum(sum)) => json.member("sum", |json| {
            json.array("dataPoints", &sum.data_points, number);
            json.small("aggregationTemporality", sum.aggregation_temporality);
            json.truth("isMonotonic", sum.is_monotonic);
        }),
        Some(metric::Data::Histogram(histogram)) => json.member("histogram", |json| {
            json.array("dataPoints", &histogram.data_points, self::histogram);
            json.small("aggregationTemporality", histogram.aggregation_temporality);
        }),
        Some(metric::Data::ExponentialHistogram(histogram)) => {
            json.member("exponentialHistogram", |json| {
                json.array("dataPoints", &histogram.data_points, exponential);
                json.small("aggregationTemporality", histogram.aggregation_temporality);
            });
        }
        None => {}
    }
}

fn number(json: &mut Json, point: &otlp::NumberDataPoint) {
    attributes(json, &point.attributes);
    json.whole("startTimeUnixNano", point.start_time_unix_nano);
    json.whole("timeUnixNano", point.time_unix_nano);
    match point.value {
        Some(number_data_point::Value::AsInt(value)) => json.integer("asInt", value),
        Some(number_data_point::Value::AsDouble(value)) => json.double("asDouble", value),
        None => {}
    }
    json.array("exemplars", &point.exemplars, exemplar);
    json.small("flags", point.flags);
}

fn histogram(json: &mut Json, point: &otlp::HistogramDataPoint) {
    attributes(json, &point.attributes);
    json.whole("startTimeUnixNano", point.start_time_unix_nano);
    json.whole("timeUnixNano", point.time_unix_nano);
    json.whole("count", point.count);
    measured(json, point.sum, point.min, point.max);
    json.wholes("bucketCounts", &point.bucket_counts);
    json.doubles("explicitBounds", &point.explicit_bounds);
    json.array("exemplars", &point.exemplars, exemplar);
    json.small("flags", point.flags);
}

fn exponential(json: &mut Json, point: &otlp::ExponentialHistogramDataPoint) {
    attributes(json, &point.attributes);
    json.whole("startTimeUnixNano", point.start_time_unix_nano);
    json.whole("timeUnixNano", point.time_unix_nano);
    json.whole("count", point.count);
    measured(json, point.sum, point.min, point.max);
    json.small("scale", point.scale);
    json.whole("zeroCount", point.zero_count);
    if let Some(Buckets { offset, bucket_counts }) = &point.positive {
        json.member("positive", |json| {
            json.small("offset", *offset);
            json.wholes("bucketCounts", bucket_counts);
        });
    }
    json.array("exemplars", &point.exemplars, exemplar);
    json.small("flags", point.flags);
}

fn measured(json: &mut Json, sum: Option<f64>, min: Option<f64>, max: Option<f64>) {
    for (key, value) in [("sum", sum), ("min", min), ("max", max)] {
        if let Some(value) = value {
            json.double(key, value);
        }
    }
}

fn exemplar(json: &mut Json, exemplar: &otlp::Exemplar) {
    json.whole("timeUnixNano", exemplar.time_unix_nano);
    match exemplar.value {
        Some(exemplar::Value::AsInt(value)) => json.integer("asInt", value),
        Some(exemplar::Value::AsDouble(value)) => json.double("asDouble", value),
        None => {}
    }
    json.hex("traceId", &exemplar.trace_id);
    json.hex("spanId", &exemplar.span_id);
}

fn attributes(json: &mut Json, attributes: &[KeyValue]) {
    json.array("attributes", attributes, |json, attribute| {
        json.text("key", &attribute.key);
        if let Some(AnyValue { value: Some(value) }) = &attribute.value {
            json.member("value", |json| match value {
                any_value::Value::StringValue(text) => json.always_text("stringValue", text),
                any_value::Value::BoolValue(truth) => json.truth("boolValue", *truth),
                any_value::Value::IntValue(value) => json.integer("intValue", *value),
                any_value::Value::DoubleValue(value) => json.double("doubleValue", *value),
            });
        }
    });
}
