//! A request that Envoy redirects internally counts once, with the response that the client receives.

use anyhow::{Result, ensure};
use serde_json::json;
use tributary_tests::config::EnvoyConfig;
use tributary_tests::load::{Load, Mix, Shape};
use tributary_tests::poll::{self, Seen};
use tributary_tests::scene::{COUNTER, DURATION, LIMIT, Scene};
use tributary_tests::upstream::{LOCATION_HEADER, STATUS_HEADER};

const REQUESTS: u64 = 50;
const MANAGER: &str = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config";
const IN_FLIGHT: &str = "http.server.active_requests";

/// Adds a route whose redirects Envoy follows, to a route that is served with status 200.
fn with_redirects(config: EnvoyConfig) -> EnvoyConfig {
    let policy = json!({"redirect_response_codes": [302, 307]});
    config
        .route(json!({
            "name": "moved",
            "match": {"prefix": "/moved"},
            "route": {"cluster": "app", "internal_redirect_policy": policy}
        }))
        .route(json!({
            "name": "target",
            "match": {"prefix": "/target"},
            "route": {"cluster": "app"},
            // Otherwise the upstream would redirect again.
            "request_headers_to_remove": [STATUS_HEADER, LOCATION_HEADER]
        }))
}

/// Requests that are redirected by Envoy, redirected by the client, and not redirected.
fn shapes() -> [Shape; 4] {
    let located = |shape: Shape| shape.header(LOCATION_HEADER, "http://shop.example/target/1");
    let redirected = |name, status| located(Shape::get(name, "/moved/1").status(status));
    [
        redirected("redirected by 302", 302),
        redirected("redirected by 307", 307),
        located(Shape::get("moved for the client", "/orders/1")).status(302),
        Shape::get("users", "/users/1"),
    ]
}

/// Starts Envoy, sends every request, and waits until Envoy has finished each. Returns the number of requests
/// that Envoy redirected.
async fn load(edit: impl FnOnce(EnvoyConfig) -> EnvoyConfig) -> Result<(Scene, u64)> {
    let scene = Scene::start(2, |config| edit(with_redirects(config))).await?;
    let mix = Mix::new(20, shapes())?;
    let tally = Load::new(scene.envoy.listener("ingress")?, REQUESTS, mix).run(|_| ()).await?;
    ensure!(tally.failed() == 0, "{:?}", tally.first_failure);
    let redirected = tally.sent_of(&["redirected by 302", "redirected by 307"]);
    poll::until("Envoy to finish every request", LIMIT, async || {
        let stats = scene.stats().await?;
        let counter = |name: &str| stats.counter(&format!("http.ingress.downstream_rq_{name}"));
        let seen =
            (counter("completed")?, counter("total")?, stats.gauge("http.ingress.downstream_rq_active")?);
        // Envoy counts each redirected request twice in `total`.
        Ok(Seen::when(seen == (REQUESTS, REQUESTS + redirected, 0), seen))
    })
    .await?;
    let served = scene.upstream.served();
    ensure!(redirected > 0 && served.received == REQUESTS + redirected, "{redirected}, {served:?}");
    Ok((scene, redirected))
}

/// Checks that each request counts once, with its last route. On a worker the first pass of a request is
/// flushed no later than its second pass, so it would be counted by now.
async fn expect_each_once((scene, redirected): &(Scene, u64)) -> Result<()> {
    scene.wait_for_export(REQUESTS).await?;
    let (stats, store) = (scene.stats().await?, scene.sink.store());
    assert_eq!(store.count(DURATION, &[("http.route", "moved")]), 0);
    assert_eq!(store.count(DURATION, &[("http.route", "target")]), *redirected);
    assert_eq!(store.count(DURATION, &[]), REQUESTS);
    assert_eq!(stats.counter("wasmcustom.tributary_observations_total")?, REQUESTS);
    assert_eq!(scene.envoy.traps()?, Vec::<String>::new());
    assert_eq!(scene.sink.problems(), Vec::<String>::new());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_http_filter_counts_a_redirected_request_once_and_none_stays_in_flight() -> Result<()> {
    let loaded = load(|config| config.worker("in_flight", true)).await?;
    expect_each_once(&loaded).await?;
    loaded.0.sink.wait_until_equal("the requests in flight", 0, |store| store.sum(IN_FLIGHT, &[])).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_access_logger_counts_a_redirected_request_once() -> Result<()> {
    expect_each_once(&load(EnvoyConfig::as_access_logger).await?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_without_any_metric_count_a_redirected_request_once() -> Result<()> {
    for attach in [EnvoyConfig::as_access_logger, |config| config] {
        let counters = json!([{"key": "requests"}]);
        let edit = |config| attach(config).worker("preset", "none").worker("counters", counters);
        let (scene, _) = load(edit).await?;
        scene.sink.wait_until_equal("the counter", REQUESTS, |store| store.sum(COUNTER, &[])).await?;
        let observed = scene.stats().await?.counter("wasmcustom.tributary_observations_total")?;
        assert_eq!(observed, REQUESTS);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_stream_counts_a_redirected_request_once_with_a_filter_and_twice_without() -> Result<()> {
    let filter = json!({"extension_filter": {
        "name": "envoy.access_loggers.extension_filters.cel",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter",
            "expression": "!has(response.code_details) || response.code_details != 'internal_redirect'"
        }
    }});
    let with_filter = |config: EnvoyConfig| {
        config.as_log_stream().set(&format!("{MANAGER}.access_log[0].filter"), filter.clone())
    };
    expect_each_once(&load(with_filter).await?).await?;
    let (scene, redirected) = load(EnvoyConfig::as_log_stream).await?;
    scene.wait_for_export(REQUESTS + redirected).await
}
