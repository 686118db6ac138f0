//! A module fails under load: traffic is served as the failure policy says, and the ledger knows to the unit what was lost.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tributary_tests::config::{EnvoyConfig, SERVICE_PLUGIN, WORKER_PLUGIN};
use tributary_tests::ledger::{Destination, Ledger};
use tributary_tests::load::{Load, Mix, Shape, Tally};
use tributary_tests::poll::{self, Seen};
use tributary_tests::scene::{COUNTER, DURATION, LIMIT, Scene};
use tributary_tests::sink::{Fault, Sink, Store};
use tributary_tests::trap;

const REQUESTS: u64 = 2_000;
/// A destination of sums, and one of deltas.
const SUMS: &str = "otlp_collector";
const DELTAS: &str = "deltas";
/// Of so many requests one ends the VM that logs it.
const REQUESTS_PER_TRAP: u32 = 500;
/// Several of the intervals at which workers hand over, and the service exports, in a scene.
const STILL: Duration = Duration::from_secs(2);

fn shapes() -> [Shape; 2] {
    [Shape::get("users", "/users/1").weight(3), Shape::get("orders", "/orders/7").status(404)]
}

async fn ledger(scene: &Scene) -> Result<Ledger> {
    let ledger = Ledger::read(scene.envoy.admin()).await?;
    ledger.check_destinations()?;
    Ok(ledger)
}

/// Waits until the ledger `holds`, and looks at each moment whether what was added up is accounted for.
async fn wait_for(scene: &Scene, what: &str, holds: impl Fn(&Ledger) -> bool) -> Result<Ledger> {
    poll::until(what, LIMIT, async || {
        let ledger = ledger(scene).await?;
        Ok(Seen::when(holds(&ledger), ledger))
    })
    .await
}

/// The ledger when it has not changed for a while.
async fn at_rest(scene: &Scene) -> Result<Ledger> {
    let mut last = (Instant::now(), Ledger::default());
    let ledger = poll::until("the ledger to stand still", LIMIT, async || {
        let ledger = ledger(scene).await?;
        if ledger != last.1 {
            last = (Instant::now(), ledger.clone());
        }
        Ok(Seen::when(last.0.elapsed() >= STILL, ledger))
    })
    .await?;
    ledger.check()?;
    Ok(ledger)
}

/// Waits until the service was made anew more than `before` times.
async fn wait_for_reload(scene: &Scene, before: u64) -> Result<u64> {
    poll::until("the service to be made anew", LIMIT, async || {
        let stats = scene.stats().await?;
        let reloads = stats.counters("wasm.tributary_service.vm_reload_success").values().sum();
        Ok(Seen::when(reloads > before, reloads))
    })
    .await
}

/// Waits until of everything that was sent nothing waits for a destination any more.
async fn wait_for_all(scene: &Scene, sent: u64) -> Result<Ledger> {
    let is_settled = |ledger: &Ledger| {
        let mut destinations = ledger.destinations.values();
        ledger.aggregated == sent && destinations.all(|destination| destination.waiting == 0)
    };
    wait_for(scene, "everything to be exported or lost", is_settled).await
}

