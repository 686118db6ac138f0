//! A worker on the in-memory Envoy.

use std::hash::{BuildHasherDefault, DefaultHasher};

use proxy_wasm::types::LogLevel;
use tributary_host::fake;
use tributary_proto::batch::{Batch, Point, Series};
use tributary_proto::counter::shared_key;
use tributary_proto::otlp::any_value;

use super::*;

mod connections;
mod reading;

type TestWorker = Worker<BuildHasherDefault<DefaultHasher>>;

fn worker(json: &str) -> TestWorker {
    logging();
    let config = WorkerConfig::parse(json.as_bytes()).unwrap();
    Worker::new(config, [7, 8, 9], BuildHasherDefault::default()).unwrap()
}

fn logging() {
    tributary_host::logging::install();
}

fn service() -> u32 {
    fake::with(|host| host.queues.register(QUEUE_HTTP, "service"))
}

fn request(route: &str) -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("request.method", b"GET".to_vec()),
        ("response.code", 200_i64.to_le_bytes().to_vec()),
        ("xds.route_name", route.as_bytes().to_vec()),
        ("request.scheme", b"http".to_vec()),
        ("request.duration", 1_000_000_i64.to_le_bytes().to_vec()),
        ("response.flags", 0_i64.to_le_bytes().to_vec()),
        ("request.size", 10_i64.to_le_bytes().to_vec()),
        ("response.size", 20_i64.to_le_bytes().to_vec()),
        ("request.protocol", b"HTTP/1.1".to_vec()),
    ]
}

