//! Every configuration in `envoy/` runs on a real Envoy, and its counts arrive.

use anyhow::{Context, Result};
use serde_json::json;
use tributary_tests::config::{EnvoyConfig, SERVICE_PLUGIN};
use tributary_tests::load::{Load, Mix, Shape};
use tributary_tests::poll::Seen;
use tributary_tests::prometheus::Prometheus;
use tributary_tests::repository;
use tributary_tests::scene::{DURATION, LIMIT, Scene, wait_for};
use tributary_tests::sink::{RequestEncoding, Sink, Store};
use tributary_tests::trap;
use tributary_tests::upstream::Upstream;

const REQUESTS: u64 = 1_000;

/// The configurations that a test starts: all but two in this file.
const STARTED: [&str; 13] = [
    "access_log.yaml",
    "console.yaml",
    "credentials.yaml",
    "destinations.yaml",
    "grpc.yaml",
    "http_and_tcp.yaml",
    "least_privilege.yaml",
    "log_stream.yaml",
    "minimal.yaml",
    "mtls.yaml",
    "production.yaml",
    "remote_write.yaml",
    "self_healing.yaml",
];

fn shapes() -> [Shape; 2] {
    [Shape::get("users", "/users/1").weight(3), Shape::get("orders", "/orders/7").status(404)]
}

async fn start(file: &str, collector: &str, edit: impl FnOnce(EnvoyConfig) -> EnvoyConfig) -> Result<Scene> {
    Scene::of(&format!("envoy/{file}"), collector, 2, edit).await.with_context(|| file.to_owned())
}

