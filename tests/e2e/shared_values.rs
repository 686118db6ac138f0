//! Shared values are fetched once per Envoy and available in every worker.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::json;
use tributary_tests::config::EnvoyConfig;
use tributary_tests::load::Shape;
use tributary_tests::poll::{self, Seen};
use tributary_tests::scene::{LIMIT, Scene};
use tributary_tests::token_server::{TokenServer, TokenServerMode};

const WORKERS: u32 = 4;

/// Configures a token that is fetched every second and added to every request.
fn with_tokens(config: EnvoyConfig, server: &TokenServer, if_missing: &str) -> EnvoyConfig {
    config
        .full()
        .static_cluster("auth", std::net::SocketAddr::from(([127, 0, 0, 1], server.port())))
        .service(
            "values",
            json!([{"name": "jwt", "cluster": "auth", "path": "/token", "from": "json:/access_token", "every": "1s",
                    "keep_on_failure": "10m"}]),
        )
        .worker("headers", json!([{"name": "authorization", "value": "Bearer {value:jwt}", "if_missing": if_missing}]))
        .worker("flush", json!({"interval": "50ms"}))
}

fn requests() -> Vec<Shape> {
    vec![
        Shape::get("users", "/users/1"),
        Shape::get("forged", "/users/2").header("authorization", "Bearer forged"),
    ]
}

/// Returns the `authorization` headers that the upstream received since `before`, with their counts.
fn since(scene: &Scene, before: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let now = scene.upstream.served().authorized.into_iter();
    let new = now.map(|(value, count)| (value.clone(), count - before.get(&value).copied().unwrap_or(0)));
    new.filter(|(_, count)| *count > 0).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_fetch_per_period_serves_every_worker() -> Result<()> {
    let server = TokenServer::start(TokenServerMode::Healthy).await?;
    let scene = Scene::start(WORKERS, |config| with_tokens(config, &server, "deny")).await?;
    let mut seen = BTreeMap::new();
    poll::until("five tokens to be used", LIMIT, async || {
        let before = scene.upstream.served().authorized;
        scene.load(400, requests()).await?;
        seen.extend(since(&scene, &before));
        Ok(Seen::when(seen.len() >= 5, seen.clone()))
    })
    .await?;
    let fetched: u64 = scene.stats().await?.counter("wasmcustom.tributary_values_fetched")?;
    assert_eq!(
        server.newest(),
        format!("token-{}", server.fetches()),
        "each fetch was answered with a new token"
    );
    assert!(fetched <= server.fetches(), "no worker fetches by itself: {fetched} of {}", server.fetches());
    assert!(seen.keys().all(|value| value.starts_with("Bearer token-")), "{seen:?}");
    // The used tokens are consecutive, so no worker fetched one for itself.
    let numbers = seen.keys().map(|value| value.trim_start_matches("Bearer token-").parse::<u64>());
    let numbers = numbers.collect::<Result<Vec<_>, _>>()?;
    let (first, last) = (
        numbers.iter().min().context("no token was used")?,
        numbers.iter().max().context("no token was used")?,
    );
    assert!(last - first < 2 * u64::try_from(numbers.len())?, "{numbers:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_reaches_every_worker_within_a_tick() -> Result<()> {
    let server = TokenServer::start(TokenServerMode::Healthy).await?;
    let scene = Scene::start(WORKERS, |config| with_tokens(config, &server, "deny")).await?;
    for _ in 0..3 {
        let known = server.newest();
        poll::until("a new token", LIMIT, async || Ok(Seen::when(server.newest() != known, server.newest())))
            .await?;
        server.set_mode(TokenServerMode::Down);
        let newest = server.newest();
        // Workers read values every 50 ms. If a load used only the newest token, every worker has that
        // token, because the connections of the load generator are spread over all workers.
        poll::until("only the newest token to be used", LIMIT, async || {
            let before = scene.upstream.served().authorized;
            scene.load(200, requests()).await?;
            let used = since(&scene, &before);
            Ok(Seen::when(used == [(format!("Bearer {newest}"), 200)].into(), used))
        })
        .await?;
        server.set_mode(TokenServerMode::Healthy);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_endpoint_flaps_every_request_has_a_token() -> Result<()> {
    let server = TokenServer::start(TokenServerMode::Healthy).await?;
    let scene = Scene::start(2, |config| with_tokens(config, &server, "skip")).await?;
    poll::until("the first token to be used", LIMIT, async || {
        scene.load(20, requests()).await?;
        let used = scene.upstream.served().authorized;
        Ok(Seen::when(used.contains_key("Bearer token-1"), used))
    })
    .await?;
    server.set_mode(TokenServerMode::Flapping);
    let before = scene.upstream.served();
    let fetches = server.fetches();
    poll::until("the endpoint to have flapped", LIMIT, async || {
        scene.load(2_000, requests()).await?;
        Ok(Seen::when(server.fetches() >= fetches + 4, server.fetches()))
    })
    .await?;
    let sent = scene.upstream.served().received - before.received;
    let used = since(&scene, &before.authorized);
    assert_eq!(used.values().sum::<u64>(), sent, "{used:?}");
    assert!(used.keys().all(|value| value.starts_with("Bearer token-")), "{used:?}");
    assert!(scene.stats().await?.counter("wasmcustom.tributary_values_failed")? >= 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_first_token_requests_are_denied_with_a_clear_body() -> Result<()> {
    let server = TokenServer::start(TokenServerMode::Down).await?;
    let scene = Scene::start(2, |config| with_tokens(config, &server, "deny")).await?;
    let url = format!("http://{}/users/1", scene.envoy.listener("ingress")?);
    let denied = reqwest::get(&url).await?;
    assert_eq!(denied.status(), 503);
    assert_eq!(denied.text().await?, "the header authorization cannot be written yet: a value is missing\n");
    assert_eq!(scene.upstream.served().received, 0);
    server.set_mode(TokenServerMode::Healthy);
    poll::until("requests to pass", LIMIT, async || {
        let status = reqwest::get(&url).await?.status().as_u16();
        Ok(Seen::when(status == 200, status))
    })
    .await?;
    assert_eq!(scene.upstream.served().authorized, [("Bearer token-1".to_owned(), 1)].into());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_have_headers_and_a_count_over_all_workers() -> Result<()> {
    let scene = Scene::start(WORKERS, |config| {
        config
            .full()
            .worker("headers", json!([{"on": "response", "name": "x-wasm-filter", "value": "tributary {attribute:response.code}"}]))
            .worker("counters", json!([{"key": "requests", "response_header": "x-request-count"}]))
    })
    .await?;
    let url = format!("http://{}", scene.envoy.listener("ingress")?);
    let mut counts = Vec::new();
    for (number, path) in (1..=40).zip(["/users/1", "/health", "/nowhere", "/orders/2"].into_iter().cycle()) {
        // Uses a new client each time, because the kernel gives each new connection to any of the workers.
        let response = reqwest::Client::new().get(format!("{url}{path}")).send().await?;
        let text = |name: &str| {
            response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        assert_eq!(text("x-wasm-filter"), Some(format!("tributary {}", response.status().as_u16())));
        counts.push(text("x-request-count").with_context(|| format!("request {number}"))?.parse::<u64>()?);
    }
    assert_eq!(counts, (1..=40).collect::<Vec<_>>());
    scene.wait_for_export(40).await
}
