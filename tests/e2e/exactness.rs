//! Exactness: every request of every worker is counted once, with any outcome.

use anyhow::Result;
use tributary_tests::config::EnvoyConfig;
use tributary_tests::load::{Ending, Shape};
use tributary_tests::metrics::ReceivedAttribute;
use tributary_tests::scene::{COUNTER, DURATION, Scene};
use tributary_tests::upstream::UpstreamFault;

const REQUESTS: u64 = 200_000;

/// Returns shapes of requests that get a complete response.
pub(crate) fn answered() -> [Shape; 8] {
    [
        Shape::get("users", "/users/1").weight(40),
        Shape::new("create", "POST", "/users").body("name=x").status(201).weight(10),
        Shape::get("missing", "/orders/3").status(404).weight(10),
        Shape::get("declined", "/payments").status(500).weight(5),
        Shape::get("failing upstream", "/payments").fault(UpstreamFault::Reset).weight(5),
        Shape::get("no route", "/nowhere").weight(5),
        Shape::get("health", "/health").weight(10),
        Shape::get("not UTF-8", "/users/2").header("x-name", b"caf\xff").weight(5),
    ]
}

/// Returns shapes of requests that their clients abort, and of bytes that are not HTTP.
pub(crate) fn broken() -> [Shape; 5] {
    [
        Shape::get("closed", "/users/2").delay_ms(60_000).ending(Ending::CloseBeforeResponse).weight(2),
        Shape::get("reset", "/orders/1").delay_ms(60_000).ending(Ending::ResetBeforeResponse).weight(2),
        Shape::get("half a header", "/orders/2").ending(Ending::HalfHeader).weight(1),
        Shape::get("reset later", "/orders/3")
            .body_bytes(100_000)
            .ending(Ending::ResetDuringResponse)
            .weight(2),
        Shape::raw("malformed", "GET /users HTTP/1.1\r\nno colon\r\n\r\n").weight(1),
    ]
}

/// Returns shapes of requests with all kinds of clients and upstream failures.
fn all_kinds() -> impl Iterator<Item = Shape> {
    let strange = Shape::new("strange method", "PROPFIND", "/users").weight(2);
    answered().into_iter().chain(broken()).chain([strange])
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_thousand_requests_of_all_kinds_agree_with_envoys_own_counters() -> Result<()> {
    let scene = Scene::start(2, |config| config).await?;
    let tally = scene.load(REQUESTS, all_kinds()).await?;

    // Envoy creates no filter for a stream with incomplete headers: only an access logger could observe it.
    let unseen = tally.shape("half a header").sent();
    scene.wait_for_export(REQUESTS - unseen).await?;

    let stats = scene.stats().await?;
    let envoy = |name: &str| stats.counter(&format!("http.ingress.downstream_{name}"));
    let tributary = |name: &str| stats.counter(&format!("wasmcustom.tributary_{name}"));
    assert_eq!(envoy("rq_total")?, REQUESTS);
    assert_eq!(tributary("observations_aggregated")?, REQUESTS - unseen);

    let store = scene.sink.store();
    let points = store.histogram_points(DURATION);
    let by_status = |matches: &dyn Fn(Option<i64>) -> bool| -> u64 {
        let status = |value: Option<&ReceivedAttribute>| match value {
            Some(ReceivedAttribute::Int(status)) => Some(*status),
            _ => None,
        };
        let key = "http.response.status_code";
        points.iter().filter(|p| matches(status(p.attributes.get(key)))).map(|p| p.histogram.count).sum()
    };
    for (class, name) in [(2, "rq_2xx"), (4, "rq_4xx"), (5, "rq_5xx")] {
        assert_eq!(
            by_status(&|status| status.is_some_and(|status| status / 100 == class)),
            envoy(name)?,
            "{name}"
        );
    }
    assert_eq!(by_status(&|status| status.is_some()), envoy("rq_completed")?);
    assert_eq!(by_status(&|status| status.is_none()), tally.aborted() - unseen);

    let sent = |shape: &str| tally.shape(shape).sent();
    let counted = |wanted: &[(&str, &str)]| store.count(DURATION, wanted);
    assert_eq!(counted(&[("http.request.method", "_OTHER")]), sent("strange method"));
    assert_eq!(counted(&[("http.request.method", "POST")]), sent("create"));
    assert_eq!(counted(&[("http.route", "health")]), sent("health"));
    assert_eq!(counted(&[("http.response.status_code", "503")]), sent("failing upstream"));
    assert_eq!(store.sum(COUNTER, &[("key", "requests")]), REQUESTS - unseen);

    for fault in
        ["batches_missing", "batches_duplicate", "batches_invalid", "points_dropped", "exports_failed"]
    {
        assert_eq!(tributary(fault)?, 0, "{fault}");
    }
    assert_eq!(scene.sink.problems(), Vec::<String>::new());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_logger_counts_even_streams_with_incomplete_headers() -> Result<()> {
    let requests = 20_000;
    let scene = Scene::start(2, EnvoyConfig::as_access_logger).await?;
    scene.load(requests, all_kinds()).await?;
    scene.wait_for_export(requests).await?;
    assert_eq!(scene.stats().await?.counter("http.ingress.downstream_rq_total")?, requests);
    Ok(())
}
