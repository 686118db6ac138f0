//! The console on the fake host: the response of each path, and when it is sent.

use prost::Message;
use proxy_wasm::types::MapType;
use tributary_host::fake;
use tributary_proto::console::{FLUSH_KEY, SnapshotPart};
use tributary_proto::exports::{self, Export};
use tributary_proto::heartbeat;

use super::*;

const SECOND: u64 = 1_000_000_000;

fn console() -> Console {
    fake::reset();
    set(heartbeat::KEY, &heartbeat::encode(100 * SECOND));
    at(100 * SECOND);
    let mut console = Console::new(Duration::from_secs(1));
    console.tick();
    console
}

#[test]
fn no_request_waits_before_the_first_tick() {
    let (_, mut console) = (console(), Console::new(Duration::from_secs(1)));
    let (status, text) = ask(&mut console, "GET", "/metrics", &[]).unwrap();
    assert!(status == 503 && text.contains("proxy_on_tick"), "{status} {text}");
    console.tick();
    assert_eq!(ask(&mut console, "GET", "/metrics", &[]), None);
}

fn at(now: u64) {
    fake::with(|host| host.now_unix_nano = now);
}

fn set(key: &str, value: &[u8]) {
    fake::with(|host| host.store.set(key, value, 0)).unwrap();
}

fn number(key: &str) -> Option<u64> {
    let (bytes, _) = fake::with(|host| host.store.get(key)).ok()?;
    Some(u64::from_le_bytes(bytes.try_into().unwrap()))
}

fn set_exports(export: Export) {
    set(exports::KEY, &exports::encode([&export].into_iter(), ""));
}

/// Sends a request as stream 7; returns the status and body of the response, or `None` if the request waits.
fn ask(console: &mut Console, method: &str, path: &str, more: &[(&str, &str)]) -> Option<(u16, String)> {
    let mut headers = vec![(":method".to_owned(), method.to_owned()), (":path".to_owned(), path.to_owned())];
    headers.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    fake::with(|host| {
        host.set_headers(MapType::HttpRequestHeaders, headers);
        host.streams.open.insert(7, Default::default());
    });
    assert_eq!(console.request(ContextId::new(7)), Action::Pause);
    response()
}

fn response() -> Option<(u16, String)> {
    fake::with(|host| host.responses.pop())
}

fn header(name: &str) -> Option<String> {
    let headers = fake::with(|host| host.response_headers.clone());
    headers.into_iter().find(|(present, _)| present == name).map(|(_, value)| value)
}

#[test]
fn a_queue_whose_batches_do_not_arrive_is_unhealthy() {
    let mut console = console();
    set(exports::KEY, &exports::encode([].into_iter(), ""));
    assert_eq!(ask(&mut console, "GET", "/healthz", &[]), Some((200, "ok\n".to_owned())));
    set(exports::KEY, &exports::encode([].into_iter(), "none arrives"));
    assert_eq!(ask(&mut console, "GET", "/healthz", &[]), Some((503, "none arrives\n".to_owned())));
}

fn publish(time: u64) {
    let part = SnapshotPart { time_unix_nano: time, ..SnapshotPart::default() };
    set(SNAPSHOT_KEY, &part.encode_length_delimited_to_vec());
    set(SNAPSHOT_TIME_KEY, &time.to_le_bytes());
}

