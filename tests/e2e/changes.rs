//! Changes of Envoy under load: new listeners, hot restarts, a shutdown. Each request is still counted once.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tributary_tests::cargo::replay;
use tributary_tests::clock::BackwardClockJump;
use tributary_tests::config::{EnvoyConfig, SERVICE_PLUGIN, WORKER_PLUGIN};
use tributary_tests::envoy::{Envoy, EnvoyOptions};
use tributary_tests::ledger::EnvoyLedger;
use tributary_tests::load::{Load, Mix, RunningLoad, Shape};
use tributary_tests::poll::{self, Seen};
use tributary_tests::scene::{COUNTER, DURATION, LIMIT, Scene, wait_for, with_destinations};
use tributary_tests::sink::{Fault, Sink, Store};
use tributary_tests::trap;

/// More requests than a load sends before it is stopped.
const ENDLESS: u64 = 10_000_000;
/// The number of batches in the queue at which workers stop flushing (worker-filter/src/backpressure.rs).
const BATCHES_MAX: u64 = 512;
/// The number of requests between two changes.
const BETWEEN: u64 = 500;

fn load(envoy: &Envoy) -> Result<RunningLoad> {
    let shapes = [Shape::get("users", "/users/1").weight(3), Shape::get("slow", "/orders/1").delay_ms(5)];
    Ok(Load::new(envoy.listener("ingress")?, ENDLESS, Mix::new(20, shapes)?).start())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_reconfigured_under_load_loses_and_duplicates_nothing() -> Result<()> {
    let (options, in_file) = (EnvoyOptions::fast_drain(2), EnvoyConfig::listeners_in_file);
    let (scene, config) = Scene::with(EnvoyConfig::minimal()?, "otlp_collector", &options, in_file).await?;
    let phase = |number: u64| {
        // The bounds differ each time, so the histograms cannot be added.
        let bounds = [10, 1000 * number];
        let size =
            json!({"name": "size", "kind": "histogram", "value": "response.total_size", "bounds": bounds});
        config
            .clone()
            .worker("dimensions", json!([{"name": "phase", "value": number.to_string()}]))
            .worker("metrics", [size])
    };
    let running = load(&scene.envoy)?;
    let (updated, rejected) = ("listener_manager.lds.update_success", "listener_manager.lds.update_rejected");
    let before = scene.envoy.admin().counter(updated).await?;
    running.wait_for_more(BETWEEN, LIMIT).await?;
    for (change, number) in (1..).zip([1, 2, 3]) {
        scene.envoy.update_listeners(&phase(number))?;
        scene.envoy.admin().wait_for_counter(updated, before + change).await?;
        running.wait_for_more(BETWEEN, LIMIT).await?;
    }
    // A rejected configuration changes nothing: neither one with an unknown key nor one with a value of 2
    // MiB.
    let wrong = [
        phase(4).worker("flsh", 1),
        phase(4).worker("dimensions", json!([{"name": "phase", "value": "x".repeat(2 << 20)}])),
    ];
    for (change, wrong) in (1..).zip(wrong) {
        scene.envoy.update_listeners(&wrong)?;
        scene.envoy.admin().wait_for_counter(rejected, change).await?;
        running.wait_for_more(BETWEEN, LIMIT).await?;
    }
    let tally = running.stop().await?;
    ensure!(tally.failed() == 0, "{:?}", tally.first_failure);
    ensure!(tally.connections > 16, "{} connections: Envoy drained none", tally.connections);
    wait_for(&scene.sink, tally.sent()).await?;
    EnvoyLedger::wait_until_settled(scene.envoy.admin(), tally.sent()).await?;
    let total = scene.envoy.admin().counter("http.ingress.downstream_rq_total").await?;
    assert_eq!(total, tally.sent());

    let store = scene.sink.store();
    let phases = ["1", "2", "3"].map(|number| store.count(DURATION, &[("phase", number)]));
    ensure!(phases.iter().all(|count| *count > 0), "{phases:?}");
    ensure!(phases.iter().sum::<u64>() < tally.sent(), "{phases:?}: nothing before the first change");
    assert_eq!(store.count(DURATION, &[("phase", "4")]), 0);
    assert_eq!(scene.sink.problems(), Vec::<String>::new());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hot_restart_under_load_leaves_no_gap_and_counts_nothing_twice() -> Result<()> {
    let options = EnvoyOptions::fast_drain(2);
    let (scene, config) =
        Scene::with(EnvoyConfig::minimal()?, "otlp_collector", &options, |config| config).await?;
    let running = load(&scene.envoy)?;
    running.wait_for_more(BETWEEN, LIMIT).await?;
    let mut first = scene.envoy;
    let second = first.successor(&config).await?;
    running.wait_for_more(BETWEEN, LIMIT).await?;
    let status = first.wait_for_exit(LIMIT).await?;
    ensure!(status.success(), "{status}");
    running.wait_for_more(BETWEEN, LIMIT).await?;
    let tally = running.stop().await?;
    ensure!(tally.failed() == 0, "{:?}", tally.first_failure);

    // The log of the first Envoy contains what it could not export.
    replay(&first.log()?, scene.sink.address())?;
    wait_for(&scene.sink, tally.sent()).await?;
    assert_eq!(scene.sink.problems(), Vec::<String>::new());
    let store = scene.sink.store();
    let mut instances: Vec<_> =
        store.histogram_points(DURATION).into_iter().map(|point| point.instance).collect();
    instances.sort();
    instances.dedup();
    assert_eq!(instances.len(), 2, "{instances:?}");
    drop(second);
    Ok(())
}

/// A service cannot be added to a running Envoy, only by a hot restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_added_by_a_hot_restart_finds_its_workers_and_earlier_requests_stay_pending() -> Result<()>
{
    let options = EnvoyOptions::fast_drain(2);
    let without = |config: EnvoyConfig| {
        config.edit(|document| {
            let root = document.as_mapping_mut().context("a mapping")?;
            root.insert("bootstrap_extensions".into(), serde_yaml_ng::to_value(json!([]))?);
            Ok(())
        })
    };
    let (scene, bare) = Scene::with(EnvoyConfig::minimal()?, "otlp_collector", &options, without).await?;
    let early = 1_000;
    scene.load(early, [Shape::get("users", "/users/1")]).await?;
    let observed = "wasmcustom.tributary_observations_total";
    scene.envoy.admin().wait_for_counter(observed, early).await?;

    let complete = EnvoyConfig::minimal()?;
    let extensions = complete.get("bootstrap_extensions")?.clone();
    let config = bare.set("bootstrap_extensions", extensions).service("interval", "200ms");
    let mut first = scene.envoy;
    let second = first.successor(&config).await?;
    ensure!(first.wait_for_exit(LIMIT).await?.success());
    let scene = Scene { envoy: second, ..scene };
    let late = 2_000;
    scene.load(late, [Shape::get("users", "/users/1")]).await?;
    wait_for(&scene.sink, late).await?;
    // Envoy passes its statistics on to the next process, including the count of requests that no service
    // received.
    let ledger = EnvoyLedger::read(scene.envoy.admin()).await?;
    let (pending, aggregated) = (ledger.pending, ledger.aggregated);
    assert_eq!((ledger.observed, pending, aggregated, ledger.missing), (early + late, early, late, 0));
    Ok(())
}

/// By default a trapped service is not restarted, and the queue fills up to its limit.
#[tokio::test(flavor = "multi_thread")]
async fn a_hot_restart_replaces_a_service_that_has_trapped() -> Result<()> {
    let (options, module) = (EnvoyOptions::fast_drain(2), trap::service()?);
    let (scene, config) = Scene::with(EnvoyConfig::minimal()?, "otlp_collector", &options, |config| {
        config.worker("flush.max_requests", 1).module(SERVICE_PLUGIN, &module)
    })
    .await?;
    // The first answer of the collector makes the service trap.
    let users = || [Shape::get("users", "/users/1")];
    scene.load(10, users()).await?;
    scene.sink.wait_until_equal("the exported requests", 10, |store| store.count(DURATION, &[])).await?;
    let waiting = || async {
        let stats = scene.envoy.admin().stats().await?;
        let (enqueued, taken) =
            ("wasmcustom.tributary_batches_enqueued", "wasmcustom.tributary_batches_dequeued");
        anyhow::Ok(stats.counter(enqueued)? - stats.counter(taken)?)
    };
    let mut sent = 10;
    while waiting().await? < BATCHES_MAX {
        scene.load(BATCHES_MAX, users()).await?;
        sent += BATCHES_MAX;
    }
    let mut first = scene.envoy;
    let config = config.module(SERVICE_PLUGIN, "target/wasm/service.wasm");
    let second = first.successor(&config).await?;
    ensure!(first.wait_for_exit(LIMIT).await?.success());
    let scene = Scene { envoy: second, ..scene };
    let late = 2_000;
    scene.load(late, users()).await?;
    let exported = |store: &Store| store.count(DURATION, &[]);
    scene.sink.wait_until_equal("the exported requests", 10 + late, exported).await?;
    // The items in the first Envoy's queue do not block workers: they are lost, and the ledger reports how
    // many.
    let ledger = EnvoyLedger::read(scene.envoy.admin()).await?;
    assert_eq!((ledger.observed, ledger.aggregated), (sent + late, 10 + late));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_goes_back_an_hour_delays_and_changes_nothing() -> Result<()> {
    let (sums, deltas, directory) = (Sink::start(0).await?, Sink::start(0).await?, tempfile::tempdir()?);
    let destinations = [
        ("sums", sums.address(), json!({})),
        ("deltas", deltas.address(), json!({"temporality": "delta", "retry": {"initial_interval": "100ms"}})),
    ];
    let jump = BackwardClockJump::after(Duration::from_secs(4))?;
    let module = |file: &str| {
        let changed = directory.path().join(file);
        std::fs::write(&changed, jump.module(file)?)?;
        anyhow::Ok(changed.display().to_string())
    };
    let (filter, service) = (module("worker_filter.wasm")?, module("service.wasm")?);
    let scene = Scene::start(2, |config| {
        with_destinations(config, &destinations)
            .module(WORKER_PLUGIN, &filter)
            .module(SERVICE_PLUGIN, &service)
    })
    .await?;
    let running = load(&scene.envoy)?;
    running.wait_for_more(BETWEEN, LIMIT).await?;
    poll::until("the clock to jump back", LIMIT, async || Ok(Seen::when(jump.has_happened(), ()))).await?;
    running.wait_for_more(BETWEEN, LIMIT).await?;
    // A clock that jumps back by an hour does not delay retries.
    deltas.fail_next(2, &Fault::status(503));
    running.wait_for_more(BETWEEN, LIMIT).await?;
    let tally = running.stop().await?;
    ensure!(tally.failed() == 0, "{:?}", tally.first_failure);
    for sink in [&sums, &deltas] {
        wait_for(sink, tally.sent()).await?;
        assert_eq!(sink.problems(), Vec::<String>::new());
    }
    EnvoyLedger::wait_until_settled(scene.envoy.admin(), tally.sent()).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_shutdown_under_load_each_request_is_exported_or_logged() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("access.log");
    let manager = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config";
    let access_log = json!([{
        "name": "file",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": file.display().to_string(),
            "log_format": {"text_format_source": {"inline_string": "%RESPONSE_CODE%\n"}}
        }
    }]);
    let mut scene =
        Scene::start(2, |config| config.set(&format!("{manager}.access_log"), access_log)).await?;
    let running = load(&scene.envoy)?;
    running.wait_for_more(BETWEEN, LIMIT).await?;
    // The last exports fail, so that the log contains unexported metrics.
    let exported = |store: &Store| Seen::when(store.count(DURATION, &[]) > 0, 0);
    scene.sink.wait_until("an export", LIMIT, exported).await?;
    scene.sink.fail_always(Fault::status(503));
    running.wait_for_more(BETWEEN, LIMIT).await?;
    ensure!(scene.envoy.terminate(LIMIT).await?.success());
    let tally = running.stop().await?;
    ensure!(tally.failed() > 0, "the load finished before Envoy ended");

    // Envoy's access log contains all streams that it accepted, including those closed by the shutdown.
    let seen = u64::try_from(std::fs::read_to_string(&file)?.lines().count())?;
    ensure!(seen >= tally.answered(), "{seen} of {} were logged", tally.answered());
    let log = scene.envoy.log()?;
    let last = format!("the service shuts down: {seen} observations aggregated");
    ensure!(log.contains(&last), "{seen}: {}", scene.envoy.log_tail());
    scene.sink.heal();
    replay(&log, scene.sink.address())?;
    assert_eq!((scene.sink.total_count(DURATION), scene.sink.sum(COUNTER, &[])), (seen, seen));
    assert_eq!(scene.sink.problems(), Vec::<String>::new());
    Ok(())
}
