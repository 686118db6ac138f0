//! The service on the fake host, with a decoder that shares no code with this project.

mod lasting;
mod self_metrics;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::{
    self as otlp, NumberDataPoint, metric::Data, number_data_point,
};
use prost::Message;
use proxy_wasm::types::LogLevel;
use serde_json::Value;
use tributary_host::fake::main_thread::{self, stat};
use tributary_host::fake::vm::Vm;
use tributary_host::fake::{self, FakeResponse};
use tributary_proto::batch::{Batch, Group, Point, Series};
use tributary_proto::counter::shared_key;
use tributary_proto::metric::{Kind, Metric};
use tributary_proto::shutdown_log;

use super::*;
use crate::intake::counters;
use crate::root::ServiceRoot;

mod console;
mod ledger;
mod restart;

const SECOND: u64 = 1_000_000_000;
/// The budget of a callback.
const CALLBACK_NS: u64 = 1_000_000;

/// A service without metrics about itself.
fn service(json: &str) -> Vm {
    start(&json.replacen('{', r#"{"self_metrics": false, "#, 1))
}

fn start(json: &str) -> Vm {
    Vm::start(ServiceRoot::boxed, json.as_bytes()).unwrap()
}

fn one_destination() -> Vm {
    fake::reset();
    service(r#"{"interval": "1s", "destinations": [{"cluster": "collector"}]}"#)
}

fn batch(sequence: u64, series: &[(&str, u64)]) -> Vec<u8> {
    // Each earlier batch counts as one with the same observations.
    let observed: u64 = series.iter().map(|(_, count)| count).sum();
    let metric = Metric {
        name: "requests".into(),
        unit: "1".into(),
        description: String::new(),
        divisor: 1,
        kind: Kind::Counter,
    };
    let series = series.iter().map(|(route, count)| Series {
        attributes: tributary_proto::attributes::encode(vec![tributary_proto::attributes::text(
            "route", route,
        )])
        .into(),
        observations: *count,
        points: vec![Point::Counter(*count)],
        exemplars: vec![],
    });
    let groups = vec![Group { metrics: vec![metric], series: series.collect() }];
    let observed_before = observed * (sequence - 1);
    Batch { producer: 7, sequence, observed_before, counters: vec!["requests".into()], groups }.encode()
}

/// A batch with this many series.
fn many(count: usize) -> Vec<u8> {
    let names: Vec<String> = (0..count).map(|number| format!("{number:05}")).collect();
    batch(1, &names.iter().map(|name| (name.as_str(), 1)).collect::<Vec<_>>())
}

fn enqueue(item: &[u8]) {
    main_thread::enqueue(QUEUE_HTTP, item).unwrap();
}

fn tick_at(service: &Vm, seconds: u64) {
    service.tick_at(seconds * SECOND);
}

fn respond(service: &Vm, status: &str) {
    respond_with(service, status, vec![]);
}

/// Responds to the last request with a protobuf body.
fn respond_with(service: &Vm, status: &str, body: Vec<u8>) {
    respond_to(service, posts(), status, body);
}

/// Responds to the request with this number, counted from 1, unless it was answered before.
fn respond_to(service: &Vm, number: usize, status: &str, body: Vec<u8>) {
    let token = fake::with(|host| host.posts[number - 1].token);
    let headers = [("content-type", "application/x-protobuf")];
    service.respond(token, Some(FakeResponse::new(status, &headers, body)));
}

/// Sets the counter in shared data.
fn count(value: u64) {
    fake::with(|host| host.store.set(&shared_key("requests"), &value.to_le_bytes(), 0)).unwrap();
}

fn posts() -> usize {
    fake::with(|host| host.posts.len())
}

/// The name and the value of each sum in the last request.
fn last_sums() -> Vec<(String, i64)> {
    sums(&last_body())
}

fn sums(body: &[u8]) -> Vec<(String, i64)> {
    sums_of(&decode(body)).map(|(name, point)| (name.to_owned(), integer(point))).collect()
}

fn decode(body: &[u8]) -> ExportMetricsServiceRequest {
    <ExportMetricsServiceRequest as Message>::decode(body).unwrap()
}

fn metrics(request: &ExportMetricsServiceRequest) -> impl Iterator<Item = &otlp::Metric> {
    let scopes = request.resource_metrics.iter().flat_map(|resource| &resource.scope_metrics);
    scopes.flat_map(|scope| &scope.metrics)
}

/// The points of a request whose metrics are all sums, each with the name of its metric.
fn sums_of(request: &ExportMetricsServiceRequest) -> impl Iterator<Item = (&str, &NumberDataPoint)> {
    metrics(request).flat_map(|metric| {
        let Some(Data::Sum(sum)) = &metric.data else { panic!("a sum, not {metric:?}") };
        sum.data_points.iter().map(|point| (metric.name.as_str(), point))
    })
}

fn integer(point: &NumberDataPoint) -> i64 {
    let Some(number_data_point::Value::AsInt(value)) = point.value else { panic!("an integer: {point:?}") };
    value
}

/// The body of the last request.
fn last_body() -> Vec<u8> {
    fake::with(|host| host.posts.last().unwrap().body.clone())
}

/// The windows of the points in the body of a request: start and end.
fn windows(body: &[u8]) -> Vec<(u64, u64)> {
    let window = |(_, point): (_, &NumberDataPoint)| (point.start_time_unix_nano, point.time_unix_nano);
    sums_of(&decode(body)).map(window).collect()
}

/// The log messages of a level, one per line.
fn logged(level: LogLevel) -> String {
    fake::with(|host| host.logged(level).join("\n"))
}

#[test]
fn batches_are_aggregated_and_exported_once_per_interval() {
    let service = one_destination();
    enqueue(&batch(1, &[("a", 2), ("b", 1)]));
    enqueue(&batch(2, &[("a", 3)]));
    count(6);
    service.queue_ready();
    tick_at(&service, 0);
    assert_eq!(posts(), 0, "nothing is due yet");
    tick_at(&service, 1);
    tick_at(&service, 2);
    assert_eq!(posts(), 1, "one call in flight");
    let sum = |name: &str, value| (name.to_owned(), value);
    assert_eq!(last_sums(), [sum("requests", 5), sum("requests", 1), sum("tributary.counter", 6)]);
    respond(&service, "200");
    tick_at(&service, 3);
    assert_eq!((posts(), stat("points_exported"), stat("observations_aggregated")), (2, 3, 6));
}

#[test]
fn a_request_has_the_configured_headers() {
    fake::reset();
    let json = r#"{"interval": "1s", "destinations": [{"cluster": "c", "path": "/p", "authority": "h",
        "headers": {"x-tenant": "t"}, "timeout": "2s"}]}"#;
    let service = service(json);
    enqueue(&batch(1, &[("a", 1)]));
    tick_at(&service, 1);
    let post = fake::with(|host| host.posts[0].clone());
    assert_eq!((post.cluster.as_str(), post.timeout), ("c", Duration::from_secs(2)));
    let headers: Vec<_> = post.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(
        headers,
        [
            (":method", "POST"),
            (":path", "/p"),
            (":authority", "h"),
            ("x-tenant", "t"),
            ("content-type", "application/x-protobuf"),
            ("user-agent", concat!("tributary/", env!("CARGO_PKG_VERSION"))),
        ]
    );
}