#[test]
fn each_path_has_its_methods() {
    let mut console = console();
    publish(100 * SECOND);
    for (method, path, status, content_type) in [
        ("GET", "/", 200, "text/html; charset=utf-8"),
        ("HEAD", "/?x=1", 200, "text/html; charset=utf-8"),
        ("GET", "/metrics", 200, "text/plain; version=0.0.4; charset=utf-8"),
        ("GET", "/snapshot.json", 200, "application/json"),
        ("GET", "/healthz", 200, "text/plain; charset=utf-8"),
        ("POST", "/", 405, "text/plain; charset=utf-8"),
        ("GET", "/flush", 405, "text/plain; charset=utf-8"),
        ("DELETE", "/metrics", 405, "text/plain; charset=utf-8"),
        ("GET", "/nothing", 404, "text/plain; charset=utf-8"),
        ("PUT", "/nothing", 404, "text/plain; charset=utf-8"),
    ] {
        let (found, _) = ask(&mut console, method, path, &[]).unwrap();
        assert_eq!(
            (found, header("content-type").as_deref()),
            (status, Some(content_type)),
            "{method} {path}"
        );
        assert_eq!(header("allow").is_some(), status == 405, "{method} {path}");
    }
    let accept = [("accept", "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.2")];
    let (_, body) = ask(&mut console, "GET", "/metrics", &accept).unwrap();
    assert!(body.ends_with("# EOF\n"));
    let other = [("sec-fetch-site", "cross-site")];
    assert_eq!(ask(&mut console, "POST", "/flush", &other).unwrap().0, 403);
}

#[test]
fn a_request_waits_for_a_recent_snapshot() {
    let mut console = console();
    publish(100 * SECOND);
    at(101 * SECOND);
    assert_eq!(ask(&mut console, "GET", "/snapshot.json", &[]).unwrap().0, 200);
    assert_eq!(number(ASKED_KEY), None, "it is recent enough");
    at(102 * SECOND);
    assert_eq!(ask(&mut console, "GET", "/snapshot.json", &[]), None);
    assert_eq!(number(ASKED_KEY), Some(102 * SECOND));
    console.tick();
    assert_eq!(response(), None);
    publish(102 * SECOND + 1);
    console.tick();
    let (status, body) = response().unwrap();
    assert!(status == 200 && body.contains("\"time_unix_ms\":102000"), "{status} {body}");
    console.tick();
    assert_eq!(response(), None, "once");
}

#[test]
fn a_snapshot_that_never_comes_is_a_503() {
    let mut console = console();
    assert_eq!(ask(&mut console, "GET", "/metrics", &[]), None);
    at(104 * SECOND);
    console.tick();
    assert_eq!(response(), None);
    at(105 * SECOND);
    console.tick();
    assert_eq!((response().unwrap().0, header("retry-after").as_deref()), (503, Some("1")));
    at(200 * SECOND);
    let (status, body) = ask(&mut console, "GET", "/metrics", &[]).unwrap();
    assert!(status == 503 && body.contains("silent"), "{status} {body}");
}

#[test]
fn a_client_that_disconnects_is_forgotten_and_too_many_are_rejected() {
    let mut console = console();
    assert_eq!(ask(&mut console, "GET", "/metrics", &[]), None);
    console.stream_ended(ContextId::new(7));
    publish(100 * SECOND);
    console.tick();
    assert_eq!(response(), None);
    at(103 * SECOND);
    for _ in 0..WAITING_MAX {
        assert_eq!(ask(&mut console, "GET", "/metrics", &[]), None);
    }
    assert_eq!(ask(&mut console, "GET", "/metrics", &[]).unwrap().0, 503);
}

#[test]
fn health_reports_what_is_wrong() {
    let mut console = console();
    let export = Export {
        name: "collector".into(),
        complete_unix_nano: 90 * SECOND,
        patience_ns: 40 * SECOND,
        failures: 3,
        fault: "status 503".into(),
        ..Export::default()
    };
    set_exports(export.clone());
    assert_eq!(ask(&mut console, "GET", "/healthz", &[]).unwrap(), (200, "ok\n".to_owned()));
    set_exports(Export { patience_ns: 5 * SECOND, ..export });
    let (status, body) = ask(&mut console, "GET", "/healthz", &[]).unwrap();
    let expected = "destination \"collector\": the last complete export was 10 s ago, 3 failures since; the last: status 503\n";
    assert_eq!((status, body.as_str()), (503, expected));
    at(100 * SECOND + heartbeat::SILENCE_NS);
    let (status, body) = ask(&mut console, "GET", "/healthz", &[]).unwrap();
    assert!(status == 503 && body.contains("silent"), "{body}");
    fake::reset();
    let (status, body) = ask(&mut console, "GET", "/healthz", &[]).unwrap();
    assert!(status == 503 && body.contains("vm_id"), "{body}");
}

