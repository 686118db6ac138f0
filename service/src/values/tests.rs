//! Shared values on the fake host.

use proxy_wasm::types::LogLevel;
use tributary_host::fake::{self, FakeResponse};
use tributary_host::logging;

use super::*;
use crate::config::ServiceConfig;
use crate::http_calls::FakeCalls;

const SECOND: u64 = 1_000_000_000;

fn values(more: &str) -> SharedValues {
    logging::install();
    let json = format!(
        r#"{{"values": [{{"name": "jwt", "cluster": "auth", "path": "/token", "every": "15s"{more}}}]}}"#
    );
    SharedValues::new(
        ServiceConfig::parse(json.as_bytes()).unwrap().values,
        fake::with(|host| host.now_unix_nano),
    )
}

fn tick_at(values: &mut SharedValues, seconds: u64) {
    fake::with(|host| host.now_unix_nano = seconds * SECOND);
    values.tick(&FakeCalls);
}

fn respond(values: &mut SharedValues, status: &str, body: &str) {
    let headers = [(":status".to_owned(), status.as_bytes().to_vec())].into();
    let token = fake::with(|host| {
        host.response = Some(FakeResponse { headers, body: body.as_bytes().to_vec() });
        host.posts.last().unwrap().token
    });
    assert!(values.handle_response(Call::from_token(token), true));
}

fn shared() -> (String, u64) {
    let generation = counter::read(&mut HostSharedData, GENERATION_KEY).unwrap().unwrap();
    (String::from_utf8(stored("jwt")).unwrap(), generation)
}

fn sent() -> usize {
    fake::with(|host| host.posts.len())
}

fn warnings() -> Vec<String> {
    fake::with(|host| host.logged(LogLevel::Warn).into_iter().map(str::to_owned).collect())
}

#[test]
fn a_value_is_fetched_once_per_period_and_published_when_it_changes() {
    fake::reset();
    let mut values = values(r#", "body": "grant", "method": "POST""#);
    for (second, token) in [(0, "one"), (16, "one"), (32, "two")] {
        tick_at(&mut values, second);
        tick_at(&mut values, second);
        respond(&mut values, "200", token);
    }
    assert_eq!((sent(), shared()), (3, ("two".to_owned(), 2)), "the generation counts changes");
    let post = fake::with(|host| host.posts[0].clone());
    assert_eq!((post.cluster.as_str(), post.body.as_slice()), ("auth", &b"grant"[..]));
    assert_eq!(post.headers[0], (":method".to_owned(), "POST".to_owned()));
    assert_eq!(
        fake::with(|host| (host.stat("tributary_values_fetched"), host.stat("tributary_values_failed"))),
        (3, 0)
    );
}

#[test]
fn the_last_good_value_is_kept_while_fetching_fails_until_it_is_too_old() {
    fake::reset();
    let mut values = values(r#", "keep_on_failure": "1m""#);
    tick_at(&mut values, 0);
    respond(&mut values, "200", "s3cret");
    for second in 16..60 {
        let before = sent();
        tick_at(&mut values, second);
        if sent() > before {
            respond(&mut values, "503", "");
        }
    }
    assert_eq!(shared(), ("s3cret".to_owned(), 1));
    assert!(sent() < 12, "with backoff, not every tick: {}", sent());
    tick_at(&mut values, 61);
    assert_eq!(shared(), (String::new(), 2), "removed, with a new generation");
    assert_eq!(fake::with(|host| host.stat("tributary_values_missing")), 1);
    tick_at(&mut values, 200);
    respond(&mut values, "200", "two");
    tick_at(&mut values, 201);
    assert_eq!(
        (shared(), fake::with(|host| host.stat("tributary_values_missing"))),
        (("two".to_owned(), 3), 0)
    );
    assert!(warnings()[0].contains("value \"jwt\" from cluster \"auth\": HTTP 503"), "{:?}", warnings());
    assert!(warnings().iter().all(|line| !line.contains("s3cret")), "a value is never logged");
}

#[test]
fn a_response_without_a_valid_value_is_a_failure() {
    for (more, status, body) in [
        ("", "200", "a\r\nx-admin: yes"),
        ("", "302", "moved"),
        (r#", "from": "json:/token""#, "200", "<html>"),
        (r#", "max_bytes": 3"#, "200", "long"),
        // exp: 1
        (r#", "expires_by": "jwt""#, "200", "e30.eyJleHAiOjF9."),
    ] {
        fake::reset();
        fake::with(|host| host.now_unix_nano = 100 * SECOND);
        let mut values = values(more);
        tick_at(&mut values, 100);
        respond(&mut values, status, body);
        assert_eq!(shared(), (String::new(), 0), "{body}");
        assert_eq!(fake::with(|host| host.stat("tributary_values_failed")), 1);
    }
}

#[test]
fn a_token_is_fetched_again_before_it_expires() {
    fake::reset();
    let mut values = values(r#", "expires_by": "jwt", "refresh_before": "5s", "from": "json:/t""#);
    tick_at(&mut values, 0);
    // exp: 12
    respond(&mut values, "200", r#"{"t": "e30.eyJleHAiOjEyfQ."}"#);
    tick_at(&mut values, 5);
    assert_eq!(sent(), 1);
    tick_at(&mut values, 7);
    assert_eq!(sent(), 2, "5 s before second 12");
}

#[test]
fn a_missing_cluster_is_retried() {
    fake::reset();
    fake::with(|host| host.reject_calls = Some(Status::BadArgument));
    let mut values = values("");
    tick_at(&mut values, 0);
    fake::with(|host| host.reject_calls = None);
    tick_at(&mut values, 2);
    respond(&mut values, "200", "one");
    assert_eq!(shared(), ("one".to_owned(), 1));
}

#[test]
fn a_second_writer_of_a_value_is_reported() {
    fake::reset();
    let mut values = values("");
    tick_at(&mut values, 0);
    respond(&mut values, "200", "one");
    fake::with(|host| host.store.set(&shared_key("jwt"), b"theirs", 0)).unwrap();
    tick_at(&mut values, 16);
    respond(&mut values, "200", "one");
    assert!(warnings()[0].contains("another plugin or service writes it too"), "{:?}", warnings());
    assert_eq!(shared().0, "one");
}

#[test]
fn a_restarted_service_keeps_the_value_of_the_previous_one() {
    fake::reset();
    fake::with(|host| host.store.set(&shared_key("jwt"), b"old", 0)).unwrap();
    let mut values = values(r#", "keep_on_failure": "1m""#);
    tick_at(&mut values, 0);
    respond(&mut values, "503", "");
    assert_eq!(shared().0, "old");
    tick_at(&mut values, 61);
    assert_eq!(shared().0, "");
}

#[test]
fn without_values_nothing_is_fetched() {
    fake::reset();
    let mut values = SharedValues::new(vec![], 0);
    values.tick(&FakeCalls);
    assert!(!values.handle_response(Call::from_token(1), true));
    assert_eq!(sent(), 0);
}