/// A load in the midst of which the answer of a collector ends the service, while nothing that is on its way is taken.
async fn load_and_fail(scene: &Scene, deltas: &Sink) -> Result<()> {
    let before = scene.sink.received().len();
    scene.sink.fail_next(1, &Fault::Hang);
    poll::until("the sums to hang", LIMIT, async || {
        let hanging = scene.sink.received().split_off(before).iter().any(|it| it.answered.is_none());
        Ok(Seen::when(hanging, hanging))
    })
    .await?;
    let fail = async {
        let waits = |ledger: &Ledger| ledger.destination(SUMS).is_ok_and(|sums| sums.waiting > 0);
        wait_for(scene, "requests to wait", waits).await?;
        deltas.fail_next(1, &Fault::status(503));
        Ok(())
    };
    tokio::try_join!(scene.load(REQUESTS, shapes()), fail)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_comes_back_counts_to_the_unit_what_it_never_brought() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let module = trap::write(&trap::service_on_fault()?, folder.path())?;
    let deltas = Sink::start(0).await?.allowing_gaps();
    let scene = Scene::of("envoy/self_healing.yaml", SUMS, 2, |config| {
        let destination = serde_json::json!({"cluster": DELTAS, "temporality": "delta"});
        config
            .set("stats_flush_interval", "0.2s")
            .static_cluster(DELTAS, deltas.address())
            .service("destinations[1]", destination)
            .module(SERVICE_PLUGIN, &module)
    })
    .await?;
    let (mut sent, mut reloads) = (0, 0);
    for life in 1..=2 {
        scene.load(REQUESTS, shapes()).await?;
        sent += REQUESTS;
        let before = wait_for_all(&scene, sent).await?;

        load_and_fail(&scene, &deltas).await?;
        sent += REQUESTS;
        reloads = wait_for_reload(&scene, reloads).await?;
        let ledger = wait_for_all(&scene, sent).await?;
        ledger.check()?;
        // Not one of the sums of this load was taken before the service failed.
        let lost = |ledger: &Ledger| ledger.destination(SUMS).map(Destination::lost);
        ensure!(lost(&ledger)? > lost(&before)?, "life {life} lost nothing: {ledger:?}");
        for (name, sink) in [(SUMS, &scene.sink), (DELTAS, &deltas)] {
            let destination = ledger.destination(name)?;
            assert_eq!(destination.dropped["trap"], destination.lost(), "{name}: {ledger:?}");
            assert_eq!(destination.exported, sink.total_count(DURATION), "{name}: {ledger:?}");
            let told = destination.exported + destination.lost();
            assert_eq!((ledger.observed, told), (sent, sent), "{name}: {ledger:?}");
            // The counter, which is in shared data and lives on, though no worker has anything to say any more.
            let counter = |store: &Store| store.sum(COUNTER, &[]);
            sink.wait_until_equal(&format!("the counter at {name}"), sent, counter).await?;
            assert_eq!(sink.problems(), Vec::<String>::new(), "{name}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_never_comes_back_leaves_requests_alone_and_workers_in_their_bounds() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let module = trap::write(&trap::service()?, folder.path())?;
    let mut scene = Scene::start(2, |config| config.module(SERVICE_PLUGIN, &module)).await?;
    let tally = scene.load(REQUESTS, shapes()).await?;
    assert_eq!(tally.answered(), REQUESTS);
    scene.envoy.wait_for_log("the service is dead or hangs", LIMIT).await?;
    let before = ledger(&scene).await?;
    let tally = scene.load(REQUESTS, shapes()).await?;
    assert_eq!(tally.answered_in_class(2) + tally.answered_in_class(4), REQUESTS);
    let ledger = at_rest(&scene).await?;
    assert_eq!(ledger.observed, 2 * REQUESTS);
    assert_eq!(ledger.pending, before.pending + REQUESTS, "workers keep what they have: {ledger:?}");
    assert_eq!(ledger.in_queue, before.in_queue, "the queue does not grow: {ledger:?}");
    assert_eq!(ledger.aggregated, ledger.destination("collector")?.waiting, "nothing was confirmed");
    Ok(())
}

/// Its heartbeat is not heard there, but statistics tell how much waits.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_under_another_vm_id_that_fails_leaves_the_queue_in_its_bounds() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let module = trap::write(&trap::service()?, folder.path())?;
    let mut scene = Scene::start(2, |config| {
        let vm_id = "bootstrap_extensions[0].typed_config.config.vm_config.vm_id";
        let each = json!({"interval": "200ms", "max_requests": 1});
        let config = config.module(SERVICE_PLUGIN, &module).set(vm_id, "elsewhere");
        config.worker("service_vm_id", "elsewhere").worker("flush", each)
    })
    .await?;
    scene.load(REQUESTS, shapes()).await?;
    scene.envoy.wait_for_log("Function: proxy_on_http_call_response failed", LIMIT).await?;
    // Each request is a batch, of which 512 may wait.
    scene.load(REQUESTS, shapes()).await?;
    let before = at_rest(&scene).await?;
    ensure!(before.in_queue >= 512, "{before:?}");
    scene.load(REQUESTS, shapes()).await?;
    let ledger = at_rest(&scene).await?;
    assert_eq!((ledger.observed, ledger.in_queue), (3 * REQUESTS, before.in_queue), "{ledger:?}");
    Ok(())
}

/// A load of which some requests end the worker that logs them.
async fn load_with_traps(scene: &Scene) -> Result<Tally> {
    let [users, orders] = shapes();
    let every = REQUESTS_PER_TRAP;
    let trap = Shape::get("trap", "/users/2").header(trap::HEADER, "1");
    let mix = Mix::new(20, [users.weight(every / 2), orders.weight(every / 2 - 1), trap])?;
    Load::new(scene.envoy.listener("ingress")?, REQUESTS, mix).run(|_| ()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_worker_had_when_it_failed_is_counted_to_the_unit() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let module = trap::write(&trap::worker_filter()?, folder.path())?;
    for policy in ["FAIL_RELOAD", "FAIL_OPEN"] {
        for is_logger in [true, false] {
            let case = format!("{policy}, {}", if is_logger { "access logger" } else { "HTTP filter" });
            one_worker_fails(&module, policy, is_logger).await.with_context(|| case)?;
        }
    }
    Ok(())
}

async fn one_worker_fails(module: &str, policy: &str, is_logger: bool) -> Result<()> {
    let attach = |config: EnvoyConfig| if is_logger { config.as_access_logger() } else { config };
    let counters = serde_json::json!([{"key": "requests", "when": "request"}]);
    let mut scene = Scene::start(2, |config| {
        attach(config)
            .failure_policy(WORKER_PLUGIN, policy)
            .worker("observed", "request")
            .worker("counters", counters)
            .module(WORKER_PLUGIN, module)
    })
    .await?;
    scene.load(REQUESTS, shapes()).await?;
    scene.wait_for_export(REQUESTS).await?;
    let tally = load_with_traps(&scene).await?;
    let by_status = tally.by_status();
    ensure!(tally.failed() + tally.truncated() == 0, "{:?}", tally.first_failure);
    let denied = by_status.get(&503).copied().unwrap_or_default();
    ensure!(denied == 0 || !is_logger, "an access logger never touches requests: {by_status:?}");

    // Made anew, all workers see all requests again; otherwise those are served that nobody sees.
    let sees = policy == "FAIL_RELOAD";
    poll::until("all requests to be served, and to be seen if workers are made anew", LIMIT, async || {
        let before = ledger(&scene).await?.observed;
        let load = Load::new(scene.envoy.listener("ingress")?, 100, Mix::new(3, shapes())?);
        let by_status = load.run(|_| ()).await?.by_status();
        let seen = ledger(&scene).await?.observed - before;
        let is_well = !by_status.contains_key(&503) && (seen == 100 || !sees);
        Ok(Seen::when(is_well, (by_status, seen)))
    })
    .await?;
    let ledger = at_rest(&scene).await?;
    let (counted, exported) = (scene.sink.sum(COUNTER, &[]), scene.sink.total_count(DURATION));
    // Three counts that know nothing of each other: a statistic, a number in shared data, and what the collector has.
    assert_eq!(ledger.observed, counted, "{ledger:?}");
    assert_eq!(ledger.destination("collector")?.exported, exported, "{ledger:?}");
    assert_eq!(ledger.pending, counted - exported, "{ledger:?}");
    ensure!(ledger.pending > 0 && exported >= REQUESTS, "{ledger:?}");
    // Whoever lives hands over its last fold when Envoy ends: there is none, so what is pending was lost.
    ensure!(scene.envoy.terminate(LIMIT).await?.success(), "Envoy did not end well");
    let taken_over = format!("the service ends: {exported} requests taken over in all");
    ensure!(scene.envoy.log_contains(&taken_over)?, "{}", scene.envoy.log()?);
    Ok(())
}
