//! Envoy shuts down, and none of its counts is lost.

use anyhow::{Result, ensure};
use tributary_tests::cargo::replay;
use tributary_tests::config::EnvoyConfig;
use tributary_tests::envoy::EnvoyOptions;
use tributary_tests::load::Shape;
use tributary_tests::scene::{DURATION, LIMIT, Scene};
use tributary_tests::sink::{Fault, Sink};

const REQUESTS: u64 = 3_000;

fn shapes() -> [Shape; 3] {
    [
        Shape::get("users", "/users/1"),
        Shape::get("orders", "/orders/7").status(404),
        Shape::get("nowhere", "/x"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn unexported_metrics_are_logged_and_can_be_replayed() -> Result<()> {
    // The log level of Istio and Envoy Gateway.
    let arguments = ["--log-level", "warning"].map(str::to_owned).to_vec();
    let options = EnvoyOptions { arguments, ..EnvoyOptions::workers(2) };
    let config = EnvoyConfig::load("envoy/minimal.yaml")?;
    let (mut scene, _) = Scene::with(config, "otlp_collector", &options, |config| config).await?;
    scene.sink.fail_always(Fault::status(503));
    scene.load(REQUESTS, shapes()).await?;
    let status = scene.envoy.terminate(LIMIT).await?;
    ensure!(status.success(), "{status}");
    let log = scene.envoy.log()?;
    let aggregated = format!("the service shuts down: {REQUESTS} observations aggregated");
    ensure!(log.contains(&aggregated), "{}", log.lines().rev().take(5).collect::<Vec<_>>().join("\n"));
    assert_eq!(scene.sink.total_count(DURATION), 0);

    let sink = Sink::start(0).await?;
    let printed = replay(&log, sink.address())?;
    assert!(printed.contains("requests with"), "{printed}");
    assert_eq!(sink.total_count(DURATION), REQUESTS);
    assert_eq!(sink.problems(), Vec::<String>::new());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn exported_metrics_are_not_logged_at_shutdown() -> Result<()> {
    let mut scene = Scene::start(1, |config| config.service("self_metrics", false)).await?;
    scene.load(100, shapes()).await?;
    scene.wait_for_export(100).await?;
    scene.envoy.terminate(LIMIT).await?;
    let log = scene.envoy.log()?;
    ensure!(log.contains("100 observations aggregated, 0 points not exported"), "{log}");
    Ok(())
}
