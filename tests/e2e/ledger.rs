//! The ledger adds up for each service: over a hot restart, a trap after it, and two services in one Envoy.

use anyhow::{Result, ensure};
use serde_json::json;
use tributary_tests::config::{EnvoyConfig, SERVICE_PLUGIN};
use tributary_tests::envoy::{Envoy, EnvoyOptions};
use tributary_tests::ledger::{Destination, EnvoyLedger};
use tributary_tests::load::{Load, Mix, Shape};
use tributary_tests::poll::{self, Seen};
use tributary_tests::scene::{DURATION, LIMIT, Scene};
use tributary_tests::sink::{Fault, Sink};
use tributary_tests::trap;

const REQUESTS: u64 = 1_000;
/// More requests than a load sends before it is stopped.
const ENDLESS: u64 = 10_000_000;
/// The name of the destination in `envoy/self_healing.yaml`.
const COLLECTOR: &str = "otlp_collector";

fn users() -> [Shape; 1] {
    [Shape::get("users", "/users/1")]
}

/// Waits until `holds` is true for a destination, and checks that every ledger on the way adds up.
async fn wait_for(
    envoy: &Envoy,
    name: &str,
    what: &str,
    holds: impl Fn(&Destination) -> bool,
) -> Result<Destination> {
    poll::until(what, LIMIT, async || {
        let ledger = EnvoyLedger::read(envoy.admin()).await?;
        ledger.check_destinations()?;
        let destination = ledger.destination(name)?.clone();
        Ok(Seen::when(holds(&destination), destination))
    })
    .await
}

/// A service that Envoy restarts, in an Envoy that can be hot restarted.
async fn self_healing() -> Result<(Scene, EnvoyConfig)> {
    let config = EnvoyConfig::load("envoy/self_healing.yaml")?;
    let edit = |config: EnvoyConfig| config.set("stats_flush_interval", "0.2s");
    // Both Envoys run long enough to read the ledger many times.
    let times = ["--drain-strategy", "immediate", "--drain-time-s", "1", "--parent-shutdown-time-s", "8"];
    let options = EnvoyOptions { arguments: times.map(str::to_owned).into(), ..EnvoyOptions::fast_drain(2) };
    Scene::with(config, COLLECTOR, &options, edit).await
}

