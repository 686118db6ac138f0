//! The dashboard, the alert rules and the compose files, with a real Envoy and a real Prometheus.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tributary_tests::config::EnvoyConfig;
use tributary_tests::envoy::{Envoy, EnvoyOptions};
use tributary_tests::load::Shape;
use tributary_tests::markdown;
use tributary_tests::poll::{self, Seen};
use tributary_tests::ports::ReservedPort;
use tributary_tests::prometheus::Prometheus;
use tributary_tests::scene::{LIMIT, Scene};
use tributary_tests::sink::Sink;
use tributary_tests::upstream::Upstream;
use tributary_tests::{repository, tools};

const REQUESTS: u64 = 1_000;

fn read(file: &str) -> Result<String> {
    let path = repository::root().join("envoy").join(file);
    std::fs::read_to_string(&path).with_context(|| path.display().to_string())
}

fn yaml(file: &str) -> Result<Value> {
    serde_yaml_ng::from_str(&read(file)?).with_context(|| file.to_owned())
}

fn dashboard() -> Result<Value> {
    Ok(serde_json::from_str(&read("dashboards/tributary.json")?)?)
}

/// Returns the list at `pointer`.
fn list<'a>(document: &'a Value, pointer: &str) -> Result<&'a Vec<Value>> {
    document.pointer(pointer).and_then(Value::as_array).with_context(|| format!("no list at {pointer}"))
}

/// Collects every text under `key` at any depth.
fn texts(document: &Value, key: &str, found: &mut Vec<String>) {
    match document {
        Value::Object(fields) => {
            found.extend(fields.get(key).and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| texts(value, key, found));
        }
        Value::Array(items) => items.iter().for_each(|item| texts(item, key, found)),
        _ => {}
    }
}

fn expressions(document: &Value) -> Vec<String> {
    let mut found = Vec::new();
    texts(document, "expr", &mut found);
    found
}

/// Returns the metrics in an expression: every word that begins with a prefix of metric names.
fn metrics(expression: &str) -> impl Iterator<Item = &str> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| {
        ["tributary_", "http_server_", "envoy_wasm_"].iter().any(|start| word.starts_with(start))
    })
}