#[test]
fn a_large_table_is_exported_slice_by_slice() {
    fake::reset();
    let json = r#"{"interval": "1s", "destinations": [{"cluster": "c", "max_bytes": 16384}]}"#;
    let service = service(json);
    enqueue(&many(1_000));
    tick_at(&service, 1);
    let mut points = Vec::new();
    while posts() > points.len() {
        assert!(fake::with(|host| host.posts.last().unwrap().body.len()) <= 16_384 + 100);
        points.push(last_sums().len());
        respond(&service, "200");
    }
    assert!(points.len() > 2, "{points:?}");
    assert_eq!(points.iter().sum::<usize>(), 1_001, "all series and the shared counter, each once");
    assert_eq!(stat("points_exported"), 1_001);
}

#[test]
fn a_request_is_written_part_by_part() {
    let service = one_destination();
    enqueue(&many(1_000));
    service.queue_ready();
    fake::with(|host| (host.now_unix_nano, host.clock_step_ns) = (SECOND, CALLBACK_NS / 3));
    let mut ticks = 0;
    while posts() == 0 {
        service.tick();
        ticks += 1;
        assert_eq!(
            fake::with(|host| host.tick_period),
            (posts() == 0).then_some(Duration::from_millis(1)).or(Some(TICK))
        );
    }
    assert!(ticks > 3, "{ticks}");
    assert_eq!(last_sums().len(), 1_001);
    assert_eq!(last_sums().iter().filter(|(name, _)| *name == "tributary.counter").count(), 1);
}

