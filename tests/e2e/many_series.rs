//! Tens of thousands of series: every one arrives exactly, in requests that leave the main thread free.
//!
//! What is measured on the way is printed, not judged: `cargo test -p tributary-tests --test many_series -- --nocapture`.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::json;
use tributary_tests::load::{Mix, Shape};
use tributary_tests::main_thread::MainThread;
use tributary_tests::metrics::AttributeValue;
use tributary_tests::poll::Seen;
use tributary_tests::scene::{DURATION, LIMIT, Scene};
use tributary_tests::sink::Store;

const TENANT: &str = "tenant";

/// One request of each tenant, and a second one of each third.
fn shapes(tenants: usize) -> impl Iterator<Item = Shape> {
    (0..tenants).map(|number| {
        let tenant = tenant(number);
        Shape::get(&tenant, "/health").header("x-tenant", &tenant).weight(expected(number))
    })
}

fn tenant(number: usize) -> String {
    format!("tenant-{number:06}")
}

fn expected(number: usize) -> u32 {
    if number.is_multiple_of(3) { 2 } else { 1 }
}

/// How often each tenant was counted.
fn counts(store: &Store) -> BTreeMap<String, u64> {
    let points = store.histogram_points(DURATION).into_iter();
    let tenant =
        |attributes: &BTreeMap<String, AttributeValue>| attributes.get(TENANT).map(ToString::to_string);
    points.filter_map(|point| Some((tenant(&point.attributes)?, point.histogram.count))).collect()
}

async fn every_series_arrives_exactly(tenants: usize) -> Result<()> {
    let scene = Scene::start(2, |config| {
        let dimension = json!({"name": TENANT, "request_header": "x-tenant"});
        MainThread::measured(config)
            .worker("dimensions", [dimension])
            .worker("limits", json!({"series": 200_000}))
            .service("limits", json!({"series": 200_000}))
            .service("interval", "10s")
            .service("destinations[0].compression", "gzip")
    })
    .await?;
    // The first export begins with something in it.
    scene.load(10, [Shape::get("first", "/users/1")]).await?;
    let resident_before = scene.envoy.resident_bytes()?;
    let main_thread = MainThread::from_now(scene.envoy.admin()).await?;

    let requests = (0..tenants).map(|number| u64::from(expected(number))).sum::<u64>();
    scene.load_mix(requests, Mix::in_turn(shapes(tenants))?).await?;
    let loaded = main_thread.stretches().await?;
    let exporting = MainThread::from_now(scene.envoy.admin()).await?;
    let all = requests + 10;
    let counted = |store: &Store| Seen::when(store.count(DURATION, &[]) == all, store.count(DURATION, &[]));
    scene.sink.wait_until("every request", LIMIT, counted).await?;
    let exported = exporting.stretches().await?;
    let resident = scene.envoy.resident_bytes()? - resident_before;

    let counts = counts(&scene.sink.store());
    assert_eq!(counts.len(), tenants);
    for number in 0..tenants {
        let counted =
            counts.get(&tenant(number)).with_context(|| format!("{} is missing", tenant(number)))?;
        assert_eq!(*counted, u64::from(expected(number)), "{}", tenant(number));
    }
    assert_eq!(scene.sink.problems(), Vec::<String>::new());
    eprintln!("{tenants} series, main thread while they came: {loaded}");
    eprintln!("{tenants} series, main thread while they were exported: {exported}");
    eprintln!("{tenants} series, {} bytes of memory each, workers included", resident / tenants as u64);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_series_arrive_exactly() -> Result<()> {
    every_series_arrives_exactly(10_000).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_series_arrive_exactly() -> Result<()> {
    every_series_arrives_exactly(100_000).await
}