/// The collector gets nothing from the first Envoy, so its service ends with observations that it only logs.
#[tokio::test(flavor = "multi_thread")]
async fn it_adds_up_during_and_after_a_hot_restart() -> Result<()> {
    let (scene, config) = self_healing().await?;
    scene.sink.fail_always(Fault::status(503));
    let load = Load::new(scene.envoy.listener("ingress")?, ENDLESS, Mix::new(20, users())?).start();
    let waits = |it: &Destination| it.waiting >= REQUESTS;
    wait_for(&scene.envoy, COLLECTOR, "observations to wait", waits).await?;
    let mut first = scene.envoy;
    // A port of its own: the first Envoy keeps the socket of its admin port until it ends, without accepting.
    let config = config.free_ports().listener_port("ingress", first.listener("ingress")?.port());
    let second = first.successor(&config).await?;
    // The old Envoy counts and sends its statistics to the new one until it ends.
    let mut reads = 0;
    {
        let mut end = std::pin::pin!(first.wait_for_exit(LIMIT));
        loop {
            tokio::select! {
                status = &mut end => break ensure!(status?.success(), "the first Envoy failed"),
                ledger = EnvoyLedger::read(second.admin()) => ledger?.check_destinations()?,
            }
            reads += 1;
        }
    }
    ensure!(reads > 0, "the ledger was never read while both Envoys ran");
    load.wait_for_more(REQUESTS, LIMIT).await?;
    let tally = load.stop().await?;
    ensure!(tally.failed() == 0, "{:?}", tally.first_failure);
    scene.sink.heal();
    let settled = |it: &Destination| it.waiting == 0 && it.exported >= REQUESTS;
    let destination = wait_for(&second, COLLECTOR, "everything to be exported", settled).await?;
    // The first Envoy has exported nothing, so the collector has what the second Envoy counted.
    let exported = |store: &tributary_tests::sink::Store| store.count(DURATION, &[]);
    scene.sink.wait_until_equal("the exported requests", destination.exported, exported).await?;
    assert_eq!((destination.lost(), destination.aggregated), (0, destination.exported));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trap_after_a_hot_restart_loses_only_what_the_new_service_had() -> Result<()> {
    let module = trap::service_on_fault()?;
    let (scene, config) = self_healing().await?;
    // The first Envoy exports nothing; the second has another collector.
    scene.sink.fail_always(Fault::status(503));
    let sink = Sink::start(0).await?;
    let config = config.static_cluster(COLLECTOR, sink.address()).module(SERVICE_PLUGIN, &module);
    scene.load(REQUESTS, users()).await?;
    wait_for(&scene.envoy, COLLECTOR, "observations to wait", |it| it.waiting == REQUESTS).await?;
    let mut first = scene.envoy;
    let second = first.successor(&config).await?;
    ensure!(first.wait_for_exit(LIMIT).await?.success());
    let scene = Scene { envoy: second, ..scene };
    scene.load(REQUESTS, users()).await?;
    let accounted = |it: &Destination| it.waiting == 0 && it.aggregated == REQUESTS;
    let before = wait_for(&scene.envoy, COLLECTOR, "everything to be exported", accounted).await?;
    assert_eq!((before.lost(), before.exported), (0, REQUESTS));

    // An export of metrics about the service makes it trap, when nothing of the workers waits.
    sink.fail_next(1, &Fault::status(503));
    scene.wait_for_reload(0).await?;
    assert_eq!(wait_for(&scene.envoy, COLLECTOR, "the ledger after the trap", accounted).await?, before);
    Ok(())
}

/// Two filters, each with a service of its own; the collector of the second service is out of order.
#[tokio::test(flavor = "multi_thread")]
async fn it_adds_up_for_each_of_two_services() -> Result<()> {
    let failing = Sink::start(0).await?;
    failing.fail_always(Fault::status(503));
    let with_second = |config: EnvoyConfig| {
        let cluster = ("second_collector", failing.address());
        let filters = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.http_filters";
        let parts = (
            config.get("bootstrap_extensions[0]").cloned(),
            config.get(&format!("{filters}[0]")).cloned(),
            config.get(&format!("{filters}[1]")).cloned(),
        );
        let (Ok(service), Ok(worker), Ok(router)) = parts else { return config };
        let vm_id = "typed_config.config.vm_config.vm_id";
        config
            .static_cluster(cluster.0, cluster.1)
            .set("bootstrap_extensions[1]", service)
            .set(&format!("bootstrap_extensions[1].{vm_id}"), "other.one")
            .set(
                "bootstrap_extensions[1].typed_config.config.configuration.value.destinations[0]",
                json!({"name": "collector", "cluster": cluster.0}),
            )
            .set(&format!("{filters}[2]"), router)
            .set(&format!("{filters}[1]"), worker)
            .set(&format!("{filters}[1].{vm_id}"), "other.one")
    };
    let scene = Scene::start(2, with_second).await?;
    scene.load(REQUESTS, users()).await?;
    scene.wait_for_export(REQUESTS).await?;
    poll::until("both services to have everything", LIMIT, async || {
        let ledger = EnvoyLedger::read(scene.envoy.admin()).await?;
        ledger.check_destinations()?;
        let of =
            |vm_id: &str| ledger.destinations.get(&format!("{vm_id}.collector")).cloned().unwrap_or_default();
        let (first, second) = (of("tributary"), of("other_one"));
        let counts = [
            first.aggregated,
            first.exported,
            first.waiting,
            second.aggregated,
            second.exported,
            second.waiting,
        ];
        Ok(Seen::when(counts == [REQUESTS, REQUESTS, 0, REQUESTS, 0, REQUESTS], counts))
    })
    .await?;
    Ok(())
}