#[test]
fn destinations_take_turns_when_the_budget_is_short() {
    fake::reset();
    let service = service(
        r#"{"interval": "1s", "destinations": [{"cluster": "a"}, {"cluster": "b"}, {"cluster": "c"}]}"#,
    );
    enqueue(&many(300));
    service.queue_ready();
    fake::with(|host| (host.now_unix_nano, host.clock_step_ns) = (SECOND, CALLBACK_NS));
    (0..100).for_each(|_| service.tick());
    let mut clusters =
        fake::with(|host| host.posts.iter().map(|post| post.cluster.clone()).collect::<Vec<_>>());
    clusters.sort();
    assert_eq!(clusters, ["a", "b", "c"]);
}

#[test]
fn an_outage_loses_nothing_and_is_logged_once() {
    let service = one_destination();
    enqueue(&batch(1, &[("a", 1)]));
    for seconds in 1..50 {
        tick_at(&service, seconds);
        respond(&service, "503");
    }
    let tried = posts();
    assert!((4..10).contains(&tried), "waits grow: {tried} tries in 50 seconds");
    enqueue(&batch(2, &[("a", 1)]));
    tick_at(&service, 200);
    assert_eq!(last_sums()[0].1, 2);
    respond(&service, "200");
    assert_eq!(logged(LogLevel::Warn).lines().count(), 1);
    assert_eq!(logged(LogLevel::Info).lines().count(), 1, "one line when it is over");
    assert_eq!(stat("exports_failed"), tried as u64);
}

#[test]
fn a_missing_cluster_is_retried() {
    let service = one_destination();
    fake::with(|host| host.reject_calls = Some(tributary_host::Status::BadArgument));
    enqueue(&batch(1, &[("a", 1)]));
    tick_at(&service, 1);
    let log = logged(LogLevel::Warn);
    assert!(log.contains("the cluster does not exist: check cluster \"collector\""), "{log}");
    fake::with(|host| host.reject_calls = None);
    tick_at(&service, 3);
    assert_eq!(last_sums()[0].1, 1);
}

#[test]
fn a_rejected_request_is_not_retried() {
    let service = one_destination();
    enqueue(&batch(1, &[("a", 1)]));
    tick_at(&service, 1);
    respond(&service, "400");
    assert_eq!((posts(), stat("points_dropped")), (1, 2));
    tick_at(&service, 2);
    assert_eq!(posts(), 2, "the next cycle starts as usual");
}

