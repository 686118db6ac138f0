//! The number of batches in the queue depends on the flush settings, the exported counts do not.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;
use tributary_tests::load::Shape;
use tributary_tests::metrics::Attributes;
use tributary_tests::scene::{DURATION, LIMIT, Scene};

const WORKERS: u32 = 2;
/// Fewer than the batches that may wait in the queue: otherwise a service that is delayed blocks flushes, and
/// a batch has several requests.
const REQUESTS: u64 = 400;

/// The counts of all series, and the number of batches that carried them.
struct Outcome {
    counts: BTreeMap<Attributes, u64>,
    batches: u64,
    elapsed: Duration,
}

async fn run(flush: serde_json::Value) -> Result<Outcome> {
    let start = Instant::now();
    let scene = Scene::start(WORKERS, |config| config.worker("flush", flush)).await?;
    let shapes = [
        Shape::get("users", "/users/1").weight(5),
        Shape::new("create", "POST", "/orders").status(201).weight(3),
        Shape::get("missing", "/orders/3").status(404).weight(2),
        Shape::get("health", "/health").weight(2),
    ];
    scene.load(REQUESTS, shapes).await?;
    scene.wait_for_export(REQUESTS).await?;
    let stats = scene.stats().await?;
    let elapsed = start.elapsed();
    let batches = stats.counter("wasmcustom.tributary_batches_received")?;
    assert_eq!(stats.counter("wasmcustom.tributary_batches_enqueued")?, batches);
    let points = scene.sink.histogram_points(DURATION).into_iter();
    Ok(Outcome {
        counts: points.map(|point| (point.attributes, point.histogram.count)).collect(),
        batches,
        elapsed,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn folding_sends_one_batch_per_worker_and_interval_and_max_requests_of_1_sends_one_per_request()
-> Result<()> {
    let folding = run(json!({"interval": "500ms"})).await?;
    let each_request = run(json!({"interval": "500ms", "max_requests": 1})).await?;

    let intervals = folding.elapsed.as_millis() / 500 + 1;
    assert!(folding.batches > 0);
    assert!(
        u128::from(folding.batches) <= intervals * u128::from(WORKERS),
        "{} batches in {intervals} intervals",
        folding.batches
    );
    assert_eq!(each_request.batches, REQUESTS);
    assert_eq!(folding.counts, each_request.counts);
    assert_eq!(folding.counts.values().sum::<u64>(), REQUESTS);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_flush_when_envoy_ends() -> Result<()> {
    // The flush interval never ends in this test, so the worker flushes only at the shutdown.
    let scene = Scene::start(WORKERS, |config| config.worker("flush", json!({"interval": "5m"}))).await?;
    scene.load(1_000, [Shape::get("users", "/users/1")]).await?;
    assert_eq!(scene.stats().await?.counter("wasmcustom.tributary_batches_received")?, 0);
    let mut envoy = scene.envoy;
    assert!(envoy.terminate(LIMIT).await?.success());
    assert!(envoy.log_contains("the service shuts down: 1000 observations aggregated")?, "{}", envoy.log()?);
    Ok(())
}