/// Starts the Envoy and the Prometheus of `envoy/compose`, with the other services inside this process.
async fn compose() -> Result<(Scene, Prometheus)> {
    let (upstream, sink, admin) = (Upstream::start(0).await?, Sink::start(0).await?, ReservedPort::new()?);
    let configuration = read("compose/prometheus.yaml")?
        .replace("envoy:9901", &format!("127.0.0.1:{}", admin.port()))
        .replace("scrape_interval: 5s", "scrape_interval: 500ms")
        .replace(
            "[alerts.yaml]",
            &format!("[{}/envoy/dashboards/alerts.yaml]", repository::root().display()),
        );
    let prometheus = Prometheus::start_with(0, &configuration).await?;
    let envoy = read("compose/envoy.yaml")?.replace("/var/local/tributary/", "target/wasm/");
    let config = EnvoyConfig::parse("compose/envoy.yaml", &envoy)?
        .static_cluster("app", upstream.address())
        .static_cluster("prometheus", prometheus.address())
        .free_ports()
        .admin_port(admin.port())
        .service("interval", "500ms");
    let envoy = Envoy::start(&config, &EnvoyOptions::workers(2)).await?;
    Ok((Scene { upstream, sink, envoy }, prometheus))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_of_the_dashboard_returns_data_and_every_rule_reads_existing_metrics() -> Result<()> {
    let (scene, prometheus) = compose().await?;
    let shapes =
        || [Shape::get("users", "/users/1").weight(3), Shape::get("broken", "/orders/1").status(503)];
    // Rates need two different values.
    for _ in 0..2 {
        scene.load(REQUESTS, shapes()).await?;
        let (admin, exports) = (scene.envoy.admin(), "wasmcustom.tributary_exports_succeeded");
        admin.wait_for_counter(exports, admin.counter(exports).await? + 1).await?;
    }
    let query = prometheus.query();
    query.wait_for_number("sum(http_server_request_duration_seconds_count)", 2_000.0).await?;

    let mut asked = expressions(&dashboard()?);
    assert!(asked.len() > 15, "{asked:?}");
    // Adds the queries of the documentation for the metrics of this preset.
    let documented = markdown::blocks()?.into_iter().filter(|block| block.info == "promql");
    let lines = documented.flat_map(|block| block.text.lines().map(str::to_owned).collect::<Vec<_>>());
    asked.extend(lines.filter(|line| !line.contains("istio_")));
    for expression in &asked {
        let concrete =
            expression.replace("$__rate_interval", "1m").replace("$route", ".*").replace("$instance", ".*");
        ensure!(!concrete.contains('$'), "an unknown variable in {expression}");
        poll::until(&format!("an answer to {concrete}"), LIMIT, async || {
            let found = query.vector(&concrete, None).await?;
            Ok(Seen::when(!found.is_empty(), found.len()))
        })
        .await?;
    }

    let names = query.get("/api/v1/label/__name__/values", &[]).await?;
    let names: Value = serde_json::from_str(&names)?;
    let names: BTreeSet<&str> = list(&names, "/data")?.iter().filter_map(Value::as_str).collect();
    let rules = expressions(&yaml("dashboards/alerts.yaml")?);
    for name in rules.iter().chain(&asked).flat_map(|expression| metrics(expression)) {
        assert!(names.contains(name), "{name} is not in {names:?}");
    }
    // Without a fault no alert fires.
    let alerts: Value = serde_json::from_str(&query.get("/api/v1/alerts", &[]).await?)?;
    let firing = list(&alerts, "/data/alerts")?.iter().filter(|alert| alert["state"] == "firing").count();
    assert_eq!(firing, 0, "{alerts}");
    Ok(())
}

#[tokio::test]
async fn the_alert_rules_pass_their_promtool_tests() -> Result<()> {
    let folder = repository::root().join("envoy/dashboards");
    let promtool = tools::prometheus::promtool().await?;
    for arguments in [["check", "rules", "alerts.yaml"], ["test", "rules", "alerts_test.yaml"]] {
        let output = Command::new(&promtool).args(arguments).current_dir(&folder).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    let (mut alerts, mut expected) = (Vec::new(), Vec::new());
    texts(&yaml("dashboards/alerts.yaml")?, "alert", &mut alerts);
    for test in list(&yaml("dashboards/alerts_test.yaml")?, "/tests")? {
        let raised = list(test, "/alert_rule_test")?.iter().filter(|check| check.get("exp_alerts").is_some());
        raised.for_each(|check| texts(check, "alertname", &mut expected));
    }
    let (alerts, expected) = (BTreeSet::from_iter(alerts), BTreeSet::from_iter(expected));
    assert_eq!(alerts, expected, "each alert has a test in which it fires");
    Ok(())
}

#[test]
fn the_panels_of_the_dashboard_do_not_overlap() -> Result<()> {
    let dashboard = dashboard()?;
    let mut taken = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in list(&dashboard, "/panels")? {
        assert!(ids.insert(panel["id"].to_string()), "{panel}");
        let place = |key: &str| panel["gridPos"][key].as_u64().context("a place");
        let (x, y, w, h) = (place("x")?, place("y")?, place("w")?, place("h")?);
        assert!(x + w <= 24, "{panel}");
        for cell in (y..y + h).flat_map(|y| (x..x + w).map(move |x| (x, y))) {
            assert!(taken.insert(cell), "{} overlaps another panel", panel["title"]);
        }
    }
    Ok(())
}

#[test]
fn every_file_that_the_compose_file_mounts_exists() -> Result<()> {
    let folder = repository::root().join("envoy/compose");
    let compose = yaml("compose/compose.yaml")?;
    let services = compose["services"].as_object().context("services")?;
    let mut mounts = 0;
    for (name, service) in services {
        assert!(service["image"].as_str().is_some_and(|image| image.contains(':')), "{name}");
        for dependency in service["depends_on"].as_array().into_iter().flatten() {
            assert!(services.contains_key(dependency.as_str().unwrap_or_default()), "{name}: {dependency}");
        }
        for volume in service["volumes"].as_array().into_iter().flatten() {
            let (source, _) = volume.as_str().and_then(|text| text.split_once(':')).context("a mount")?;
            assert!(Path::new(&folder).join(source).exists(), "{name}: {source}");
            mounts += 1;
        }
    }
    assert!(mounts > 4);
    let datasource = yaml("compose/grafana/provisioning/datasources/prometheus.yaml")?;
    assert_eq!(datasource["datasources"][0]["type"], "prometheus");
    let provider = yaml("compose/grafana/provisioning/dashboards/tributary.yaml")?;
    let path = provider["providers"][0]["options"]["path"].as_str().context("a path")?;
    assert!(read("compose/compose.yaml")?.contains(&format!("tributary.json:{path}/tributary.json")));
    Ok(())
}
