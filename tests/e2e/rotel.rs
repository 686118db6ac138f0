//! Validates the rotel collector: it prints and forwards what was sent to it.

use std::time::Duration;

use anyhow::{Result, ensure};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, any_value::Value};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Histogram,
    HistogramDataPoint, Metric, NumberDataPoint, Sum, exemplar, metric::Data, number_data_point,
};
use prost::Message as _;
use tributary_tests::metrics::{self, ReceivedAttribute};
use tributary_tests::otlp::{attribute, request, text};
use tributary_tests::rotel::{OTLP_PATH, Rotel};
use tributary_tests::sink::{RequestEncoding, Sink, Store};

const COUNTER: &str = "tributary.counter";
const DURATION: &str = "http.server.request.duration";
const SIZE: &str = "http.server.response.body.size";
const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";
const LIMIT: Duration = Duration::from_secs(30);
/// A day in 2023, in nanoseconds since 1970.
const START: u64 = 1_700_000_000_000_000_000;
const TRACE: u128 = 0x5b8e_fff7_9803_8103_d269_b633_813f_c60c;
const SPAN: u64 = 0xeee1_9b7e_c3c1_b174;

fn exemplar(time_unix_nano: u64) -> Exemplar {
    Exemplar {
        filtered_attributes: vec![text("user", "7")],
        time_unix_nano,
        trace_id: TRACE.to_be_bytes().to_vec(),
        span_id: SPAN.to_be_bytes().to_vec(),
        value: Some(exemplar::Value::AsDouble(0.0078125)),
    }
}

/// A request with one point of each kind, in second number `second`.
fn message(temporality: AggregationTemporality, instance: &str, second: u64) -> ExportMetricsServiceRequest {
    let aggregation_temporality = temporality.into();
    let begin = if temporality == AggregationTemporality::Delta { second - 1 } else { 0 };
    let start_time_unix_nano = START + begin * 1_000_000_000;
    let time_unix_nano = START + second * 1_000_000_000;
    let attributes =
        vec![text("http.route", "users"), attribute("http.response.status_code", Value::IntValue(200))];
    let counter = NumberDataPoint {
        attributes: vec![text("key", "requests")],
        start_time_unix_nano,
        time_unix_nano,
        value: Some(number_data_point::Value::AsInt(i64::MAX)),
        ..NumberDataPoint::default()
    };
    let sum = Sum { data_points: vec![counter], aggregation_temporality, is_monotonic: true };
    let duration = HistogramDataPoint {
        attributes: attributes.clone(),
        start_time_unix_nano,
        time_unix_nano,
        count: 3,
        sum: Some(0.1),
        bucket_counts: vec![1, 2, 0],
        explicit_bounds: vec![0.005, 0.01],
        exemplars: vec![exemplar(time_unix_nano)],
        ..HistogramDataPoint::default()
    };
    let histogram = Histogram { data_points: vec![duration], aggregation_temporality };
    let size = ExponentialHistogramDataPoint {
        attributes,
        start_time_unix_nano,
        time_unix_nano,
        count: 7,
        sum: Some(20.5),
        scale: 3,
        zero_count: 1,
        positive: Some(Buckets { offset: -4, bucket_counts: vec![1, 0, 2, 3] }),
        exemplars: vec![exemplar(time_unix_nano)],
        min: Some(0.0),
        max: Some(1.0),
        ..ExponentialHistogramDataPoint::default()
    };
    let exponential = ExponentialHistogram { data_points: vec![size], aggregation_temporality };
    let metric = |name: &str, data| Metric {
        name: name.to_owned(),
        unit: "s".to_owned(),
        description: "Something.".to_owned(),
        data: Some(data),
        ..Metric::default()
    };
    let metrics = vec![
        metric(COUNTER, Data::Sum(sum)),
        metric(DURATION, Data::Histogram(histogram)),
        metric(SIZE, Data::ExponentialHistogram(exponential)),
    ];
    let scope = InstrumentationScope { name: "tributary".to_owned(), ..InstrumentationScope::default() };
    let mut request = request(instance, metrics);
    for scope_metrics in request.resource_metrics.iter_mut().flat_map(|resource| &mut resource.scope_metrics)
    {
        scope_metrics.scope = Some(scope.clone());
    }
    request
}

async fn send(rotel: &Rotel, content_type: &str, body: Vec<u8>) -> Result<u16> {
    let post = reqwest::Client::new().post(format!("http://{}{OTLP_PATH}", rotel.address()));
    Ok(post.header("content-type", content_type).body(body).send().await?.status().as_u16())
}

