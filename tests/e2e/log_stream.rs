//! The log stream: each record of Envoy's access logger is counted once with any values, and lost records are
//! counted too.

use anyhow::{Result, ensure};
use serde_json::json;
use tributary_tests::config::{EnvoyConfig, WORKER_PLUGIN};
use tributary_tests::load::{Load, Mix, Shape};
use tributary_tests::poll::{self, Seen};
use tributary_tests::ports::{ReservedPort, localhost};
use tributary_tests::scene::{COUNTER, DURATION, LIMIT, Scene};
use tributary_tests::trap;

const REQUESTS: u64 = 20_000;
const MANAGER: &str = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config";
const LOGGER: &str =
    "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.access_log[0].typed_config";
const OBSERVED: &str = "wasmcustom.tributary_observations_total";
const INCOMPLETE: &str = "wasmcustom.tributary_log_records_incomplete";

async fn start(edit: impl FnOnce(EnvoyConfig) -> EnvoyConfig) -> Result<Scene> {
    Scene::of("envoy/log_stream.yaml", "otlp_collector", 2, edit).await
}

/// Envoy's counts of log entries: buffered, and lost because the buffer was full.
async fn entries(scene: &Scene) -> Result<(u64, u64)> {
    let stats = scene.stats().await?;
    let counter = |name| stats.counter(&format!("access_logs.fluentd.tributary.entries_{name}"));
    Ok((counter("buffered")?, counter("lost")?))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_is_counted_once_with_any_values() -> Result<()> {
    let tenants = [
        ("plain", &b"acme"[..]),
        ("quoted", b"a \"b\" \\c"),
        ("spaced", b"two words"),
        ("foreign", b"caf\xff"),
    ];
    let append = |config: &EnvoyConfig, key: &str, more: &str| {
        let text = config.get(&format!("{LOGGER}.{key}")).ok().and_then(|text| text.as_str());
        format!("{} {more}", text.unwrap_or_default())
    };
    let scene = start(|config| {
        let names = append(&config, "tag", "request.headers['x-packed']");
        let operators = append(&config, "record.values", "%REQ(X-PACKED)%");
        let record = json!({"values": operators, "request.headers['x-tenant']": "%REQ(X-TENANT)%"});
        let dimension = |name: &str, header: &str| json!({"name": name, "request_header": header});
        config
            .set(&format!("{LOGGER}.record"), record)
            .set(&format!("{LOGGER}.tag"), names)
            .worker("dimensions", [dimension("tenant", "x-tenant"), dimension("packed", "x-packed")])
    })
    .await?;
    let shape = |(name, value): (&str, &[u8])| Shape::get(name, "/users/1").header("x-tenant", value);
    let packed = |name, value: &str| Shape::get(name, "/orders/1").header("x-packed", value);
    let broken = packed("broken", "one two");
    let shapes = tenants.map(shape).into_iter().chain([packed("whole", "one-two"), broken]);
    let tally = scene.load(REQUESTS, shapes).await?;
    scene.wait_for_export(REQUESTS).await?;
    let (stats, store) = (scene.stats().await?, scene.sink.store());
    assert_eq!(entries(&scene).await?, (REQUESTS, 0));
    assert_eq!(stats.counter(OBSERVED)?, REQUESTS);

    // A packed field with too many values is ignored; separate fields are used, and the request is counted.
    let sent = |shape: &str| tally.shape(shape).sent();
    assert_eq!(stats.counter(INCOMPLETE)?, sent("broken"));
    assert_eq!(store.count(DURATION, &[("http.route", "orders")]), sent("whole"));
    assert_eq!(
        store.count(DURATION, &[("packed", "one-two"), ("http.response.status_code", "200")]),
        sent("whole")
    );
    for (name, tenant) in [("plain", "acme"), ("quoted", "a \"b\" \\c"), ("spaced", "two words")] {
        assert_eq!(
            store.count(DURATION, &[("tenant", tenant), ("http.route", "users")]),
            sent(name),
            "{name}"
        );
    }
    assert_eq!(store.sum(COUNTER, &[]), REQUESTS);
    assert_eq!(scene.sink.problems(), Vec::<String>::new());
    ensure!(!scene.envoy.log_contains("log stream: records lack")?, "{}", scene.envoy.log()?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_also_logged_at_their_start_count_once_with_a_filter() -> Result<()> {
    const FEW: u64 = 1_000;
    for (types, times) in [(json!(["DownstreamStart", "DownstreamEnd"]), 2), (json!(["DownstreamEnd"]), 1)] {
        let scene = start(|config| {
            config
                .set(
                    &format!("{MANAGER}.access_log_options"),
                    json!({"flush_access_log_on_new_request": true}),
                )
                .set(&format!("{MANAGER}.access_log[0].filter"), json!({"log_type_filter": {"types": types}}))
        })
        .await?;
        scene.load(FEW, [Shape::get("users", "/users/1")]).await?;
        scene.wait_for_export(FEW * times).await?;
        assert_eq!(entries(&scene).await?, (FEW * times, 0));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_fields_of_a_record_are_logged_once() -> Result<()> {
    let mut scene = start(|config| {
        let record = json!({"values": "%REQ(:METHOD)% %RESPONSE_CODE%"});
        config
            .set(&format!("{LOGGER}.tag"), "request.method response.code")
            .set(&format!("{LOGGER}.record"), record)
    })
    .await?;
    scene.load(100, [Shape::get("users", "/users/1")]).await?;
    scene.wait_for_export(100).await?;
    let expected = "log stream: records lack \"xds.route_name\", \"request.scheme\", \"request.duration\", \"request.size\", \
                \"response.size\"";
    scene.envoy.wait_for_log(expected, LIMIT).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn log_entries_that_envoy_drops_are_counted_by_envoy() -> Result<()> {
    let closed_port = ReservedPort::new()?;
    let scene = start(|config| {
        config
            .static_cluster("tributary_log", localhost(closed_port.port()))
            .set(&format!("{LOGGER}.buffer_size_bytes"), 2_000)
    })
    .await?;
    let tally = scene.load(REQUESTS, [Shape::get("users", "/users/1")]).await?;
    assert_eq!(tally.answered_in_class(2), REQUESTS, "no request is affected");
    let (buffered, lost) = entries(&scene).await?;
    assert_eq!(buffered + lost, REQUESTS);
    // The buffers of both workers hold at most this many entries.
    ensure!((2..=2 * 2_000 / 50).contains(&buffered), "{buffered} taken, {lost} lost");
    assert_eq!(scene.stats().await?.counter(OBSERVED)?, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_traps_affects_no_request_and_its_losses_are_counted() -> Result<()> {
    let module = trap::log_stream()?;
    let scene = start(|config| config.module(WORKER_PLUGIN, &module).worker("observed", "request")).await?;
    let shape = || [Shape::get("users", "/users/1")];
    let trickle = async |requests| {
        let load = Load {
            connections: 1,
            ..Load::new(scene.envoy.listener("ingress")?, requests, Mix::new(1, shape())?)
        };
        anyhow::Ok(load.run(|_| ()).await?.answered_in_class(2))
    };
    // A few records at once do not trigger the trap.
    assert_eq!(trickle(20).await?, 20);
    scene.wait_for_export(20).await?;

    // Many records at once make every worker trap.
    let tally = scene.load(REQUESTS, shape()).await?;
    assert_eq!(tally.answered_in_class(2), REQUESTS, "no request is affected");
    let mut sent = REQUESTS + 20;
    poll::until("the log to reach the restarted VMs", LIMIT, async || {
        let before = scene.stats().await?.counter(OBSERVED)?;
        assert_eq!(trickle(20).await?, 20);
        sent += 20;
        Ok(Seen::when(scene.stats().await?.counter(OBSERVED)? > before, before))
    })
    .await?;
    let settled = poll::until("the ledger to add up", LIMIT, async || {
        let stats = scene.stats().await?;
        let (buffered, lost) = entries(&scene).await?;
        let observed = stats.counter(OBSERVED)?;
        let aggregated = stats.counter("wasmcustom.tributary_observations_aggregated")?;
        let exported = scene.sink.total_count(DURATION);
        let ledger = (sent, buffered, lost, observed, aggregated, exported);
        Ok(Seen::when(buffered + lost == sent && aggregated == exported, ledger))
    })
    .await;
    settled.map(drop)?;
    let (buffered, _) = entries(&scene).await?;
    let observed = scene.stats().await?.counter(OBSERVED)?;
    ensure!(observed <= buffered, "{observed} observed of {buffered} log entries");
    // A VM that traps loses what it has folded, which is nothing just after a flush.
    ensure!(scene.sink.total_count(DURATION) <= observed, "more than {observed} were exported");
    Ok(())
}
