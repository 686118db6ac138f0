use std::io::Write;

use hyper::header::HeaderValue;
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use prost::Message as _;

use super::encoding::{JSON, PROTOBUF};
use super::sample::{COUNTER, CUMULATIVE, DURATION, counter, duration, request};
use super::*;
use crate::metrics::ReceivedAttribute;

async fn post(sink: &Sink, message: &ExportMetricsServiceRequest) -> reqwest::Result<reqwest::Response> {
    post_bytes(sink, message.encode_to_vec(), PROTOBUF, "identity").await
}

async fn post_bytes(
    sink: &Sink,
    body: Vec<u8>,
    content_type: &str,
    encoding: &str,
) -> reqwest::Result<reqwest::Response> {
    let post = reqwest::Client::new().post(format!("http://{}/v1/metrics", sink.address()));
    let post = post.header("content-type", content_type).header("content-encoding", encoding);
    post.timeout(Duration::from_secs(5)).body(body).send().await
}

#[tokio::test]
async fn cumulative_points_replace_each_other_and_instances_add_up() {
    let sink = Sink::start(0).await.unwrap();
    for (instance, time, value) in [("a", 2, 10), ("a", 3, 25), ("b", 3, 7)] {
        let message = request(instance, vec![counter(CUMULATIVE, 1, time, value)]);
        assert_eq!(post(&sink, &message).await.unwrap().status(), 200);
    }
    assert_eq!(sink.sum(COUNTER, &[("key", "requests")]), 32);
    assert_eq!(sink.sum(COUNTER, &[("key", "other")]), 0);
    assert_eq!(sink.store().number_points(COUNTER).len(), 2);
    assert_eq!(sink.received().len(), 3);
    assert!(sink.problems().is_empty());
}

#[tokio::test]
async fn histograms_are_read_with_typed_attributes() {
    let sink = Sink::start(0).await.unwrap();
    post(&sink, &request("a", vec![duration(2, 200, [1, 2, 3])])).await.unwrap();
    post(&sink, &request("a", vec![duration(3, 200, [4, 2, 3])])).await.unwrap();
    post(&sink, &request("a", vec![duration(3, 404, [1, 0, 0])])).await.unwrap();
    assert_eq!(sink.total_count(DURATION), 10);
    let store = sink.store();
    assert_eq!(store.count(DURATION, &[("http.response.status_code", "404")]), 1);
    let points = store.histogram_points(DURATION);
    let ok = &points[0];
    assert_eq!(ok.attributes["http.response.status_code"], ReceivedAttribute::Int(200));
    assert_eq!(ok.attributes["http.route"], ReceivedAttribute::Text("users".to_owned()));
    assert_eq!((ok.instance.as_str(), ok.histogram.count), ("a", 9));
    assert_eq!(
        (ok.histogram.bounds.as_slice(), ok.histogram.buckets.as_slice()),
        (&[0.1, 1.0][..], &[4, 2, 3][..])
    );
}

#[tokio::test]
async fn gzip_and_deflate_are_decompressed() {
    let sink = Sink::start(0).await.unwrap();
    let plain = request("a", vec![counter(CUMULATIVE, 1, 2, 3)]).encode_to_vec();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    zlib.write_all(&plain).unwrap();
    for (body, encoding) in [(gzip.finish().unwrap(), "gzip"), (zlib.finish().unwrap(), "deflate")] {
        assert_eq!(post_bytes(&sink, body, PROTOBUF, encoding).await.unwrap().status(), 200, "{encoding}");
    }
    assert_eq!(sink.sum(COUNTER, &[]), 3);
}

#[tokio::test]
async fn json_and_protobuf_are_equal_and_distinguished() {
    let sink = Sink::start(0).await.unwrap();
    for (instance, json) in [("a", false), ("b", true)] {
        let message = request(instance, vec![counter(CUMULATIVE, 1, 2, 3), duration(2, 200, [1, 2, 3])]);
        let answer = if json {
            post_bytes(&sink, serde_json::to_vec(&message).unwrap(), JSON, "identity").await.unwrap()
        } else {
            post(&sink, &message).await.unwrap()
        };
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], if json { JSON } else { PROTOBUF });
        assert_eq!(answer.bytes().await.unwrap(), if json { &b"{}"[..] } else { b"" });
    }
    let store = sink.store();
    let [a, b] = &store.histogram_points(DURATION)[..] else { panic!("{:?}", store.metrics()) };
    assert_eq!((&a.attributes, &a.histogram), (&b.attributes, &b.histogram));
    let encodings: Vec<_> = sink.received().iter().map(|received| received.encoding).collect();
    assert_eq!(encodings, [Some(RequestEncoding::OtlpProtobuf), Some(RequestEncoding::OtlpJson)]);

    sink.fail_next(1, &Fault::PartialSuccess { rejected: 2, message: "too old".to_owned() });
    let body = serde_json::to_vec(&request("c", vec![counter(CUMULATIVE, 1, 2, 3)])).unwrap();
    let answer = post_bytes(&sink, body, JSON, "identity").await.unwrap().text().await.unwrap();
    let partial: serde_json::Value = serde_json::from_str(&answer).unwrap();
    let expected = serde_json::json!({"rejectedDataPoints": "2", "errorMessage": "too old"});
    assert_eq!(partial["partialSuccess"], expected);
}