/// Keeps only the counter, with a double value, which this rotel supports in JSON.
fn double_counter(mut message: ExportMetricsServiceRequest) -> ExportMetricsServiceRequest {
    for scope in message.resource_metrics.iter_mut().flat_map(|resource| &mut resource.scope_metrics) {
        scope.metrics.retain(|metric| metric.name == COUNTER);
        for metric in &mut scope.metrics {
            let Some(Data::Sum(sum)) = &mut metric.data else { continue };
            for point in &mut sum.data_points {
                point.value = Some(number_data_point::Value::AsDouble(12.75));
            }
        }
    }
    message
}

/// Removes the counter, whose deltas would overflow an i64.
fn histograms(mut message: ExportMetricsServiceRequest) -> ExportMetricsServiceRequest {
    for scope in message.resource_metrics.iter_mut().flat_map(|resource| &mut resource.scope_metrics) {
        scope.metrics.retain(|metric| metric.name != COUNTER);
    }
    message
}

#[tokio::test]
async fn both_encodings_are_decoded_and_forwarded_unchanged() -> Result<()> {
    let sink = Sink::start(0).await?;
    let mut rotel = Rotel::start(0, Some(sink.address())).await?;
    let protobuf = message(AggregationTemporality::Cumulative, "protobuf", 1);
    let json = double_counter(message(AggregationTemporality::Cumulative, "json", 1));
    assert_eq!(send(&rotel, PROTOBUF, protobuf.encode_to_vec()).await?, 200);
    assert_eq!(send(&rotel, JSON, serde_json::to_vec(&json)?).await?, 200);
    sink.wait_until_equal("the forwarded counters", 2, |store| store.number_points(COUNTER).len()).await?;

    let received = sink.received();
    for sent in [&protobuf, &json] {
        let messages = received.iter().filter_map(|received| received.message.as_ref()?.otlp());
        ensure!(messages.clone().any(|found| found == sent), "{sent:?} is not among {received:?}");
    }
    assert!(received.iter().all(|received| received.encoding == Some(RequestEncoding::OtlpProtobuf)));
    assert_eq!(sink.problems(), Vec::<String>::new());

    let store = sink.store();
    let points = store.exponential_points(SIZE);
    let [point] = &points[..] else { panic!("{points:?}") };
    assert_eq!(point.attributes["http.response.status_code"], ReceivedAttribute::Int(200));
    let expected = metrics::ReceivedExponentialHistogram {
        count: 7,
        sum: 20.5,
        min: Some(0.0),
        max: Some(1.0),
        scale: 3,
        zero_count: 1,
        positive: metrics::ReceivedBuckets { offset: -4, counts: vec![1, 0, 2, 3] },
        ..metrics::ReceivedExponentialHistogram::default()
    };
    assert_eq!(point.histogram, expected);
    for name in [DURATION, SIZE] {
        let points = store.exemplars(name);
        let [point] = &points[..] else { panic!("{name}: {points:?}") };
        let [exemplar] = &point.exemplars[..] else { panic!("{name}: {points:?}") };
        assert_eq!(exemplar.trace_id, format!("{TRACE:032x}"));
        assert_eq!(exemplar.span_id, format!("{SPAN:016x}"));
        assert_eq!((exemplar.value, &exemplar.attributes["user"]), (0.0078125, &"7".into()));
    }
    assert!(rotel.terminate(LIMIT).await?.success());
    Ok(())
}

#[tokio::test]
async fn deltas_add_up_behind_rotel() -> Result<()> {
    let sink = Sink::start(0).await?;
    let rotel = Rotel::start(0, Some(sink.address())).await?;
    for second in 1..=3 {
        let body = histograms(message(AggregationTemporality::Delta, "a", second));
        assert_eq!(send(&rotel, PROTOBUF, body.encode_to_vec()).await?, 200);
        let counts = |store: &Store| (store.count(DURATION, &[]), store.count(SIZE, &[]));
        sink.wait_until_equal("the sums of the deltas", (3 * second, 7 * second), counts).await?;
    }
    let points = sink.store().exponential_points(SIZE);
    assert_eq!(
        points[0].histogram.positive,
        metrics::ReceivedBuckets { offset: -4, counts: vec![3, 0, 6, 9] }
    );
    assert_eq!(sink.problems(), Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn without_a_collector_behind_it_rotel_prints_what_it_decoded() -> Result<()> {
    let mut rotel = Rotel::start(0, None).await?;
    let body = message(AggregationTemporality::Cumulative, "a", 1).encode_to_vec();
    assert_eq!(send(&rotel, PROTOBUF, body).await?, 200);
    let (trace, span) = (format!("{TRACE:032x}"), format!("{SPAN:016x}"));
    for printed in [SIZE, "DataType: ExponentialHistogram", &trace, &span] {
        rotel.process().wait_for_log(printed, LIMIT).await?;
    }
    assert_eq!(send(&rotel, PROTOBUF, b"\xff\xff\xff".to_vec()).await?, 400);
    assert_eq!(send(&rotel, JSON, br#"{"resourceMetrics": 1}"#.to_vec()).await?, 400);
    Ok(())
}