#[test]
fn a_flush_waits_for_workers_then_the_service_then_each_destination() {
    let mut console = console();
    let ledger = LedgerOfOthers::define();
    let export = Export { name: "collector".into(), ..Export::default() };
    set_exports(export.clone());
    ledger.observed.add(10);
    ledger.aggregated.add(4);
    assert_eq!(ask(&mut console, "POST", "/flush?timeout_ms=60000", &[]), None);
    let mut tick = |now: u64| {
        at(now);
        set(heartbeat::KEY, &heartbeat::encode(now));
        console.tick();
        response()
    };
    assert_eq!((tick(101 * SECOND), number(FLUSH_KEY)), (None, None), "workers have not flushed yet");
    ledger.observed.add(2);
    assert_eq!((tick(102 * SECOND), number(FLUSH_KEY)), (None, None), "8 are in the queue");
    ledger.aggregated.add(8);
    assert_eq!((tick(103 * SECOND), number(FLUSH_KEY)), (None, Some(1)), "the service is asked");
    set_exports(Export { flushed: 1, ..export });
    assert_eq!(tick(104 * SECOND).unwrap().0, 200);
}

#[test]
fn a_flush_exports_the_rest_if_a_worker_lost_some_in_a_trap() {
    let mut console = console();
    let ledger = LedgerOfOthers::define();
    let export = Export { name: "collector".into(), ..Export::default() };
    set_exports(export.clone());
    // Three of the ten observations were in the fold of a worker that trapped, and no traffic follows.
    ledger.observed.add(10);
    ledger.enqueued.add(7);
    ledger.aggregated.add(7);
    assert_eq!(ask(&mut console, "POST", "/flush?timeout_ms=10000", &[]), None);
    let mut tick = |now: u64| {
        at(now);
        set(heartbeat::KEY, &heartbeat::encode(now));
        console.tick();
        response()
    };
    assert_eq!((tick(102 * SECOND), number(FLUSH_KEY)), (None, None), "a worker may be late");
    assert_eq!((tick(104 * SECOND), number(FLUSH_KEY)), (None, Some(1)), "the service is asked");
    set_exports(Export { flushed: 1, ..export });
    assert_eq!(tick(105 * SECOND), None, "not everything that was observed is exported");
    let (status, body) = tick(110 * SECOND).unwrap();
    assert!(status == 202 && body.contains("workers: 3 requests"), "{status} {body}");
}

#[test]
fn a_flush_that_does_not_complete_reports_what_it_waits_for() {
    for (aggregated, expected) in [
        (7, "service: 3 requests not aggregated yet"),
        (10, "destination \"collector\": has not responded yet"),
    ] {
        let mut console = console();
        let ledger = LedgerOfOthers::define();
        set_exports(Export { name: "collector".into(), ..Export::default() });
        ledger.observed.add(10);
        ledger.aggregated.add(aggregated);
        assert_eq!(ask(&mut console, "POST", "/flush?timeout_ms=3000", &[]), None);
        at(103 * SECOND);
        console.tick();
        let (status, body) = response().unwrap();
        assert!(status == 202 && body.contains(expected), "{status} {body}");
    }
    let mut console = console();
    at(200 * SECOND);
    assert_eq!(ask(&mut console, "POST", "/flush", &[]).unwrap().0, 503, "no service is running");
}

/// The statistics that workers and the service update.
struct LedgerOfOthers {
    observed: tributary_host::stats::Counter,
    enqueued: tributary_host::stats::Counter,
    aggregated: tributary_host::stats::Counter,
}

impl LedgerOfOthers {
    fn define() -> Self {
        Self {
            observed: tributary_host::stats::Counter::define("tributary_observations_total"),
            enqueued: tributary_host::stats::Counter::define("tributary_observations_enqueued"),
            aggregated: tributary_host::stats::Counter::define("tributary_observations_aggregated"),
        }
    }
}
