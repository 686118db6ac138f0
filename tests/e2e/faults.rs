//! Missing or wrong parts around the modules: traffic continues, nothing is lost, and the log names the
//! cause.

use anyhow::{Context, Result};
use serde_json::json;
use serde_yaml_ng::Value;
use tributary_tests::config::EnvoyConfig;
use tributary_tests::envoy::Envoy;
use tributary_tests::load::Shape;
use tributary_tests::scene::{COUNTER, DURATION, LIMIT, Scene};

const REQUESTS: u64 = 2_000;

fn users() -> [Shape; 1] {
    [Shape::get("users", "/users/1")]
}

/// Counts the log lines of the modules that contain `text`.
fn lines(log: &str, text: &str) -> usize {
    log.lines().filter(|line| line.contains("tributary: ") && line.contains(text)).count()
}

/// Runs two Envoys whose workers never find a service: one without it, one with another `vm_id`.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_service_traffic_continues_and_each_worker_logs_it_once() -> Result<()> {
    let absent = |config: EnvoyConfig| {
        config.edit(|document| {
            let root = document.as_mapping_mut().context("a mapping")?;
            root.remove("bootstrap_extensions").map(|_: Value| ()).context("a bootstrap extension")
        })
    };
    let misnamed = |config: EnvoyConfig| {
        config.set("bootstrap_extensions[0].typed_config.config.vm_config.vm_id", "elsewhere")
    };
    let edits: [fn(EnvoyConfig) -> EnvoyConfig; 2] = [absent, misnamed];
    for edit in edits {
        let scene = Scene::start(2, edit).await?;
        let tally = scene.load(REQUESTS, users()).await?;
        assert_eq!(tally.answered_in_class(2), REQUESTS);
        let mut envoy = scene.envoy;
        envoy.wait_for_log("no service has registered the queue", LIMIT).await?;
        // Waits for more than ten blocked flushes.
        envoy.admin().wait_for_counter("wasmcustom.tributary_flushes_blocked", 11).await?;
        let logged = lines(&envoy.log()?, "no service has registered the queue");
        assert!((1..=2).contains(&logged), "{logged} lines of two workers");
        // All requests are still in the workers, and the statistics report this; each worker reports its
        // requests when it flushes.
        envoy.admin().wait_for_counter("wasmcustom.tributary_observations_total", REQUESTS).await?;
        let stats = envoy.admin().stats().await?;
        let observations = |part: &str| stats.counter(&format!("wasmcustom.tributary_observations_{part}"));
        assert_eq!((observations("total")?, observations("enqueued")?), (REQUESTS, 0));
        assert_eq!(scene.sink.total_count(DURATION), 0);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_under_another_vm_id_is_found_by_the_configured_vm_id() -> Result<()> {
    let elsewhere = |config: EnvoyConfig| {
        let vm_id = "bootstrap_extensions[0].typed_config.config.vm_config.vm_id";
        config.set(vm_id, "elsewhere").worker("service_vm_id", "elsewhere")
    };
    let scene = Scene::start(2, elsewhere).await?;
    scene.load(REQUESTS, users()).await?;
    scene.sink.wait_until_equal("the requests", REQUESTS, |store| store.count(DURATION, &[])).await?;
    // Shared data is separate for each vm_id, so the service cannot read the counter.
    assert_eq!(scene.sink.sum(COUNTER, &[]), 0);
    Ok(())
}

/// Starts an Envoy that must reject its configuration, and returns its log.
async fn rejected(edit: impl FnOnce(EnvoyConfig) -> EnvoyConfig) -> Result<String> {
    Envoy::rejected(&edit(EnvoyConfig::minimal()?.free_ports())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_configuration_of_the_filter_is_rejected_with_one_line_per_problem() -> Result<()> {
    let log = rejected(|config| {
        config
            .worker("flush", json!({"interval": 5}))
            .worker("counters", json!([{"key": "a b"}]))
            .worker("flsh", 1)
    })
    .await?;
    for problem in [
        r#"configuration of the worker filter: flush.interval: found 5, allowed: a duration from 10ms to 5m"#,
        r#"configuration of the worker filter: counters[0].key: found "a b", allowed: letters, digits"#,
        r#"configuration of the worker filter: flsh: found an unknown key, allowed: one of preset, "#,
    ] {
        assert_eq!(lines(&log, problem), 1, "{problem}\n{log}");
    }
    assert_eq!(lines(&log, "configuration of the worker filter"), 3);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_configuration_of_the_service_is_rejected_with_one_line_per_problem() -> Result<()> {
    let log =
        rejected(|config| config.service("interval", "1 s").service("destinations[0].path", "v1/metrics"))
            .await?;
    for problem in [
        r#"configuration of the service: interval: found "1 s", allowed: a duration from 100ms to 1h"#,
        r#"configuration of the service: destinations[0].path: found "v1/metrics", allowed: a path that begins with '/'"#,
    ] {
        assert_eq!(lines(&log, problem), 1, "{problem}\n{log}");
    }
    assert_eq!(lines(&log, "configuration of the service"), 2);
    Ok(())
}
