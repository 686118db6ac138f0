//! Validates the VictoriaMetrics client: queries return what was sent to a real VictoriaMetrics.

use std::time::{Duration, SystemTime};

use anyhow::Result;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, ExponentialHistogram, ExponentialHistogramDataPoint, Histogram,
    HistogramDataPoint, Metric, NumberDataPoint, Sum, metric::Data, number_data_point,
};
use prost::Message;
use tributary_tests::otlp::{attribute, request, text};
use tributary_tests::remote_write::{self, TimeSeries, WriteRequest, stale_marker};
use tributary_tests::victoria_metrics::{OTLP_PATH, REMOTE_WRITE_PATH, VictoriaMetrics};

const COUNTER: &str = "tributary.counter";
const DURATION: &str = "http.server.request.duration";
const LIMIT: Duration = Duration::from_secs(30);

/// The export of a process after `count` requests, all of them in the second of three buckets.
fn message(instance: &str, time: u64, count: u64) -> Result<ExportMetricsServiceRequest> {
    let aggregation_temporality = AggregationTemporality::Cumulative.into();
    let counter = NumberDataPoint {
        attributes: vec![text("key", "requests")],
        start_time_unix_nano: 1,
        time_unix_nano: time,
        value: Some(number_data_point::Value::AsInt(count.try_into()?)),
        ..NumberDataPoint::default()
    };
    let sum = Sum { data_points: vec![counter], aggregation_temporality, is_monotonic: true };
    let duration = HistogramDataPoint {
        attributes: vec![
            text("http.route", "users"),
            attribute("http.response.status_code", Value::IntValue(200)),
        ],
        start_time_unix_nano: 1,
        time_unix_nano: time,
        count,
        sum: Some(1.25),
        bucket_counts: vec![0, count, 0],
        explicit_bounds: vec![0.005, 0.01],
        ..HistogramDataPoint::default()
    };
    let histogram = Histogram { data_points: vec![duration], aggregation_temporality };
    let metric = |name: &str, data| Metric { name: name.to_owned(), data: Some(data), ..Metric::default() };
    let metrics = vec![metric(COUNTER, Data::Sum(sum)), metric(DURATION, Data::Histogram(histogram))];
    Ok(request(instance, metrics))
}

#[tokio::test]
async fn the_latest_values_of_all_instances_are_read_back() -> Result<()> {
    let mut collector = VictoriaMetrics::start(0).await?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let client = reqwest::Client::new();
    // Sends two exports of one process, and one export of another process.
    for (instance, seconds_ago, count) in [("a", 2, 10), ("a", 1, 25), ("b", 1, 7)] {
        let time = (now - Duration::from_secs(seconds_ago)).as_nanos().try_into()?;
        let body = message(instance, time, count)?.encode_to_vec();
        let url = format!("http://{}{OTLP_PATH}", collector.address());
        let post = client.post(url).header("content-type", "application/x-protobuf").body(body);
        assert_eq!(post.send().await?.status(), 200);
    }

    assert_eq!(collector.sum(COUNTER, &[("key", "requests")]).await?, 32);
    assert_eq!(collector.sum(COUNTER, &[("service.instance.id", "b")]).await?, 7);
    assert_eq!(collector.sum(COUNTER, &[("key", "other")]).await?, 0);
    assert_eq!(collector.total_count(DURATION).await?, 32);

    let points = collector.histogram_points(DURATION).await?;
    let found: Vec<_> = points.iter().map(|point| (point.instance.as_str(), point.histogram.count)).collect();
    assert_eq!(found, [("a", 25), ("b", 7)]);
    for point in &points {
        assert_eq!(point.attributes["http.route"], "users".into());
        assert_eq!(point.attributes["http.response.status_code"], "200".into());
        assert_eq!(point.histogram.bounds, [0.005, 0.01]);
        assert_eq!(point.histogram.buckets, [0, point.histogram.count, 0]);
        assert!((point.histogram.sum - 1.25).abs() < 1e-9);
    }

    // All values are between 0.005 and 0.01.
    for (quantile, expected) in [(0.5, 0.0075), (0.99, 0.00995)] {
        for wanted in [&[][..], &[("http.route", "users"), ("service.instance.id", "b")]] {
            let found = collector.quantile(quantile, DURATION, wanted, None).await?;
            let is_close = found.is_some_and(|found| (found - expected).abs() < 1e-9);
            assert!(is_close, "{quantile} of {wanted:?}: {found:?}, not {expected}");
        }
    }
    assert_eq!(collector.quantile(0.5, DURATION, &[("http.route", "orders")], None).await?, None);
    assert!(collector.terminate(LIMIT).await?.success());
    Ok(())
}