#[test]
fn each_configuration_is_started_by_a_test() -> Result<()> {
    let folder = std::fs::read_dir(repository::root().join("envoy"))?;
    let mut files = Vec::new();
    for entry in folder {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            files.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    files.sort();
    assert_eq!(files, STARTED);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_otlp_collector_gets_every_request() -> Result<()> {
    for file in [
        "minimal.yaml",
        "access_log.yaml",
        "console.yaml",
        "self_healing.yaml",
        "production.yaml",
        "least_privilege.yaml",
        "log_stream.yaml",
    ] {
        let scene = start(file, "otlp_collector", |config| config).await?;
        scene.load(REQUESTS, shapes()).await?;
        scene.wait_for_export(REQUESTS).await.with_context(|| file.to_owned())?;
        assert_eq!(scene.sink.problems(), Vec::<String>::new(), "{file}");
        assert_eq!(scene.stats().await?.counter("wasmcustom.tributary_observations_aggregated")?, REQUESTS);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_resource_of_the_production_configuration_identifies_the_envoy() -> Result<()> {
    let scene = start("production.yaml", "otlp_collector", |config| config).await?;
    scene.load(10, shapes()).await?;
    scene.wait_for_export(10).await?;
    let received = scene.sink.received();
    let gzip = received.iter().filter(|request| request.headers.get("content-encoding").is_some());
    assert_eq!(gzip.count(), received.len());
    let text = format!("{:?}", received.last().and_then(|request| request.message.as_ref()));
    for value in ["\"edge\"", "\"edge-1\"", "\"production\"", "\"zone-a\""] {
        assert!(text.contains(value), "{value} is not in {text}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_destination_gets_the_same_in_its_own_encoding() -> Result<()> {
    let (deltas, tenant, prometheus) = (Sink::start(0).await?, Sink::start(0).await?, Sink::start(0).await?);
    let scene = start("destinations.yaml", "otlp_collector", |config| {
        config
            .cluster_port("delta_collector", deltas.port())
            .cluster_port("json_collector", tenant.port())
            .cluster_port("prometheus", prometheus.port())
            .service("destinations[1].interval", "300ms")
            .service("destinations[3].interval", "500ms")
    })
    .await?;
    scene.load(REQUESTS, shapes()).await?;
    scene.wait_for_export(REQUESTS).await?;
    for sink in [&deltas, &tenant] {
        wait_for(sink, REQUESTS).await?;
    }
    let remote = |store: &Store| store.remote_write().sum("http_server_request_duration_seconds_count", &[]);
    prometheus.wait_until_equal("the requests by remote write", REQUESTS, remote).await?;

    let received = tenant.received();
    let first = received.first().context("a request of the tenant")?;
    assert_eq!(
        (first.path.as_str(), first.encoding),
        ("/tenant/v1/metrics", Some(RequestEncoding::OtlpJson))
    );
    let header = |name: &str| first.headers.get(name).and_then(|value| value.to_str().ok());
    assert_eq!((header("host"), header("x-tenant")), (Some("metrics.example.com"), Some("shop")));
    for sink in [&scene.sink, &deltas, &tenant, &prometheus] {
        assert_eq!(sink.problems(), Vec::<String>::new());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_and_connections_are_counted_side_by_side() -> Result<()> {
    let database = Upstream::start(0).await?;
    let scene = start("http_and_tcp.yaml", "otlp_collector", |config| {
        config.cluster_port("database", database.port()).plugin(
            "tributary_tcp_filter",
            "flush",
            json!({"interval": "200ms"}),
        )
    })
    .await?;
    scene.load(REQUESTS, shapes()).await?;
    // Each request has a separate connection; a TCP proxy does not parse it.
    let query = Shape::get("query", "/").header("connection", "close");
    let tally = Load::new(scene.envoy.listener("database")?, 50, Mix::new(1, [query])?).run(|_| ()).await?;
    assert_eq!((tally.failed(), tally.connections), (0, 50));
    let counts = |store: &Store| (store.count(DURATION, &[]), store.sum("tcp.connections.closed", &[]));
    scene.sink.wait_until_equal("the requests and connections", (REQUESTS, 50), counts).await?;
    assert_eq!(scene.sink.problems(), Vec::<String>::new());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_prometheus_accepts_remote_write() -> Result<()> {
    let prometheus = Prometheus::start(0).await?;
    let scene = start("remote_write.yaml", "prometheus", |config| {
        config.cluster_port("prometheus", prometheus.address().port())
    })
    .await?;
    scene.load(REQUESTS, shapes()).await?;
    prometheus.query().wait_for_number("sum(http_server_request_duration_seconds_count)", 1_000.0).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_reaches_the_collector_without_being_in_a_plugin() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let secret = directory.path().join("authorization");
    std::fs::write(&secret, "Bearer of-good-news")?;
    let secret = secret.display().to_string();
    let file = "static_resources.secrets[0].generic_secret.secret.filename";
    let scene = start("credentials.yaml", "otlp_collector", |config| config.set(file, &secret)).await?;
    scene.load(REQUESTS, shapes()).await?;
    scene.wait_for_export(REQUESTS).await?;
    for request in scene.sink.received() {
        let header = request.headers.get("authorization").and_then(|value| value.to_str().ok());
        assert_eq!(header, Some("Bearer of-good-news"));
    }
    assert!(!scene.envoy.log()?.contains("of-good-news"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trapped_service_is_restarted_without_effect_on_requests() -> Result<()> {
    let module = trap::service()?;
    let scene = start("self_healing.yaml", "otlp_collector", |config| {
        // Disables self metrics: the answer to their export would make the service trap before the first
        // load.
        config
            .set("stats_flush_interval", "0.2s")
            .module(SERVICE_PLUGIN, &module)
            .service("self_metrics", false)
    })
    .await?;
    for round in 0..3 {
        // Each load is exported once, and the answer makes the service trap.
        let exported = scene.sink.total_count(DURATION);
        let tally = scene.load(REQUESTS, shapes()).await?;
        assert_eq!(tally.answered_in_class(2) + tally.answered_in_class(4), REQUESTS, "in round {round}");
        let probe = |store: &Store| {
            let count = store.count(DURATION, &[]);
            Seen::when(count > exported, count)
        };
        scene.sink.wait_until(&format!("an export in round {round}"), LIMIT, probe).await?;
        scene.wait_for_reload(round).await?;
    }
    Ok(())
}
