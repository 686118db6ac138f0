//! Validates the Prometheus client: queries return what was sent to a real Prometheus by remote write.

use std::time::{Duration, SystemTime};

use anyhow::Result;
use tributary_tests::metrics::Attributes;
use tributary_tests::prometheus::{Prometheus, REMOTE_WRITE_PATH};
use tributary_tests::promql::NativeBucket;
use tributary_tests::remote_write::{
    BucketSpan, MetricMetadata, NativeHistogram, TimeSeries, WriteRequest, post, stale_marker,
};
use tributary_tests::tools;

const LIMIT: Duration = Duration::from_secs(30);
const TOTAL: &str = "http_requests_total";
const SECONDS: &str = "http_server_request_duration_seconds";
const NATIVE: &str = "http_server_response_body_size_bytes";
const TRACE: &str = "5b8efff798038103d269b633813fc60c";

/// The time in milliseconds since 1970.
fn now() -> Result<i64> {
    Ok(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_millis().try_into()?)
}

async fn send(prometheus: &Prometheus, timeseries: Vec<TimeSeries>) -> Result<()> {
    let metadata = MetricMetadata {
        kind: 1,
        metric_family_name: TOTAL.to_owned(),
        help: "Requests.".to_owned(),
        unit: String::new(),
    };
    let request = WriteRequest { timeseries, metadata: vec![metadata] };
    post(prometheus.address(), REMOTE_WRITE_PATH, &request).await
}

fn total(route: &str) -> TimeSeries {
    TimeSeries::new(TOTAL, &[("route", route), ("instance", "a"), ("job", "shop")])
}

/// The series of a classic histogram with these cumulative counts up to 0.1, 1 and infinity.
fn classic(instance: &str, time: i64, up_to: [f64; 3]) -> Vec<TimeSeries> {
    let bucket = |(bound, count)| {
        let name = format!("{SECONDS}_bucket");
        TimeSeries::new(&name, &[("le", bound), ("instance", instance)]).sample(time, count)
    };
    let mut series: Vec<_> = ["0.1", "1", "+Inf"].into_iter().zip(up_to).map(bucket).collect();
    for (suffix, value) in [("_sum", 2.5), ("_count", up_to[2])] {
        let name = format!("{SECONDS}{suffix}");
        series.push(TimeSeries::new(&name, &[("instance", instance)]).sample(time, value));
    }
    series
}

#[tokio::test]
async fn sums_are_read_back_until_their_series_end() -> Result<()> {
    let mut prometheus = Prometheus::start(0).await?;
    let now = now()?;
    let first =
        [("users", 3.0), ("orders", 4.0)].map(|(route, value)| total(route).sample(now - 3000, value));
    send(&prometheus, first.into()).await?;
    let users = total("users").sample(now - 2000, 9.0).exemplar(now - 2500, 0.25, ("trace_id", TRACE));
    send(&prometheus, vec![users]).await?;

    let query = prometheus.query();
    assert_eq!(query.sum(TOTAL, &[], None).await?, 13);
    assert_eq!(query.sum(TOTAL, &[("route", "users")], Some(now - 2500)).await?, 3);
    assert_eq!(query.sum(TOTAL, &[("route", "users")], None).await?, 9);
    assert_eq!(query.sum(TOTAL, &[("route", "none")], None).await?, 0);
    assert_eq!(query.number_points(TOTAL, None).await?[0].instance, "a");

    let exemplars = query.exemplars(TOTAL, now - 10_000, now).await?;
    let [point] = &exemplars[..] else { panic!("{exemplars:?}") };
    assert_eq!(point.attributes["route"], "users".into());
    let [exemplar] = &point.exemplars[..] else { panic!("{exemplars:?}") };
    assert_eq!((exemplar.value, exemplar.trace_id.as_str()), (0.25, TRACE));
    assert_eq!(exemplar.time_unix_nano, u64::try_from(now - 2500)? * 1_000_000);

    assert_eq!(query.ended(TOTAL, &[], now).await?, 0);
    send(&prometheus, vec![total("users").sample(now - 1000, stale_marker())]).await?;
    assert_eq!(query.ended(TOTAL, &[], now).await?, 1);
    assert_eq!(query.ended(TOTAL, &[("route", "users")], now).await?, 1);
    assert_eq!(query.ended(TOTAL, &[("route", "users")], now - 1500).await?, 0);
    assert_eq!(query.sum(TOTAL, &[], Some(now)).await?, 4);
    assert!(prometheus.terminate(LIMIT).await?.success());
    Ok(())
}