fn observe(worker: &mut TestWorker, attributes: Vec<(&'static str, Vec<u8>)>) {
    fake::with(|host| host.streams.begin(attributes));
    worker.log_entry();
}

/// Dequeues all batches.
fn batches(token: u32) -> Vec<Batch> {
    std::iter::from_fn(|| fake::with(|host| host.queues.dequeue(token)).ok())
        .map(|bytes| Batch::decode(bytes).unwrap())
        .collect()
}

/// Returns the text of an attribute of a series.
fn attribute(series: &Series, name: &str) -> String {
    let attributes = tributary_proto::attributes::decode(&series.attributes).unwrap();
    let value =
        attributes.into_iter().find(|attribute| attribute.key == name).and_then(|found| found.value?.value);
    match value {
        Some(any_value::Value::StringValue(text)) => text,
        other => format!("{other:?}"),
    }
}

fn counter_value() -> u64 {
    let value = fake::with(|host| host.store.get(&shared_key("requests"))).map(|(value, _)| value);
    value.map_or(0, |value| u64::from_le_bytes(value.try_into().unwrap()))
}

#[test]
fn a_flush_enqueues_one_batch_with_all_observations() {
    fake::reset();
    let token = service();
    let mut worker = worker("");
    worker.flush();
    for route in ["a", "b", "a"] {
        observe(&mut worker, request(route));
    }
    worker.flush();
    worker.flush();
    let batches = batches(token);
    let [batch] = batches.as_slice() else { panic!("one batch, not {}", batches.len()) };
    assert_eq!((batch.producer, batch.sequence, batch.observations()), (7, 1, 3));
    assert_eq!(batch.counters, ["requests"]);
    assert_eq!(batch.groups[0].series.len(), 2);
    assert_eq!(counter_value(), 3);
    assert_eq!(
        fake::with(|host| (host.streams.evaluations, host.streams.properties)),
        (3, 1),
        "one call each, and one for the kind of streams"
    );
}

#[test]
fn with_max_requests_1_each_request_is_one_batch() {
    fake::reset();
    let token = service();
    let mut worker = worker(r#"{"flush": {"max_requests": 1}}"#);
    observe(&mut worker, request("a"));
    observe(&mut worker, request("a"));
    observe(&mut worker, request("a"));
    let seen: Vec<_> = batches(token).iter().map(|batch| (batch.sequence, batch.observations())).collect();
    assert_eq!(seen, [(1, 1), (2, 1), (3, 1)]);
}

#[test]
fn without_a_service_the_worker_keeps_folding_and_logs_once() {
    fake::reset();
    let mut worker = worker("");
    for _ in 0..100 {
        observe(&mut worker, request("a"));
        worker.flush();
    }
    let lines = fake::with(|host| host.logged(LogLevel::Warn).len());
    assert_eq!(lines, 1);
    let token = service();
    worker.flush();
    let batches = batches(token);
    assert_eq!(batches.len(), 1);
    assert_eq!(batches[0].observations(), 100);
}

#[test]
fn a_worker_that_shuts_down_flushes_even_without_a_heartbeat() {
    fake::reset();
    let token = service();
    let mut worker = worker("");
    let beat = tributary_proto::heartbeat::encode(1);
    fake::with(|host| {
        host.store.set(tributary_proto::heartbeat::KEY, &beat, 0).unwrap();
        host.now_unix_nano = 60_000_000_000;
    });
    observe(&mut worker, request("a"));
    worker.tick();
    assert!(batches(token).is_empty(), "a tick does not");
    worker.finish();
    assert_eq!(batches(token).iter().map(Batch::observations).sum::<u64>(), 1);
}

#[test]
fn a_worker_adds_to_counters_while_63_others_shut_down() {
    fake::reset();
    let mut worker = worker("");
    observe(&mut worker, request("a"));
    // There is a worker on each of 64 cores.
    fake::with(|host| host.store.outrun = 63);
    worker.flush();
    assert_eq!(counter_value(), 0, "the next flush tries again");
    worker.finish();
    assert_eq!(counter_value(), 1);
}

#[test]
fn a_queue_that_is_not_emptied_is_noticed_between_two_ticks() {
    fake::reset();
    service();
    let mut worker = worker(r#"{"flush": {"max_requests": 1, "interval": "5m"}}"#);
    for _ in 0..12_000 {
        observe(&mut worker, request("a"));
    }
    assert_eq!(fake::with(|host| host.queues.len(QUEUE_HTTP)), 8_192);
    let stat = |name| fake::with(|host| host.stat(name));
    let (observed, enqueued) =
        (stat("tributary_observations_total"), stat("tributary_observations_enqueued"));
    assert_eq!((observed, enqueued), (12_000, 8_192));
}

#[test]
fn a_counter_counts_only_streams_that_meet_its_condition() {
    fake::reset();
    let json = r#"{"counters": [{"key": "requests", "condition": "is_error(response)"}]}"#;
    let mut worker = worker(json);
    for is_error in [1, 0, 1] {
        let mut attributes = request("a");
        attributes.push(("is_error(response)", vec![is_error]));
        observe(&mut worker, attributes);
    }
    observe(&mut worker, request("a"));
    worker.flush();
    assert_eq!(counter_value(), 2, "a condition that fails is not met");
}

#[test]
fn a_grpc_call_counts_as_a_request_and_as_a_call_with_its_messages() {
    fake::reset();
    let token = service();
    let json = r#"{"grpc_messages": true}"#;
    let mut worker = worker(json);
    let calls = WorkerConfig::parse(json.as_bytes()).unwrap().plan.calls.unwrap();
    let text = |at: usize| -> &'static str { calls.group.sources[at].item.clone().leak() };
    let mut call = request("a");
    call[0].1 = b"POST".to_vec();
    let plain = call.clone();
    call.push((text(calls.indicator).trim_matches(['(', ')']), b"/p.S/M".to_vec()));
    call.push((text(calls.indicator), b"/p.S/M".to_vec()));
    call.push((text(1), 14_i64.to_le_bytes().to_vec()));
    call.push((Source::grpc_messages().guarded.leak(), b"3,500".to_vec()));
    // A server that does not speak gRPC responds.
    let mut page = call.clone();
    page[1].1 = 503_i64.to_le_bytes().to_vec();
    let mut moved = plain.clone();
    moved[1].1 = 302_i64.to_le_bytes().to_vec();
    let mut post = plain;
    post.push((text(calls.indicator), b"".to_vec()));
    post.push((text(1), 2_i64.to_le_bytes().to_vec()));
    for attributes in [call, page, moved, post, request("a")] {
        observe(&mut worker, attributes);
    }
    assert_eq!(
        fake::with(|host| host.streams.evaluations),
        8,
        "the list for calls is evaluated only for a POST with a matching status"
    );
    assert_eq!(fake::with(|host| host.stat("tributary_read_one_by_one")), 0);
    worker.flush();
    let batches = batches(token);
    let [requests, calls] = &batches[..] else { panic!("two, not {}", batches.len()) };
    assert_eq!((requests.producer, requests.observations()), (7, 5));
    assert_eq!((calls.producer, calls.observations()), (8, 0), "each request is counted once");
    let [call] = &calls.groups[0].series[..] else { panic!("one series of calls") };
    let names = ["rpc.system.name", "rpc.method", "rpc.status_code", "error.type"];
    assert_eq!(names.map(|name| attribute(call, name)), ["grpc", "p.S/M", "UNAVAILABLE", "UNAVAILABLE"]);
    let [Point::Histogram(calls), Point::Histogram(requests), Point::Histogram(responses)] = &call.points[..]
    else {
        panic!("three histograms")
    };
    let seen = [calls, requests, responses].map(|histogram| (histogram.count(), histogram.sum()));
    assert_eq!(seen, [(2, 2_000_000), (2, 6), (2, 1_000)]);
}

#[test]
fn a_request_that_envoy_redirects_internally_counts_once() {
    let pass = |status: Option<i64>, details: &str| {
        let mut attributes = request("a");
        attributes.retain(|(path, _)| *path != "response.code");
        attributes.extend(status.map(|status| ("response.code", status.to_le_bytes().to_vec())));
        attributes.push(("response.code_details", details.as_bytes().to_vec()));
        attributes
    };
    for (json, plain_reads) in [("", 0), (r#"{"preset": "none", "counters": [{"key": "requests"}]}"#, 1)] {
        fake::reset();
        let token = service();
        let mut worker = worker(json);
        for status in [Some(302), Some(307), None] {
            observe(&mut worker, pass(status, "internal_redirect"));
        }
        fake::with(|host| host.streams.properties = 0);
        observe(&mut worker, pass(Some(200), "via_upstream"));
        assert_eq!(fake::with(|host| host.streams.properties), plain_reads, "{json}");
        for status in [Some(302), None] {
            observe(&mut worker, pass(status, "via_upstream"));
        }
        worker.flush();
        assert_eq!(batches(token).iter().map(Batch::observations).sum::<u64>(), 3, "{json}");
        assert_eq!(counter_value(), 3, "{json}");
        assert_eq!(fake::with(|host| host.stat("tributary_observations_total")), 3, "{json}");
    }
}

#[test]
fn requests_in_flight_are_started_minus_ended_ones() {
    fake::reset();
    let token = service();
    let mut worker = worker(r#"{"in_flight": true}"#);
    let mut seen = Vec::new();
    for (started, ended) in [(3, 1), (1, 1), (0, 2)] {
        (0..started).for_each(|_| worker.stream_created());
        for _ in 0..ended {
            fake::with(|host| host.streams.begin(request("a")));
            worker.stream_ended(ContextId::new(1), false);
        }
        worker.flush();
        let change = batches(token).iter().find(|batch| batch.producer == 9).map(|batch| {
            let group = &batch.groups[0];
            assert_eq!(
                (group.metrics[0].name.as_str(), batch.observations()),
                ("http.server.active_requests", 0)
            );
            group.series[0].points[0].clone()
        });
        seen.push(change);
    }
    assert_eq!(seen, [Some(Point::UpDownCounter(2)), None, Some(Point::UpDownCounter(-2))]);
}

#[test]
fn without_cel_expressions_properties_are_read() {
    fake::reset();
    fake::with(|host| host.streams.without_expressions = true);
    let token = service();
    let mut worker = worker("");
    observe(&mut worker, request("a"));
    worker.flush();
    let batch = batches(token).remove(0);
    let Point::Histogram(histogram) = &batch.groups[0].series[0].points[0] else { panic!("a histogram") };
    assert_eq!((histogram.count(), histogram.sum()), (1, 1_000_000));
}

#[test]
fn a_counter_can_be_updated_with_each_request() {
    fake::reset();
    let mut worker = worker(r#"{"counters": [{"key": "requests", "when": "request"}]}"#);
    observe(&mut worker, request("a"));
    assert_eq!(counter_value(), 1);
}

#[test]
fn a_shared_value_that_is_not_a_counter_is_logged_once_and_not_changed() {
    fake::reset();
    fake::with(|host| host.store.set(&shared_key("requests"), b"text", 0)).unwrap();
    let mut worker = worker("");
    for _ in 0..3 {
        observe(&mut worker, request("a"));
        worker.flush();
    }
    let is_about_it = |line: &&str| line.contains("another plugin uses its key");
    let lines = fake::with(|host| host.logged(LogLevel::Warn).into_iter().filter(is_about_it).count());
    assert_eq!(lines, 1);
    assert_eq!(fake::with(|host| host.store.get(&shared_key("requests"))).unwrap().0, b"text");
}

#[test]
fn values_that_are_not_utf_8_are_counted() {
    fake::reset();
    let (token, mut worker) = (service(), worker(""));
    let mut invalid = request("a");
    invalid[0].1 = b"B\xff\0EW".to_vec();
    invalid[2].1 = b"\xff\xfe".to_vec();
    observe(&mut worker, invalid);
    worker.flush();
    assert_eq!(batches(token)[0].observations(), 1);
}
