//! OTLP in protobuf and in JSON, with the crate `opentelemetry-proto`.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::{Metric, metric::Data, number_data_point::Value};
use prost::Message;

use super::*;

/// Returns the metrics of all resources and scopes.
pub(super) fn all_metrics(request: ExportMetricsServiceRequest) -> Vec<Metric> {
    let scopes = request.resource_metrics.into_iter().flat_map(|resource| resource.scope_metrics);
    scopes.flat_map(|scope| scope.metrics).collect()
}

pub(super) fn from_protobuf(bytes: &[u8]) -> ExportMetricsServiceRequest {
    ExportMetricsServiceRequest::decode(bytes).unwrap()
}

pub(super) fn from_json(bytes: &[u8]) -> ExportMetricsServiceRequest {
    serde_json::from_slice(bytes)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(bytes)))
}

fn metrics(request: &ExportMetricsServiceRequest) -> &[Metric] {
    let [resource] = request.resource_metrics.as_slice() else { panic!("one resource") };
    let [scope] = resource.scope_metrics.as_slice() else { panic!("one scope") };
    &scope.metrics
}

fn versionless(bytes: Vec<u8>) -> Vec<u8> {
    let version = format!("\"version\":\"{}\"", env!("CARGO_PKG_VERSION"));
    String::from_utf8(bytes).unwrap().replace(&version, "\"version\":\"0.0.0\"").into_bytes()
}

#[test]
fn a_collector_decodes_every_kind_of_point() {
    let request = from_protobuf(&example().encode(Encoding::OtlpProtobuf).bytes);
    let [bytes, busy, energy, classic, exponential] = metrics(&request) else { panic!("five metrics") };

    let Some(Data::Sum(sum)) = &bytes.data else { panic!("a sum") };
    assert!(sum.is_monotonic && sum.aggregation_temporality == 2);
    let [counting, ended] = sum.data_points.as_slice() else { panic!("two points") };
    assert_eq!(counting.value, Some(Value::AsInt(i64::MAX)), "clamped, never wrapped to a negative");
    assert_eq!((counting.start_time_unix_nano, counting.time_unix_nano, counting.flags), (START, NOW, 0));
    assert_eq!((ended.value, ended.flags), (None, 1), "NoRecordedValue");
    let exemplar = &counting.exemplars[0];
    assert_eq!(
        (exemplar.trace_id.len(), exemplar.span_id[1], exemplar.time_unix_nano),
        (16, 0x11, NOW - 1_000_000)
    );
    let Some(Data::Sum(sum)) = &busy.data else { panic!("a sum") };
    assert_eq!(sum.data_points[0].value, Some(Value::AsDouble(1.5)));

    let Some(Data::Sum(sum)) = &energy.data else { panic!("a sum") };
    assert!(!sum.is_monotonic && sum.aggregation_temporality == 2);
    assert_eq!(sum.data_points[0].value, Some(Value::AsDouble(-0.5)));

    let Some(Data::Histogram(histogram)) = &classic.data else { panic!("a histogram") };
    let [point, ended] = histogram.data_points.as_slice() else { panic!("two points") };
    assert_eq!((point.count, point.sum, point.min, point.max), (4, Some(0.105), Some(0.001), Some(0.09)));
    assert_eq!((&point.bucket_counts[..], &point.explicit_bounds[..]), (&[1, 2, 1][..], &[0.005, 0.01][..]));
    assert_eq!((ended.flags, ended.count, ended.sum, ended.bucket_counts.len()), (1, 0, None, 0));

    let Some(Data::ExponentialHistogram(histogram)) = &exponential.data else { panic!("an exponential one") };
    let [point, ended] = histogram.data_points.as_slice() else { panic!("two points") };
    assert_eq!((point.count, point.zero_count, point.sum), (5, 1, Some(0.105)));
    assert_eq!((point.min, point.max, point.scale), (Some(0.0), Some(0.09), 0));
    let positive = point.positive.as_ref().unwrap();
    // (2^-10, 2^-9] holds 1 ms, (2^-8, 2^-7] 7 ms, and (2^-4, 2^-3] 90 ms.
    assert_eq!((positive.offset, &positive.bucket_counts[..]), (-10, &[1, 0, 2, 0, 0, 0, 1][..]));
    assert_eq!((ended.flags, ended.count, ended.positive.is_none()), (1, 0, true));
}