#[tokio::test]
async fn classic_histograms_and_their_quantiles_are_read_back() -> Result<()> {
    let prometheus = Prometheus::start(0).await?;
    let time = now()? - 1000;
    let mut series = classic("a", time, [4.0, 8.0, 10.0]);
    series.extend(classic("b", time, [4.0, 12.0, 12.0]));
    send(&prometheus, series).await?;

    let query = prometheus.query();
    let points = query.histogram_points(SECONDS, None).await?;
    let found: Vec<_> =
        points.iter().map(|p| (p.instance.as_str(), p.histogram.buckets.as_slice())).collect();
    assert_eq!(found, [("a", &[4, 4, 2][..]), ("b", &[4, 8, 0])]);
    assert_eq!((points[0].histogram.bounds.as_slice(), points[0].histogram.sum), (&[0.1, 1.0][..], 2.5));
    assert_eq!(query.sum(&format!("{SECONDS}_count"), &[], None).await?, 22);

    for wanted in [&[("instance", "a")][..], &[("instance", "b")]] {
        let point = points.iter().find(|point| point.instance == wanted[0].1);
        for quantile in [0.1, 0.5, 0.99] {
            let theirs = query.quantile(quantile, SECONDS, wanted, None).await?;
            let ours = point.and_then(|point| point.histogram.quantile(quantile));
            let (theirs, ours) = theirs.zip(ours).unwrap_or_default();
            assert!(ours > 0.0 && (theirs - ours).abs() < 1e-9, "{wanted:?} {quantile}: {theirs} {ours}");
        }
    }
    // The median is the third of the twelve values in the second buckets of both.
    let median = query.quantile(0.5, SECONDS, &[], None).await?;
    assert!(median.is_some_and(|median| (median - (0.1 + 0.9 * 3.0 / 12.0)).abs() < 1e-9), "{median:?}");
    assert_eq!(query.quantile(0.5, SECONDS, &[("instance", "c")], None).await?, None);
    Ok(())
}

#[tokio::test]
async fn native_histograms_and_their_quantiles_are_read_back() -> Result<()> {
    let prometheus = Prometheus::start(0).await?;
    let time = now()? - 1000;
    // One zero, two values in (0.5, 1], three in (1, 2], four in (4, 8].
    let histogram = NativeHistogram {
        count_int: Some(10),
        sum: 30.5,
        schema: 0,
        zero_threshold: 1e-9,
        zero_count_int: Some(1),
        positive_spans: vec![BucketSpan { offset: 0, length: 2 }, BucketSpan { offset: 1, length: 1 }],
        positive_deltas: vec![2, 1, 1],
        timestamp: time,
        ..NativeHistogram::default()
    };
    send(&prometheus, vec![TimeSeries::new(NATIVE, &[("route", "users")]).histogram(histogram)]).await?;

    let query = prometheus.query();
    let found = query.native_histograms(NATIVE, None).await?;
    let [(attributes, histogram)] = &found[..] else { panic!("{found:?}") };
    assert_eq!(*attributes, Attributes::from([("route".to_owned(), "users".into())]));
    assert_eq!((histogram.count, histogram.sum), (10.0, 30.5));
    let bucket = |lower, upper, count| NativeBucket { lower, upper, count };
    let buckets =
        [bucket(-1e-9, 1e-9, 1.0), bucket(0.5, 1.0, 2.0), bucket(1.0, 2.0, 3.0), bucket(4.0, 8.0, 4.0)];
    assert_eq!(histogram.buckets, buckets);

    // The quantiles from 0.1 to 0.3 lie between 0.5 and 1, those from 0.3 to 0.6 between 1 and 2.
    for (quantile, lower, upper) in [(0.25, 0.5, 1.0), (0.5, 1.0, 2.0), (0.9, 4.0, 8.0)] {
        let found = query.native_quantile(quantile, NATIVE, &[("route", "users")], None).await?;
        assert!(found.is_some_and(|found| lower < found && found <= upper), "{quantile}: {found:?}");
    }
    assert_eq!(query.native_quantile(0.5, NATIVE, &[("route", "none")], None).await?, None);

    let end = NativeHistogram { sum: stale_marker(), timestamp: time + 500, ..NativeHistogram::default() };
    send(&prometheus, vec![TimeSeries::new(NATIVE, &[("route", "users")]).histogram(end)]).await?;
    assert_eq!(query.ended(NATIVE, &[], time + 600).await?, 1);
    assert_eq!(query.native_histograms(NATIVE, None).await?, []);
    Ok(())
}

#[tokio::test]
async fn promtool_reads_the_same_value() -> Result<()> {
    let prometheus = Prometheus::start(0).await?;
    send(&prometheus, vec![total("users").sample(now()? - 1000, 12345.0)]).await?;
    let mut promtool = tokio::process::Command::new(tools::prometheus::promtool().await?);
    promtool.args(["query", "instant"]).arg(format!("http://{}", prometheus.address())).arg(TOTAL);
    let output = promtool.output().await?;
    let printed = String::from_utf8(output.stdout)?;
    assert!(output.status.success() && printed.contains("=> 12345 @"), "{printed}");
    Ok(())
}

#[tokio::test]
async fn a_rejection_by_prometheus_is_an_error_with_its_reason() -> Result<()> {
    let prometheus = Prometheus::start(0).await?;
    let now = now()?;
    send(&prometheus, vec![total("users").sample(now - 1000, 3.0)]).await?;
    let late = send(&prometheus, vec![total("users").sample(now - 2000, 4.0)]).await.unwrap_err();
    assert!(format!("{late:#}").contains("out of order"), "{late:#}");
    let wrong = prometheus.query().number("sum(", None).await.unwrap_err();
    assert!(format!("{wrong:#}").contains("parse error"), "{wrong:#}");
    Ok(())
}