#[tokio::test]
async fn quantiles_of_exponential_histograms_lie_in_their_buckets() -> Result<()> {
    let collector = VictoriaMetrics::start(0).await?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let time = (now - Duration::from_secs(1)).as_nanos().try_into()?;
    let mut body = message("a", time, 1)?;
    let point = ExponentialHistogramDataPoint {
        start_time_unix_nano: 1,
        time_unix_nano: time,
        count: 9,
        sum: Some(20.0),
        scale: 0,
        positive: Some(Buckets { offset: -1, bucket_counts: vec![2, 3, 0, 4] }),
        ..ExponentialHistogramDataPoint::default()
    };
    let aggregation_temporality = AggregationTemporality::Cumulative.into();
    let histogram = ExponentialHistogram { data_points: vec![point], aggregation_temporality };
    for metrics in body.resource_metrics.iter_mut().flat_map(|resource| &mut resource.scope_metrics) {
        let data = Some(Data::ExponentialHistogram(histogram.clone()));
        metrics.metrics = vec![Metric { name: DURATION.to_owned(), data, ..Metric::default() }];
    }
    let url = format!("http://{}{OTLP_PATH}", collector.address());
    let post = reqwest::Client::new().post(url).header("content-type", "application/x-protobuf");
    assert_eq!(post.body(body.encode_to_vec()).send().await?.status(), 200);

    for (quantile, lower, upper) in [(0.1, 0.5, 1.0), (0.5, 1.0, 2.0), (0.9, 4.0, 8.0)] {
        let found = collector.quantile(quantile, DURATION, &[], None).await?;
        assert!(found.is_some_and(|found| lower <= found && found <= upper), "{quantile}: {found:?}");
    }
    Ok(())
}

#[tokio::test]
async fn remote_write_is_read_back_until_its_series_end() -> Result<()> {
    const TOTAL: &str = "http_requests_total";
    const SECONDS: &str = "duration_seconds";
    let collector = VictoriaMetrics::start(0).await?;
    let now: i64 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_millis().try_into()?;
    let send = async |timeseries| {
        let request = WriteRequest { timeseries, metadata: Vec::new() };
        remote_write::post(collector.address(), REMOTE_WRITE_PATH, &request).await
    };
    let total = |route| TimeSeries::new(TOTAL, &[("route", route), ("instance", "a")]);
    let bucket = |bound, count| {
        TimeSeries::new(&format!("{SECONDS}_bucket"), &[("le", bound)]).sample(now - 3000, count)
    };
    send(vec![
        total("users").sample(now - 3000, 9.0),
        total("orders").sample(now - 3000, 4.0),
        bucket("0.5", 2.0),
        bucket("1", 6.0),
        bucket("+Inf", 8.0),
        TimeSeries::new(&format!("{SECONDS}_sum"), &[]).sample(now - 3000, 2.5),
    ])
    .await?;

    assert_eq!(collector.sum(TOTAL, &[]).await?, 13);
    assert_eq!(collector.sum(TOTAL, &[("route", "users")]).await?, 9);
    let points = collector.histogram_points(SECONDS).await?;
    let [point] = &points[..] else { panic!("{points:?}") };
    assert_eq!((point.histogram.buckets.as_slice(), point.histogram.sum), (&[2, 4, 2][..], 2.5));
    let median = collector.quantile(0.5, SECONDS, &[], Some(now)).await?;
    assert_eq!(median, point.histogram.quantile(0.5));

    send(vec![total("users").sample(now - 1000, stale_marker())]).await?;
    collector.flush().await?;
    let query = collector.query();
    assert_eq!(query.sum(TOTAL, &[], Some(now - 2000)).await?, 13);
    assert_eq!(query.sum(TOTAL, &[], Some(now)).await?, 4);
    assert_eq!(query.ended(TOTAL, &[], now).await?, 1);
    assert_eq!(query.ended(TOTAL, &[("route", "orders")], now).await?, 0);
    Ok(())
}