#[test]
fn the_bytes_equal_the_golden_files() {
    let mut request = from_protobuf(&example().encode(Encoding::OtlpProtobuf).bytes);
    request.resource_metrics[0].scope_metrics[0].scope.as_mut().unwrap().version = "0.0.0".into();
    assert_golden("points.otlp.bin", &request.encode_to_vec());
    assert_golden("points.otlp.json", &versionless(example().encode(Encoding::OtlpJson).bytes));
}

#[test]
fn json_follows_the_specification() {
    let json: serde_json::Value =
        serde_json::from_slice(&example().encode(Encoding::OtlpJson).bytes).unwrap();
    let at = |path: &str| json.pointer(&format!("/resourceMetrics/0/scopeMetrics/0/metrics/{path}")).unwrap();
    for (path, expected) in [
        ("0/sum/dataPoints/0/asInt", r#""9223372036854775807""#),
        ("0/sum/dataPoints/0/timeUnixNano", r#""1700000010000000000""#),
        ("0/sum/dataPoints/0/attributes/0", r#"{"key":"code","value":{"intValue":"200"}}"#),
        ("0/sum/dataPoints/0/exemplars/0/traceId", r#""0123456789abcdeffedcba9876543210""#),
        ("0/sum/dataPoints/0/exemplars/0/spanId", r#""0011223344556677""#),
        ("0/sum/dataPoints/1/flags", "1"),
        ("0/sum/aggregationTemporality", "2"),
        ("0/sum/isMonotonic", "true"),
        ("3/histogram/dataPoints/0/count", r#""4""#),
        ("3/histogram/dataPoints/0/bucketCounts", r#"["1","2","1"]"#),
        ("3/histogram/dataPoints/0/explicitBounds", "[0.005,0.01]"),
        ("4/exponentialHistogram/dataPoints/0/zeroCount", r#""1""#),
        ("4/exponentialHistogram/dataPoints/0/positive/offset", "-10"),
    ] {
        assert_eq!(at(path).to_string(), expected, "{path}");
    }
}

#[test]
fn temporality_is_encoded() {
    let mut stock = example();
    stock.metrics.iter_mut().for_each(|(_, temporality, _)| *temporality = Temporality::Delta);
    let request = from_protobuf(&stock.encode(Encoding::OtlpProtobuf).bytes);
    let temporalities = metrics(&request).iter().filter_map(|metric| match metric.data.as_ref().unwrap() {
        Data::Sum(sum) => Some(sum.aggregation_temporality),
        Data::Histogram(histogram) => Some(histogram.aggregation_temporality),
        Data::ExponentialHistogram(histogram) => Some(histogram.aggregation_temporality),
        _ => None,
    });
    assert_eq!(temporalities.collect::<Vec<_>>(), [1; 5]);
}

proptest! {
    #[test]
    fn protobuf_and_json_have_the_same_content(stock in any_stock()) {
        let protobuf = from_protobuf(&stock.encode(Encoding::OtlpProtobuf).bytes);
        prop_assert_eq!(from_json(&stock.encode(Encoding::OtlpJson).bytes), protobuf);
    }

    #[test]
    fn counts_and_buckets_equal_those_of_the_points(stock in any_stock()) {
        let request = from_protobuf(&stock.encode(Encoding::OtlpProtobuf).bytes);
        let with_points = stock.metrics.iter().filter(|(_, _, points)| !points.is_empty());
        for (read, (metric, _, points)) in metrics(&request).iter().zip(with_points) {
            prop_assert_eq!((&read.name, &read.unit, &read.description), (&metric.name, &metric.unit, &metric.description));
            let counts: Vec<u64> = match read.data.as_ref().unwrap() {
                Data::Histogram(histogram) => histogram.data_points.iter().map(|point| {
                    assert_eq!(point.bucket_counts.iter().sum::<u64>(), point.count);
                    point.count
                }).collect(),
                Data::ExponentialHistogram(histogram) => histogram.data_points.iter().map(|point| {
                    let positive: u64 = point.positive.iter().flat_map(|buckets| &buckets.bucket_counts).sum();
                    assert_eq!(positive + point.zero_count, point.count);
                    point.count
                }).collect(),
                Data::Sum(sum) => vec![0; sum.data_points.len()],
                Data::Gauge(_) | Data::Summary(_) => panic!("never exported"),
            };
            let expected: Vec<u64> = points.iter().map(|point| match point.value.as_ref() {
                Some(Point::Histogram(histogram)) => histogram.count(),
                Some(Point::Exponential(histogram)) => histogram.count(),
                _ => 0,
            }).collect();
            prop_assert_eq!(counts, expected);
        }
    }
}
