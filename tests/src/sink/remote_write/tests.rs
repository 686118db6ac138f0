use super::*;
use crate::remote_write::{NativeHistogram, VERSION, VERSION_HEADER, encode, post, stale_marker};
use crate::sink::{RequestEncoding, Sink};

const TOTAL: &str = "requests_total";
const SECONDS: &str = "duration_seconds";

fn request(timeseries: impl Into<Vec<TimeSeries>>) -> WriteRequest {
    WriteRequest { timeseries: timeseries.into(), metadata: Vec::new() }
}

fn total(route: &str) -> TimeSeries {
    TimeSeries::new(TOTAL, &[("route", route), ("instance", "a")])
}

fn store(requests: impl IntoIterator<Item = TimeSeries>) -> RemoteWriteStore {
    let mut store = RemoteWriteStore::default();
    for timeseries in requests {
        store.take(&request([timeseries])).unwrap();
    }
    store
}

/// Makes a histogram with two zeros, buckets with 1 and 2 values, an empty bucket, and a bucket with 4
/// values.
fn native_histogram(timestamp: i64) -> NativeHistogram {
    NativeHistogram {
        count_int: Some(9),
        sum: 12.5,
        schema: 1,
        zero_count_int: Some(2),
        positive_spans: vec![BucketSpan { offset: -1, length: 2 }, BucketSpan { offset: 1, length: 1 }],
        positive_deltas: vec![1, 1, 2],
        timestamp,
        ..NativeHistogram::default()
    }
}

#[test]
fn the_latest_values_of_active_series_are_read_back() {
    let store = store([
        total("users").sample(1000, 3.0),
        total("users").sample(2000, 5.0),
        total("orders").sample(1000, 7.0).sample(1500, stale_marker()),
        total("other").sample(1000, 1.0),
    ]);
    assert_eq!(store.sum(TOTAL, &[]), 6);
    assert_eq!(store.sum(TOTAL, &[("route", "users")]), 5);
    assert_eq!((store.ended(TOTAL, &[]), store.ended(TOTAL, &[("route", "users")])), (1, 0));
    assert_eq!(store.metrics(), [(TOTAL, 3)].into());
    let users = store.series(TOTAL, &[("route", "users")]);
    assert_eq!(users[0].1.samples.iter().map(|sample| sample.timestamp).collect::<Vec<_>>(), [1000, 2000]);
    assert_eq!(store.number_points(TOTAL)[0].instance, "a");
}

#[test]
fn a_native_histogram_is_converted_to_opentelemetry() {
    let series = TimeSeries::new(SECONDS, &[]).histogram(native_histogram(1000));
    let mut store = store([series.clone().exemplar(999, 0.5, ("trace_id", "ab"))]);
    let histogram = &store.exponential_points(SECONDS)[0].histogram;
    assert_eq!((histogram.count, histogram.zero_count, histogram.scale), (9, 2, 1));
    assert_eq!(histogram.positive, ReceivedBuckets { offset: -2, counts: vec![1, 2, 0, 4] });
    assert_eq!(store.series(SECONDS, &[])[0].1.exemplars[0].value, 0.5);
    let end = NativeHistogram { sum: stale_marker(), timestamp: 2000, ..NativeHistogram::default() };
    store.take(&request([TimeSeries::new(SECONDS, &[]).histogram(end)])).unwrap();
    assert_eq!((store.ended(SECONDS, &[]), store.exponential_points(SECONDS).len()), (1, 0));
}

#[test]
fn classic_histograms_are_assembled() {
    let bucket = |bound: &str, value| TimeSeries::new("d_bucket", &[("le", bound)]).sample(1, value);
    let sum = TimeSeries::new("d_sum", &[]).sample(1, 2.5);
    let found = store([bucket("0.5", 1.0), bucket("+Inf", 3.0), sum]).histogram_points("d").unwrap();
    assert_eq!((found[0].histogram.buckets.as_slice(), found[0].histogram.sum), (&[1, 2][..], 2.5));
}

