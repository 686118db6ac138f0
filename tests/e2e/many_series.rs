//! Tens of thousands of series: all arrive with exact counts, and exports do not block the main thread for
//! long.
//!
//! Prints the durations of the event loop and the memory: `cargo test -p tributary-tests --test e2e --
//! many_series --nocapture`.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tributary_tests::event_loop::EventLoopMonitor;
use tributary_tests::load::{Mix, Shape};
use tributary_tests::metrics::ReceivedAttribute;
use tributary_tests::scene::{DURATION, Scene};
use tributary_tests::sink::Store;

const TENANT: &str = "tenant";

/// Returns shapes for one request of each tenant, and for a second request of every third tenant.
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

/// The memory of the modules, in bytes.
async fn memory(scene: &Scene) -> Result<u64> {
    scene.stats().await?.gauge("wasmcustom.tributary_memory_bytes")
}

/// The count of each tenant.
fn counts(store: &Store) -> BTreeMap<String, u64> {
    let points = store.histogram_points(DURATION).into_iter();
    let tenant =
        |attributes: &BTreeMap<String, ReceivedAttribute>| attributes.get(TENANT).map(ToString::to_string);
    points.filter_map(|point| Some((tenant(&point.attributes)?, point.histogram.count))).collect()
}

async fn every_series_arrives_exactly(tenants: usize, flush: Value) -> Result<()> {
    let scene = Scene::start(2, |config| {
        let dimension = json!({"name": TENANT, "request_header": "x-tenant"});
        EventLoopMonitor::measured(config)
            .worker("dimensions", [dimension])
            .worker("drop", ["http.server.request.body.size", "http.server.response.body.size"])
            .worker("limits", json!({"series": 200_000}))
            .worker("flush", &flush)
            .service("limits", json!({"series": 200_000}))
            .service("interval", "10s")
            .service("destinations[0].compression", "gzip")
    })
    .await?;
    // Makes the first export non-empty.
    scene.load(10, [Shape::get("first", "/users/1")]).await?;
    let (memory_before, resident_before) = (memory(&scene).await?, scene.envoy.resident_bytes()?);
    let loading = EventLoopMonitor::from_now(scene.envoy.admin()).await?;

    let requests = (0..tenants).map(|number| u64::from(expected(number))).sum::<u64>();
    scene.load_mix(requests, Mix::in_turn(shapes(tenants))?).await?;
    let loaded = loading.durations().await?;
    let exporting = EventLoopMonitor::from_now(scene.envoy.admin()).await?;
    let all = requests + 10;
    scene.sink.wait_until_equal("the requests", all, |store| store.count(DURATION, &[])).await?;
    let exported = exporting.durations().await?;
    let (memory, resident) =
        (memory(&scene).await? - memory_before, scene.envoy.resident_bytes()? - resident_before);

    let counts = counts(&scene.sink.store());
    assert_eq!(counts.len(), tenants);
    for number in 0..tenants {
        let counted =
            counts.get(&tenant(number)).with_context(|| format!("{} is missing", tenant(number)))?;
        assert_eq!(*counted, u64::from(expected(number)), "{}", tenant(number));
    }
    assert_eq!(scene.sink.problems(), Vec::<String>::new());
    eprintln!("{tenants} series, event loop during the load: {loaded}");
    eprintln!("{tenants} series, event loop during the export: {exported}");
    let each = |bytes: u64| bytes / tenants as u64;
    eprintln!(
        "{tenants} series, memory per series: {} bytes in the modules, {} in all of Envoy ({flush})",
        each(memory),
        each(resident)
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_series_arrive_exactly() -> Result<()> {
    every_series_arrives_exactly(10_000, json!({"interval": "200ms"})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_series_arrive_exactly() -> Result<()> {
    every_series_arrives_exactly(100_000, json!({"interval": "200ms"})).await
}

/// A worker that flushes each request keeps no series, so nearly all memory belongs to the service.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_series_arrive_exactly_in_one_batch_each() -> Result<()> {
    every_series_arrives_exactly(100_000, json!({"max_requests": 1})).await
}