#[tokio::test]
async fn invalid_otlp_is_rejected_and_reported() {
    let sink = Sink::start(0).await.unwrap();
    let plain = request("a", vec![counter(CUMULATIVE, 1, 2, 3)]).encode_to_vec();
    for (body, content_type, encoding) in [
        (b"\xff\xff\xff".to_vec(), PROTOBUF, "identity"),
        (plain.clone(), "application/json", "identity"),
        (plain.clone(), PROTOBUF, "gzip"),
        (plain, PROTOBUF, "br"),
    ] {
        assert_eq!(post_bytes(&sink, body, content_type, encoding).await.unwrap().status(), 400);
    }
    assert_eq!(sink.problems().len(), 4, "{:?}", sink.problems());
    assert_eq!(sink.sum(COUNTER, &[]), 0);
}

#[tokio::test]
async fn faults_are_applied_in_order_and_store_nothing() {
    let sink = Sink::start(0).await.unwrap();
    let message = request("a", vec![counter(CUMULATIVE, 1, 2, 3)]);
    sink.fail_next(1, &Fault::status(429).header("retry-after", "7"));
    sink.fail_next(2, &Fault::Close);
    let answer = post(&sink, &message).await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["retry-after"]),
        (429, &HeaderValue::from_static("7"))
    );
    assert!(post(&sink, &message).await.is_err());
    assert!(post(&sink, &message).await.is_err());
    assert_eq!(sink.sum(COUNTER, &[]), 0);

    sink.fail_next(1, &Fault::PartialSuccess { rejected: 2, message: "too old".to_owned() });
    let body = post(&sink, &message).await.unwrap().bytes().await.unwrap();
    let partial = ExportMetricsServiceResponse::decode(body).unwrap().partial_success.unwrap();
    assert_eq!((partial.rejected_data_points, partial.error_message.as_str()), (2, "too old"));

    sink.fail_always(Fault::status(503));
    for _ in 0..3 {
        assert_eq!(post(&sink, &message).await.unwrap().status(), 503);
    }
    sink.heal();
    assert_eq!(post(&sink, &message).await.unwrap().status(), 200);
    let answered: Vec<_> = sink.received().iter().map(|received| received.answered).collect();
    let expected = [Some(429), None, None, Some(200), Some(503), Some(503), Some(503), Some(200)];
    assert_eq!(answered, expected);
    assert!(sink.problems().is_empty());
}

#[tokio::test]
async fn a_hanging_sink_does_not_answer() {
    let sink = Sink::start(0).await.unwrap();
    sink.fail_next(1, &Fault::Hang);
    let post = reqwest::Client::new().post(format!("http://{}/", sink.address()));
    let post = post.header("content-type", PROTOBUF).timeout(Duration::from_millis(100));
    assert!(post.send().await.unwrap_err().is_timeout());
    assert_eq!(sink.received().len(), 1);
}

#[tokio::test]
async fn waiting_ends_when_the_store_has_the_value() {
    let sink = Sink::start(0).await.unwrap();
    let probe = |store: &Store| Seen::when(store.sum(COUNTER, &[]) == 3, store.sum(COUNTER, &[]));
    let early = sink.wait_until("the counter to be 3", Duration::from_millis(5), probe).await;
    let error = format!("{:#}", early.unwrap_err());
    assert!(error.contains("0 requests") && error.contains("the counter to be 3"), "{error}");
    let message = request("a", vec![counter(CUMULATIVE, 1, 2, 3)]);
    let (posted, waited) =
        tokio::join!(post(&sink, &message), sink.wait_until("3", Duration::from_secs(5), probe));
    assert_eq!(posted.unwrap().status(), 200);
    assert_eq!(waited.unwrap(), 3);
}
