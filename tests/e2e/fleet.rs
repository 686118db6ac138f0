//! Several Envoys export to one engine, and sums in the engine are the traffic of all Envoys.

use anyhow::Result;
use serde_json::json;
use tributary_tests::config::EnvoyConfig;
use tributary_tests::envoy::{Envoy, EnvoyOptions};
use tributary_tests::load::{Load, Mix, Shape};
use tributary_tests::poll::{self, Seen};
use tributary_tests::scene::{COUNTER, DURATION, LIMIT};
use tributary_tests::upstream::Upstream;
use tributary_tests::victoria_metrics::{self, VictoriaMetrics};

/// The number of requests for each Envoy of the fleet in one round.
const REQUESTS: [u64; 3] = [3_000, 2_000, 1_000];
const ROUNDS: u64 = 2;

/// Starts an Envoy with the node id `id` in the cluster `edge`, which exports to `engine`.
async fn envoy(id: &str, upstream: &Upstream, engine: &VictoriaMetrics) -> Result<Envoy> {
    let config = EnvoyConfig::minimal()?
        .free_ports()
        .set("node", json!({"id": id, "cluster": "edge"}))
        .cluster_port("app", upstream.port())
        .cluster_port("otlp_collector", engine.port())
        .worker("flush", json!({"interval": "200ms"}))
        .service("interval", "200ms")
        .service("destinations[0].path", victoria_metrics::OTLP_PATH);
    Envoy::start(&config, &EnvoyOptions::workers(2)).await
}

/// Sends `requests` requests; each request to the slowest Envoy takes 60 ms.
async fn load(envoy: &Envoy, requests: u64) -> Result<()> {
    let slow = if requests == 1_000 { 60 } else { 0 };
    let shapes = [
        Shape::get("users", "/users/1").weight(3).delay_ms(slow),
        Shape::get("orders", "/orders/1").weight(1).delay_ms(slow).status(404),
    ];
    let mut load = Load::new(envoy.listener("ingress")?, requests, Mix::new(7, shapes)?);
    load.connections = 32;
    let tally = load.run(|_| ()).await?;
    anyhow::ensure!(tally.failed() == 0, "unexpected end: {:?}", tally.first_failure);
    Ok(())
}

async fn wait_for(engine: &VictoriaMetrics, wanted: &[(&str, &str)], requests: u64) -> Result<()> {
    let count = format!("{DURATION}_count");
    poll::until(&format!("the engine to have {requests} requests of {wanted:?}"), LIMIT, async || {
        let counted = (engine.sum(&count, wanted).await?, engine.sum(COUNTER, wanted).await?);
        Ok(Seen::when(counted == (requests, requests), counted))
    })
    .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engine_adds_up_the_counts_of_all_envoys_across_a_restart() -> Result<()> {
    let (engine, upstream) = (VictoriaMetrics::start(0).await?, Upstream::start(0).await?);
    let start = async |id| envoy(id, &upstream, &engine).await;
    let mut fleet = [start("edge-1").await?, start("edge-2").await?, start("edge-3").await?];
    let total: u64 = REQUESTS.iter().sum();
    for round in 1..=ROUNDS {
        let [first, second, third] = &fleet;
        let [most, fewer, least] = REQUESTS;
        tokio::try_join!(load(first, most), load(second, fewer), load(third, least))?;
        wait_for(&engine, &[], total * round).await?;
        // Restarts one Envoy, which counts from 0 again under a new instance id.
        let [first, ..] = &mut fleet;
        first.terminate(LIMIT).await?;
        *first = start("edge-1").await?;
    }
    for (id, requests) in ["edge-1", "edge-2", "edge-3"].iter().zip(REQUESTS) {
        wait_for(&engine, &[("envoy.node.id", id)], requests * ROUNDS).await?;
    }
    let routes = [("users", total * ROUNDS * 3 / 4), ("orders", total * ROUNDS / 4)];
    for (route, requests) in routes {
        let counted = engine.sum(&format!("{DURATION}_count"), &[("http.route", route)]).await?;
        // The shapes are drawn at random with these shares.
        assert!(
            counted.abs_diff(requests) < requests / 10,
            "{counted} of {route}, about {requests} expected"
        );
    }
    // A sixth of all requests took 60 ms, all in one Envoy.
    let slowest = engine.quantile(0.95, DURATION, &[], None).await?;
    assert!(slowest.is_some_and(|slowest| slowest >= 0.05), "{slowest:?}");
    Ok(())
}