#[test]
fn invalid_series_are_rejected_with_their_whole_request() {
    let labels = |labels: &[(&str, &str)]| {
        let label = |(name, value): &(&str, &str)| Label { name: (*name).into(), value: (*value).into() };
        let labels = labels.iter().map(label).collect();
        TimeSeries { labels, ..TimeSeries::default() }.sample(1, 1.0)
    };
    let native = |edit: &dyn Fn(&mut NativeHistogram)| {
        let mut histogram = native_histogram(1000);
        edit(&mut histogram);
        TimeSeries::new(SECONDS, &[]).histogram(histogram)
    };
    for (wrong, why) in [
        (labels(&[("b", "1"), ("__name__", "n")]), "not sorted"),
        (labels(&[("__name__", "n"), ("a", "1"), ("a", "2")]), "duplicate"),
        (labels(&[("__name__", "n"), ("a", "")]), "is empty"),
        (labels(&[("__name__", "n"), ("a.b", "1")]), "label name"),
        (labels(&[("__name__", "1n")]), "metric name"),
        (labels(&[("a", "1")]), "metric name is missing"),
        (total("users").sample(1000, 1.0), "comes after"),
        (total("users").sample(3000, 1.0).sample(2000, 1.0), "comes after"),
        (total("users"), "no samples"),
        (total("orders").sample(1000, 1.0), "duplicate series"),
        (native(&|histogram| histogram.count_int = Some(8)), "in all buckets"),
        (native(&|histogram| histogram.schema = 9), "schema"),
        (native(&|histogram| histogram.positive_deltas[0] = -1), "negative count"),
        (native(&|histogram| histogram.positive_deltas.push(0)), "4 deltas for 3 buckets"),
        (native(&|histogram| histogram.positive_spans[1].offset = -1), "a span starts before"),
        (total("a").exemplar(1, 1.0, ("trace_id", &"x".repeat(121))), "129 characters"),
    ] {
        let mut store = store([total("users").sample(2000, 3.0)]);
        let error = store.take(&request([total("orders").sample(1000, 7.0), wrong])).unwrap_err();
        assert!(format!("{error:#}").contains(why), "{why}: {error:#}");
        assert_eq!(store.sum(TOTAL, &[]), 3, "{why}");
    }
}

#[tokio::test]
async fn a_sink_requires_all_headers_of_remote_write() {
    let sink = Sink::start(0).await.unwrap();
    let message = request([total("users").sample(1000, 3.0)]);
    post(sink.address(), "/api/v1/write", &message).await.unwrap();
    assert_eq!(sink.store().remote_write().sum(TOTAL, &[]), 3);
    let received = &sink.received()[0];
    assert_eq!((received.encoding, received.answered), (Some(RequestEncoding::RemoteWrite), Some(204)));
    assert_eq!(received.message.as_ref().and_then(|message| message.remote_write()), Some(&message));
    assert!(sink.problems().is_empty());

    let complete = [
        ("content-type", "application/x-protobuf"),
        ("content-encoding", "snappy"),
        ("user-agent", "test"),
        (VERSION_HEADER, VERSION),
    ];
    for missing in complete.map(|(name, _)| name) {
        let mut post = reqwest::Client::new().post(format!("http://{}/", sink.address()));
        for (name, value) in complete.into_iter().filter(|(name, _)| *name != missing) {
            post = post.header(name, value);
        }
        let message = request([total("users").sample(2000, 4.0)]);
        let answer = post.body(encode(&message).unwrap()).send().await.unwrap();
        assert_eq!(answer.status(), 400, "without {missing}");
    }
    assert_eq!(sink.problems().len(), 4, "{:?}", sink.problems());
    assert_eq!(sink.store().remote_write().sum(TOTAL, &[]), 3);
}
