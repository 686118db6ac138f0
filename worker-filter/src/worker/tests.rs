//! A worker on the fake host.

use std::hash::{BuildHasherDefault, DefaultHasher};

use tributary_host::fake;
use tributary_host::logging::Level;
use tributary_proto::batch::{Batch, Point};
use tributary_proto::counter::shared_key;

use super::*;

type TestWorker = Worker<BuildHasherDefault<DefaultHasher>>;

fn worker(json: &str) -> TestWorker {
    logging();
    Worker::new(WorkerConfig::parse(json.as_bytes()).unwrap(), 7, BuildHasherDefault::default())
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
    ]
}

fn observe(worker: &mut TestWorker, attributes: Vec<(&'static str, Vec<u8>)>) {
    fake::with(|host| host.streams.begin(attributes));
    worker.observe();
}

/// Everything in the queue.
fn batches(token: u32) -> Vec<Batch> {
    std::iter::from_fn(|| fake::with(|host| host.queues.dequeue(token)).ok())
        .map(|bytes| Batch::decode(&bytes).unwrap())
        .collect()
}

fn counted() -> u64 {
    let value = fake::with(|host| host.store.get(&shared_key("requests"))).map(|(value, _)| value);
    value.map_or(0, |value| u64::from_le_bytes(value.try_into().unwrap()))
}

#[test]
fn a_tick_hands_over_one_batch_of_everything_seen() {
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
    assert_eq!(counted(), 3);
    assert_eq!(
        fake::with(|host| (host.streams.evaluations, host.streams.properties)),
        (3, 0),
        "one call each"
    );
}

#[test]
fn a_limit_of_one_request_makes_one_batch_of_each() {
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
fn without_a_service_the_fold_goes_on_and_one_line_says_so() {
    fake::reset();
    let mut worker = worker("");
    for _ in 0..100 {
        observe(&mut worker, request("a"));
        worker.flush();
    }
    let lines = fake::with(|host| host.logged(Level::Warn).len());
    assert_eq!(lines, 1);
    let token = service();
    worker.flush();
    let batches = batches(token);
    assert_eq!(batches.len(), 1);
    assert_eq!(batches[0].observations(), 100);
}

#[test]
fn an_absent_attribute_takes_the_slow_way_and_is_counted() {
    fake::reset();
    let token = service();
    let mut worker = worker("");
    let aborted = request("a").into_iter().filter(|(path, _)| *path != "response.code").collect();
    observe(&mut worker, aborted);
    observe(&mut worker, request("a"));
    worker.flush();
    let batch = batches(token).remove(0);
    assert_eq!((batch.observations(), batch.groups[0].series.len()), (2, 2));
    assert_eq!(fake::with(|host| host.stat("tributary_read_one_by_one")), 1);
}

#[test]
fn a_host_without_expressions_serves_as_well() {
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
fn a_counter_may_be_exact_at_every_request() {
    fake::reset();
    let mut worker = worker(r#"{"counters": [{"key": "requests", "when": "request"}]}"#);
    observe(&mut worker, request("a"));
    assert_eq!(counted(), 1);
}

#[test]
fn a_shared_value_that_is_no_counter_is_said_once_and_left_alone() {
    fake::reset();
    fake::with(|host| host.store.set(&shared_key("requests"), b"text", 0)).unwrap();
    let mut worker = worker("");
    for _ in 0..3 {
        observe(&mut worker, request("a"));
        worker.flush();
    }
    let lines: Vec<String> =
        fake::with(|host| host.logged(Level::Warn).into_iter().map(str::to_owned).collect());
    assert_eq!(lines.iter().filter(|line| line.contains("NotACounter")).count(), 1, "{lines:?}");
    assert_eq!(fake::with(|host| host.store.get(&shared_key("requests"))).unwrap().0, b"text");
}

#[test]
fn a_route_that_is_not_utf_8_does_no_harm() {
    fake::reset();
    let token = service();
    let mut worker = worker("");
    let mut strange = request("a");
    strange[0].1 = b"B\xff\0EW".to_vec();
    strange[2].1 = b"\xff\xfe".to_vec();
    observe(&mut worker, strange);
    worker.flush();
    assert_eq!(batches(token)[0].observations(), 1);
}