#[test]
fn destinations_do_not_wait_for_each_other() {
    fake::reset();
    let service = service(r#"{"interval": "1s", "destinations": [{"cluster": "a"}, {"cluster": "b"}]}"#);
    enqueue(&batch(1, &[("a", 1)]));
    tick_at(&service, 1);
    let clusters =
        || fake::with(|host| host.posts.iter().map(|post| post.cluster.clone()).collect::<Vec<_>>());
    assert_eq!(clusters(), ["a", "b"]);
    respond(&service, "200");
    tick_at(&service, 2);
    assert_eq!(clusters(), ["a", "b", "b"], "b was answered, a was not");
}

#[test]
fn invalid_items_gaps_and_duplicates_are_counted() {
    let service = one_destination();
    for item in
        [b"".as_slice(), b"garbage", &batch(1, &[("a", 1)]), &batch(1, &[("a", 1)]), &batch(4, &[("a", 1)])]
    {
        enqueue(item);
    }
    service.queue_ready();
    let stats = ["batches_invalid", "batches_received", "batches_duplicate", "batches_missing"].map(stat);
    assert_eq!(stats, [2, 2, 1, 2]);
    let reasons = ["batches_invalid.sequence", "batches_invalid.malformed"].map(stat);
    assert_eq!(reasons, [1, 1]);
    let log = logged(LogLevel::Warn);
    assert_eq!(log.matches("from the shared queue, which are not a valid batch").count(), 1, "{log}");
}

#[test]
fn a_callback_takes_a_bounded_part_and_the_shutdown_takes_all() {
    let service = one_destination();
    let received = || stat("batches_received");
    (1..=1_000).for_each(|sequence| enqueue(&batch(sequence, &[("a", 1)])));
    fake::with(|host| host.clock_step_ns = CALLBACK_NS / 20);
    service.queue_ready();
    assert!((2..50).contains(&received()), "{}", received());
    let before = received();
    (0..100).for_each(|_| service.queue_ready());
    assert_eq!(received(), before, "the other notifications leave the rest to the next tick");
    assert_eq!(fake::with(|host| host.tick_period), Some(Duration::from_millis(1)));
    service.tick();
    assert!((before + 2..100).contains(&received()), "{}", received());
    service.delete();
    assert_eq!((received(), posts()), (1_000, 0), "nothing is sent");
}

#[test]
fn ticks_are_rare_again_without_a_backlog() {
    let service = one_destination();
    (1..=100).for_each(|sequence| enqueue(&batch(sequence, &[("a", 1)])));
    fake::with(|host| host.clock_step_ns = CALLBACK_NS / 20);
    service.queue_ready();
    (0..100).for_each(|_| service.tick());
    assert_eq!((stat("batches_received"), fake::with(|host| host.tick_period)), (100, Some(TICK)));
}

/// The records in the log of what was not exported to a destination.
fn records(name: &str) -> Vec<Value> {
    let log = logged(LogLevel::Warn);
    let messages = log.lines().filter(|line| line.contains(shutdown_log::MARK));
    let records = messages.map(|message| {
        let (record, _) = shutdown_log::decode(message.strip_prefix("tributary: ").unwrap()).unwrap();
        serde_json::from_str(record).unwrap()
    });
    records.filter(|record: &Value| record["destination"] == name).collect()
}

/// The points in the log lines for a destination.
fn unexported(name: &str) -> Vec<(String, i64)> {
    let mut points = Vec::new();
    for record in records(name).iter().filter(|record| record["request"].is_object()) {
        let request: ExportMetricsServiceRequest = serde_json::from_value(record["request"].clone()).unwrap();
        points.extend(sums_of(&request).map(|(name, point)| (name.to_owned(), integer(point))));
    }
    points.retain(|(name, _)| name == "requests");
    points
}

#[test]
fn the_shutdown_logs_what_was_not_exported() {
    fake::reset();
    let service = service(
        r#"{"interval": "1s", "destinations": [{"cluster": "one"}, {"cluster": "two", "temporality": "delta"}]}"#,
    );
    enqueue(&batch(1, &[("a", 5), ("b", 1)]));
    tick_at(&service, 1);
    tick_at(&service, 2);
    // The first destination accepts it, the second does not respond.
    respond_to(&service, 1, "200", vec![]);
    enqueue(&batch(2, &[("a", 2)]));
    let sent = fake::with(|host| host.posts.len());
    service.delete();
    assert_eq!(fake::with(|host| host.posts.len()), sent, "nothing is sent");
    let requests = |value| ("requests".to_owned(), value);
    assert_eq!(unexported("one"), [requests(7)], "the series that changed, in full");
    assert_eq!(unexported("two"), [requests(7), requests(1)], "both, because it has neither");
    for name in ["one", "two"] {
        let records = records(name);
        assert_eq!((records.len(), &records[0]["line"], &records[1]["lines"]), (2, &1.into(), &1.into()));
    }
}
