//! Untrusted input: plugins that write into the queue of the service, unlimited distinct values, oversized
//! configurations. Traffic continues, genuine requests are counted exactly, and memory stays within its
//! limits.

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tributary_proto::attributes;
use tributary_proto::batch::{Batch, Group, Point, Series};
use tributary_proto::metric::{Kind, Metric};
use tributary_tests::config::EnvoyConfig;
use tributary_tests::envoy::Envoy;
use tributary_tests::ledger::EnvoyLedger;
use tributary_tests::load::{Load, Mix, Shape};
use tributary_tests::poll::{self, Seen};
use tributary_tests::scene::{DURATION, LIMIT, Scene, wait_for};
use tributary_tests::untrusted_plugin;

const FORGED: &str = "forged";
/// The number of forged producers.
const FORGERS: u64 = 400;

/// A batch with one series that looks like a batch of a worker.
fn forged(producer: u64, sequence: u64, observed_before: u64, observations: u64) -> Batch {
    let metric = Metric {
        name: FORGED.to_owned(),
        unit: "1".to_owned(),
        description: String::new(),
        divisor: 1,
        kind: Kind::Counter,
    };
    let series = Series {
        attributes: attributes::encode(vec![attributes::text("forger", &producer.to_string())]).into(),
        observations,
        points: vec![Point::Counter(1)],
        exemplars: vec![],
    };
    let groups = vec![Group { metrics: vec![metric], series: vec![series] }];
    Batch { producer, sequence, observed_before, counters: vec!["forged".into()], groups }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_floods_the_queue_does_not_change_genuine_counts() -> Result<()> {
    // The first batch of each producer is accepted, because it cannot be distinguished from a batch of a
    // worker. Duplicates are rejected.
    let accepted: Vec<Vec<u8>> = (1..=FORGERS).map(|producer| forged(producer, 1, 0, 1).encode()).collect();
    let whole = accepted.first().context("a batch")?;
    let truncated = (0..whole.len()).map(|bytes| whole.get(..bytes).unwrap_or_default().to_vec());
    let gaps = [(1 << 62, 1 << 62, 0), ((1 << 62) + 1, u64::MAX, u64::MAX)];
    let gaps = gaps.map(|(sequence, before, observed)| forged(1, sequence, before, observed).encode());
    let items: Vec<_> = accepted.iter().cloned().chain(truncated).chain(gaps).collect();
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("untrusted.wasm");
    std::fs::write(&file, untrusted_plugin::module(&items)?)?;
    let scene = Scene::start(2, |config| {
        config.set(
            "bootstrap_extensions[1]",
            untrusted_plugin::extension(&file.display().to_string(), "untrusted"),
        )
    })
    .await?;

    let load = Load::new(
        scene.envoy.listener("ingress")?,
        u64::MAX,
        Mix::new(1, [Shape::get("users", "/users/1")])?,
    );
    let running = load.start();
    let statistic = |name: &'static str| {
        let admin = scene.envoy.admin();
        async move { admin.counter(&format!("wasmcustom.tributary_batches_{name}")).await }
    };
    poll::until("the flood to be over", LIMIT, async || {
        let (invalid, duplicate) = (statistic("invalid").await?, statistic("duplicate").await?);
        let received = invalid + duplicate;
        // Expects all items except the ones that are accepted once.
        let expected = untrusted_plugin::RANDOM + untrusted_plugin::FORGED - FORGERS - 2;
        Ok(Seen::when(received >= expected, (invalid, duplicate, expected)))
    })
    .await?;
    running.wait_for_more(1_000, LIMIT).await?;
    let tally = running.stop().await?;
    ensure!(tally.answered_in_class(2) == tally.sent(), "{:?}", tally.first_failure);

    wait_for(&scene.sink, tally.sent()).await?;
    assert_eq!(scene.sink.problems(), Vec::<String>::new());
    let forged = scene.sink.store().sum(FORGED, &[]);
    assert_eq!(forged, FORGERS + 2, "each was accepted once");
    let ledger = EnvoyLedger::read(scene.envoy.admin()).await?;
    assert_eq!((ledger.observed, ledger.pending), (tally.sent(), 0));
    assert_eq!(
        ledger.aggregated,
        tally.sent() + FORGERS,
        "forged observations show as aggregated but not observed"
    );
    Ok(())
}

/// Sends a million distinct values; worker-filter/src/fold/tests.rs tests the same property of the fold.
#[tokio::test(flavor = "multi_thread")]
async fn unique_values_stay_within_their_limit_and_are_all_counted() -> Result<()> {
    let limit = 1_000;
    for (requests, dimension, overflow) in [
        // With this many values, a leak of 34 bytes for each value would exceed the 8 MiB below.
        (250_000, json!({"name": "id", "request_header": "x-id"}), ("id", "_OTHER")),
        (10_000, json!({"name": "id", "request_header": "x-id", "max_values": limit}), ("id", "_OTHER")),
    ] {
        let scene = Scene::start(2, |config| {
            config.worker("dimensions", [dimension]).worker("limits", json!({"series": 2 * limit}))
        })
        .await?;
        let unique = Shape::get("unique", "/health").numbered_header("x-id");
        scene.load(1_000, [unique.clone()]).await?;
        let memory = async || scene.stats().await?.gauge("wasmcustom.tributary_memory_bytes");
        wait_for(&scene.sink, 1_000).await?;
        let before = memory().await?;
        let tally = scene.load(requests, [unique]).await?;
        assert_eq!(tally.answered_in_class(2), requests);
        wait_for(&scene.sink, 1_000 + requests).await?;
        EnvoyLedger::wait_until_settled(scene.envoy.admin(), 1_000 + requests).await?;

        let store = scene.sink.store();
        let (series, past) = (store.histogram_points(DURATION).len(), store.count(DURATION, &[overflow]));
        ensure!(past > 0 && series <= 2_002, "{series} series, {past} past the limit");
        ensure!(memory().await? - before < 8 << 20, "{before} bytes became {}", memory().await?);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_of_two_mebibytes_is_rejected_in_one_line() -> Result<()> {
    let text = "x".repeat(2 << 20);
    let edits: [(&str, &dyn Fn(EnvoyConfig) -> EnvoyConfig); 2] = [
        ("worker filter", &|config| config.worker("dimensions", json!([{"name": "x", "value": text}]))),
        ("service", &|config| config.service("resource", json!({"x": text}))),
    ];
    for (module, edit) in edits {
        let log = Envoy::rejected(&edit(EnvoyConfig::minimal()?.free_ports())).await?;
        let lines: Vec<_> =
            log.lines().filter(|line| line.contains("tributary: configuration of the")).collect();
        ensure!(lines.len() == 1 && lines.iter().all(|line| line.len() < 500), "{lines:?}");
        let expected = format!("configuration of the {module}: ");
        ensure!(lines.iter().all(|line| line.contains(&expected) && line.contains("1048576")), "{lines:?}");
    }
    Ok(())
}
