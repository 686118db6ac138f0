//! A module traps under load: traffic follows the failure policy, and the ledger reports exactly what was
//! lost.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tributary_tests::config::{EnvoyConfig, SERVICE_PLUGIN, WORKER_PLUGIN};
use tributary_tests::ledger::{Destination, EnvoyLedger};
use tributary_tests::load::{Load, Mix, Shape, Tally};
use tributary_tests::poll::{self, Seen};
use tributary_tests::scene::{COUNTER, DURATION, LIMIT, Scene};
use tributary_tests::sink::{Fault, Sink, Store};
use tributary_tests::trap;

const REQUESTS: u64 = 2_000;
/// The cumulative destination.
const SUMS: &str = "otlp_collector";
const DELTAS: &str = "deltas";
/// One of this many requests makes the VM that logs it trap.
const REQUESTS_PER_TRAP: u32 = 500;
/// How long the ledger must stay the same: several flush and export intervals of a scene.
const UNCHANGED: Duration = Duration::from_secs(2);

fn shapes() -> [Shape; 2] {
    [Shape::get("users", "/users/1").weight(3), Shape::get("orders", "/orders/7").status(404)]
}

async fn ledger(scene: &Scene) -> Result<EnvoyLedger> {
    let ledger = EnvoyLedger::read(scene.envoy.admin()).await?;
    ledger.check_destinations()?;
    Ok(ledger)
}

/// Waits until `holds` is true for the ledger, and checks every ledger on the way.
async fn wait_for(scene: &Scene, what: &str, holds: impl Fn(&EnvoyLedger) -> bool) -> Result<EnvoyLedger> {
    poll::until(what, LIMIT, async || {
        let ledger = ledger(scene).await?;
        Ok(Seen::when(holds(&ledger), ledger))
    })
    .await
}

/// Waits until the ledger has not changed for [`UNCHANGED`], and checks it.
async fn at_rest(scene: &Scene) -> Result<EnvoyLedger> {
    let mut last = (Instant::now(), EnvoyLedger::default());
    let ledger = poll::until("the ledger to stop changing", LIMIT, async || {
        let ledger = ledger(scene).await?;
        if ledger != last.1 {
            last = (Instant::now(), ledger.clone());
        }
        Ok(Seen::when(last.0.elapsed() >= UNCHANGED, ledger))
    })
    .await?;
    ledger.check()?;
    Ok(ledger)
}

/// Waits until all `sent` requests are exported or lost for every destination.
async fn wait_for_all(scene: &Scene, sent: u64) -> Result<EnvoyLedger> {
    let is_settled = |ledger: &EnvoyLedger| {
        let mut destinations = ledger.destinations.values();
        ledger.aggregated == sent && destinations.all(|destination| destination.waiting == 0)
    };
    wait_for(scene, "everything to be exported or lost", is_settled).await
}

