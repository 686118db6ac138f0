//! What strangers bring: other plugins that write into the service's queue, values that never end, configurations too large. Traffic
//! passes, what is genuine is counted to the unit, and nothing grows without a bound.

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tributary_proto::attributes;
use tributary_proto::batch::{Batch, Group, Point, Series};
use tributary_proto::metric::{Kind, Metric};
use tributary_tests::config::EnvoyConfig;
use tributary_tests::envoy::{Envoy, EnvoyOptions};
use tributary_tests::foreign;
use tributary_tests::ledger::Ledger;
use tributary_tests::load::{Load, Mix, Shape};
use tributary_tests::poll::{self, Seen};
use tributary_tests::scene::{DURATION, LIMIT, Scene, wait_for};

const FORGED: &str = "forged";
/// Producers that there are not.
const FORGERS: u64 = 400;

/// A batch that looks as if it came from a worker: one request of one series.
fn forged(producer: u64, sequence: u64, observed_before: u64, observations: u64) -> Batch {
    let metric = Metric {
        name: FORGED.to_owned(),
        unit: "1".to_owned(),
        description: String::new(),
        divisor: 1,
        kind: Kind::Counter,
    };
    let series = Series {
        attributes: attributes::encode(vec![attributes::text("forger", &producer.to_string())]),
        observations,
        points: vec![Point::Counter(1)],
        exemplars: vec![],
    };
    let groups = vec![Group { metrics: vec![metric], series: vec![series] }];
    Batch { producer, sequence, observed_before, counters: vec!["forged".into()], groups }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_floods_the_queue_changes_nothing_that_is_genuine() -> Result<()> {
    // Each of a producer's first batches is believed, for nothing tells it from a worker's. What follows is not.
    let believed: Vec<Vec<u8>> = (1..=FORGERS).map(|producer| forged(producer, 1, 0, 1).encode()).collect();
    let whole = believed.first().context("a batch")?;
    let cut = (0..whole.len()).map(|bytes| whole.get(..bytes).unwrap_or_default().to_vec());
    let gaps = [(1 << 62, 1 << 62, 0), ((1 << 62) + 1, u64::MAX, u64::MAX)];
    let gaps = gaps.map(|(sequence, before, observed)| forged(1, sequence, before, observed).encode());
    let items: Vec<_> = believed.iter().cloned().chain(cut).chain(gaps).collect();
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("foreign.wasm");
    std::fs::write(&file, foreign::module(&items)?)?;
    let scene = Scene::start(2, |config| {
        config.set("bootstrap_extensions[1]", foreign::extension(&file.display().to_string()))
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
        let (refused, duplicate) = (statistic("refused").await?, statistic("duplicate").await?);
        let received = refused + duplicate;
        // Beside what was believed once.
        let strange = foreign::RANDOM + foreign::FORGED - FORGERS - 2;
        Ok(Seen::when(received >= strange, (refused, duplicate, strange)))
    })
    .await?;
    running.wait_for_more(1_000, LIMIT).await?;
    let tally = running.stop().await?;
    ensure!(tally.answered_in_class(2) == tally.sent(), "{:?}", tally.first_failure);

    wait_for(&scene.sink, tally.sent()).await?;
    assert_eq!(scene.sink.problems(), Vec::<String>::new());
    let forged = scene.sink.store().sum(FORGED, &[]);
    assert_eq!(forged, FORGERS + 2, "each was believed once");
    let ledger = Ledger::read(scene.envoy.admin()).await?;
    assert_eq!((ledger.observed, ledger.pending), (tally.sent(), 0));
    assert_eq!(ledger.aggregated, tally.sent() + FORGERS, "what was forged shows as more than was observed");
    Ok(())
}

/// A million of them over the wire; worker-filter/src/fold/tests.rs has the same as a property of the fold.
#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_is_never_the_same_fills_its_bound_and_still_counts() -> Result<()> {
    let limit = 1_000;
    for (requests, dimension, overflow) in [
        (1_000_000, json!({"name": "id", "request_header": "x-id"}), ("otel.metric.overflow", "true")),
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
        Ledger::wait_until_settled(scene.envoy.admin(), 1_000 + requests).await?;

        let store = scene.sink.store();
        let (series, past) = (store.histogram_points(DURATION).len(), store.count(DURATION, &[overflow]));
        ensure!(past > 0 && series <= 2_001, "{series} series, {past} past the limit");
        ensure!(memory().await? - before < 8 << 20, "{before} bytes became {}", memory().await?);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_of_two_mebibytes_is_refused_in_one_line() -> Result<()> {
    let text = "x".repeat(2 << 20);
    let edits: [(&str, &dyn Fn(EnvoyConfig) -> EnvoyConfig); 2] = [
        ("worker filter", &|config| config.worker("dimensions", json!([{"name": "x", "value": text}]))),
        ("service", &|config| config.service("resource", json!({"x": text}))),
    ];
    for (module, edit) in edits {
        let config = edit(EnvoyConfig::minimal()?.free_ports());
        let mut envoy = Envoy::spawn(&config, &EnvoyOptions::default()).await?;
        ensure!(!envoy.wait_for_exit(LIMIT).await?.success(), "Envoy took it");
        let log = envoy.log()?;
        let said: Vec<_> =
            log.lines().filter(|line| line.contains("tributary: configuration of the")).collect();
        ensure!(said.len() == 1 && said.iter().all(|line| line.len() < 500), "{said:?}");
        let expected = format!("configuration of the {module}: ");
        ensure!(said.iter().all(|line| line.contains(&expected) && line.contains("1048576")), "{said:?}");
    }
    Ok(())
}