/// Sends a load during which the service traps on an answer of `deltas`, while its export to the other
/// collector hangs.
async fn load_and_fail(scene: &Scene, deltas: &Sink) -> Result<()> {
    let before = scene.sink.received().len();
    scene.sink.fail_next(1, &Fault::Hang);
    poll::until("the sums to hang", LIMIT, async || {
        let hanging = scene.sink.received().split_off(before).iter().any(|it| it.answered.is_none());
        Ok(Seen::when(hanging, hanging))
    })
    .await?;
    let fail = async {
        let waits = |ledger: &EnvoyLedger| ledger.destination(SUMS).is_ok_and(|sums| sums.waiting > 0);
        wait_for(scene, "requests to wait", waits).await?;
        deltas.fail_next(1, &Fault::status(503));
        Ok(())
    };
    tokio::try_join!(scene.load(REQUESTS, shapes()), fail)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_service_counts_exactly_what_was_lost() -> Result<()> {
    let module = trap::service_on_fault()?;
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
    for round in 1..=2 {
        scene.load(REQUESTS, shapes()).await?;
        sent += REQUESTS;
        let before = wait_for_all(&scene, sent).await?;

        load_and_fail(&scene, &deltas).await?;
        sent += REQUESTS;
        reloads = scene.wait_for_reload(reloads).await?;
        let ledger = wait_for_all(&scene, sent).await?;
        ledger.check()?;
        // No cumulative export of this load was accepted before the trap.
        let lost = |ledger: &EnvoyLedger| ledger.destination(SUMS).map(Destination::lost);
        ensure!(lost(&ledger)? > lost(&before)?, "round {round} lost nothing: {ledger:?}");
        for (name, sink) in [(SUMS, &scene.sink), (DELTAS, &deltas)] {
            let destination = ledger.destination(name)?;
            assert_eq!(destination.dropped["trap"], destination.lost(), "{name}: {ledger:?}");
            assert_eq!(destination.exported, sink.total_count(DURATION), "{name}: {ledger:?}");
            let settled = destination.exported + destination.lost();
            assert_eq!((ledger.observed, settled), (sent, sent), "{name}: {ledger:?}");
            // The shared counter survives the trap, and the service exports it although workers send no more
            // batches.
            let counter = |store: &Store| store.sum(COUNTER, &[]);
            sink.wait_until_equal(&format!("the counter at {name}"), sent, counter).await?;
            assert_eq!(sink.problems(), Vec::<String>::new(), "{name}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_not_restarted_affects_no_request_and_workers_stay_within_their_limits()
-> Result<()> {
    let module = trap::service()?;
    let mut scene = Scene::start(2, |config| config.module(SERVICE_PLUGIN, &module)).await?;
    let tally = scene.load(REQUESTS, shapes()).await?;
    assert_eq!(tally.answered(), REQUESTS);
    scene.envoy.wait_for_log("the service sends no heartbeat", LIMIT).await?;
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

/// Workers cannot read the heartbeat of a service with another `vm_id`, but they read the length of the
/// queue from statistics.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_trap_of_a_service_under_another_vm_id_the_queue_stays_within_its_limit() -> Result<()> {
    let module = trap::service()?;
    let mut scene = Scene::start(2, |config| {
        let vm_id = "bootstrap_extensions[0].typed_config.config.vm_config.vm_id";
        let each = json!({"interval": "200ms", "max_requests": 1});
        let config = config.module(SERVICE_PLUGIN, &module).set(vm_id, "elsewhere");
        config.worker("service_vm_id", "elsewhere").worker("flush", each)
    })
    .await?;
    scene.load(REQUESTS, shapes()).await?;
    scene.envoy.wait_for_log("Function: proxy_on_http_call_response failed", LIMIT).await?;
    // Each request is a batch, and the queue may hold 512.
    scene.load(REQUESTS, shapes()).await?;
    let before = at_rest(&scene).await?;
    ensure!(before.in_queue >= 512, "{before:?}");
    scene.load(REQUESTS, shapes()).await?;
    let ledger = at_rest(&scene).await?;
    assert_eq!((ledger.observed, ledger.in_queue), (3 * REQUESTS, before.in_queue), "{ledger:?}");
    Ok(())
}

/// Sends a load in which some requests make the worker that logs them trap.
async fn load_with_traps(scene: &Scene) -> Result<Tally> {
    let [users, orders] = shapes();
    let every = REQUESTS_PER_TRAP;
    let trap = Shape::get("trap", "/users/2").header(trap::HEADER, "1");
    let mix = Mix::new(20, [users.weight(every / 2), orders.weight(every / 2 - 1), trap])?;
    Load::new(scene.envoy.listener("ingress")?, REQUESTS, mix).run(|_| ()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn losses_of_a_trapped_worker_are_counted_exactly() -> Result<()> {
    let module = trap::worker("worker_filter.wasm")?;
    for policy in ["FAIL_RELOAD", "FAIL_OPEN"] {
        for is_logger in [true, false] {
            let case = format!("{policy}, {}", if is_logger { "access logger" } else { "HTTP filter" });
            worker_traps(&module, policy, is_logger).await.with_context(|| case)?;
        }
    }
    Ok(())
}

async fn worker_traps(module: &str, policy: &str, is_logger: bool) -> Result<()> {
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
    ensure!(denied == 0 || !is_logger, "an access logger never affects requests: {by_status:?}");

    // After a restart all workers observe all requests again; without one, requests are served unobserved.
    let restarts = policy == "FAIL_RELOAD";
    poll::until(
        "all requests to be served, and to be observed if workers are restarted",
        LIMIT,
        async || {
            let before = ledger(&scene).await?.observed;
            let load = Load::new(scene.envoy.listener("ingress")?, 100, Mix::new(3, shapes())?);
            let by_status = load.run(|_| ()).await?.by_status();
            let seen = ledger(&scene).await?.observed - before;
            let is_recovered = !by_status.contains_key(&503) && (seen == 100 || !restarts);
            Ok(Seen::when(is_recovered, (by_status, seen)))
        },
    )
    .await?;
    let ledger = at_rest(&scene).await?;
    let (counted, exported) = (scene.sink.sum(COUNTER, &[]), scene.sink.total_count(DURATION));
    // Three independent counts: a statistic, the shared counter, and the collector's.
    assert_eq!(ledger.observed, counted, "{ledger:?}");
    assert_eq!(ledger.destination("collector")?.exported, exported, "{ledger:?}");
    assert_eq!(ledger.pending, counted - exported, "{ledger:?}");
    ensure!(ledger.pending > 0 && exported >= REQUESTS, "{ledger:?}");
    // At the shutdown live workers flush. These flushes add no observations, so all pending observations
    // were lost.
    ensure!(scene.envoy.terminate(LIMIT).await?.success(), "Envoy ended with an error");
    let expected = format!("the service shuts down: {exported} observations aggregated");
    ensure!(scene.envoy.log_contains(&expected)?, "{}", scene.envoy.log()?);
    Ok(())
}
