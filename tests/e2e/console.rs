//! The console on a real Envoy: it shows the exact counts, a flush returns after the export, and the page
//! renders.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use reqwest::header::{ACCEPT, ALLOW, CONTENT_TYPE};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tributary_tests::config::{EnvoyConfig, SERVICE_PLUGIN};
use tributary_tests::load::{Load, Mix, Shape};
use tributary_tests::poll::{self, Seen};
use tributary_tests::prometheus::Prometheus;
use tributary_tests::scene::{DURATION, LIMIT, Scene};
use tributary_tests::sink::Fault;
use tributary_tests::{markdown, repository, tools, trap, untrusted_plugin};

const REQUESTS: u64 = 1_000;
/// The name of the console plugin.
const CONSOLE_PLUGIN: &str = "tributary_console";
/// The name of the request count in the text format of Prometheus.
const COUNT: &str = "http_server_request_duration_seconds_count";

/// A scene with a console and a client for it.
struct ConsoleScene {
    scene: Scene,
    client: Client,
    address: String,
}

struct ConsoleResponse {
    status: u16,
    content_type: String,
    body: String,
}

impl ConsoleScene {
    async fn start(edit: impl FnOnce(EnvoyConfig) -> EnvoyConfig) -> Result<Self> {
        let scene = Scene::of("envoy/console.yaml", "otlp_collector", 2, |config| {
            edit(config.plugin(CONSOLE_PLUGIN, "flush", json!({"interval": "200ms"})))
        })
        .await?;
        let address = format!("http://{}", scene.envoy.listener("console")?);
        let stage = Self { scene, client: Client::builder().timeout(LIMIT).build()?, address };
        // Envoy accepts requests before its stat sinks have had their first tick.
        stage.wait_for_health(200).await?;
        Ok(stage)
    }

    async fn ask(&self, method: Method, path: &str, accept: &str) -> Result<ConsoleResponse> {
        let request = self.client.request(method, format!("{}{path}", self.address)).header(ACCEPT, accept);
        let answer = request.send().await?;
        let header = answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        Ok(ConsoleResponse {
            status: answer.status().as_u16(),
            content_type: header.unwrap_or_default().to_owned(),
            body: answer.text().await?,
        })
    }

    /// Waits until `/healthz` answers with `status`, and returns the body.
    async fn wait_for_health(&self, status: u16) -> Result<String> {
        poll::until(&format!("health {status}"), LIMIT, async || {
            let health = self.get("/healthz").await?;
            Ok(if health.status == status { Seen::Ready(health.body) } else { Seen::Pending(health.body) })
        })
        .await
    }

    async fn get(&self, path: &str) -> Result<ConsoleResponse> {
        self.ask(Method::GET, path, "*/*").await
    }

    async fn flush(&self, query: &str) -> Result<ConsoleResponse> {
        self.ask(Method::POST, &format!("/flush{query}"), "*/*").await
    }

    /// Runs the hook of the documentation as the kubelet does, with the address of this console.
    async fn run_hook(&self) -> Result<()> {
        let blocks = markdown::blocks()?;
        let hook = blocks.iter().find(|block| block.info == "yaml hook").context("no hook in docs")?;
        let hook: Value = serde_yaml_ng::from_str(&hook.text)?;
        let command = hook.pointer("/lifecycle/preStop/exec/command").context("no command in the hook")?;
        let command: Vec<String> = serde_json::from_value(command.clone())?;
        let mut words = command.iter().map(|word| word.replace("http://127.0.0.1:9902", &self.address));
        let program = words.next().context("an empty command")?;
        let output = Command::new(program).args(words).output().await?;
        ensure!(output.status.success(), "{command:?}: {output:?}");
        Ok(())
    }

    async fn load(&self, requests: u64) -> Result<()> {
        let shapes =
            [Shape::get("users", "/users/1").weight(3), Shape::get("orders", "/orders/7").status(503)];
        self.scene.load(requests, shapes).await?;
        Ok(())
    }
}

/// Sums the samples called `name` in the text format of Prometheus.
fn sum(text: &str, name: &str) -> Result<u64> {
    let samples =
        text.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
    let mut sum = 0;
    for sample in samples {
        let (_, value) = sample.rsplit_once(' ').context("a sample without a value")?;
        sum += value.parse::<u64>().with_context(|| sample.to_owned())?;
    }
    Ok(sum)
}

/// Counts the requests in a snapshot.
fn requests(snapshot: &Value) -> Result<u64> {
    let metrics = snapshot["metrics"].as_array().context("metrics")?;
    let metric = metrics.iter().find(|metric| metric["name"] == DURATION).context("the duration")?;
    let points = metric["points"].as_array().context("points")?;
    for point in points {
        let buckets = point["buckets"].as_array().context("buckets")?;
        let in_buckets: u64 = buckets.iter().filter_map(Value::as_u64).sum();
        ensure!(point["count"] == in_buckets, "{point}");
    }
    Ok(points.iter().filter_map(|point| point["count"].as_u64()).sum())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_console_shows_the_exact_counts() -> Result<()> {
    let stage = ConsoleScene::start(|config| config).await?;
    stage.load(REQUESTS).await?;
    let flushed = stage.flush("").await?;
    assert_eq!(flushed.status, 200, "{}", flushed.body);
    assert_eq!(
        stage.scene.sink.total_count(DURATION),
        REQUESTS,
        "the export precedes the answer to the flush"
    );

    let snapshot = stage.get("/snapshot.json").await?;
    assert_eq!((snapshot.status, snapshot.content_type.as_str()), (200, "application/json"));
    let snapshot: Value = serde_json::from_str(&snapshot.body)?;
    assert_eq!(requests(&snapshot)?, REQUESTS);
    assert_eq!(snapshot["ledger"]["observations_aggregated"], REQUESTS);
    assert_eq!((&snapshot["is_cut"], &snapshot["destinations"][0]["fault"]), (&json!(false), &json!("")));
    assert_eq!(snapshot["resource"]["service.name"], "edge");

    let metrics = stage.get("/metrics").await?;
    assert_eq!(metrics.content_type, "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(sum(&metrics.body, COUNT)?, REQUESTS);
    assert_eq!(sum(&metrics.body, "tributary_counter_total")?, REQUESTS);
    let mut promtool = tokio::process::Command::new(tools::prometheus::promtool().await?);
    let piped = promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut promtool = piped.stderr(Stdio::piped()).kill_on_drop(true).spawn()?;
    promtool.stdin.take().context("stdin")?.write_all(metrics.body.as_bytes()).await?;
    let output = promtool.wait_with_output().await?;
    // The format is valid. promtool warns about the name of one metric; that name is kept.
    let warnings = String::from_utf8_lossy(&output.stderr);
    assert_eq!(warnings.trim(), "tributary_counter_total metric name should not include type 'counter'");

    let accept = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5";
    let metrics = stage.ask(Method::GET, "/metrics", accept).await?;
    assert_eq!(metrics.content_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(metrics.body.ends_with("\n# EOF\n"));
    assert_eq!(sum(&metrics.body, COUNT)?, REQUESTS);

    let healthy = stage.get("/healthz").await?;
    assert_eq!((healthy.status, healthy.body.as_str()), (200, "ok\n"));
    assert_eq!(stage.get("/nothing").await?.status, 404);
    let head = stage.ask(Method::HEAD, "/", "*/*").await?;
    assert_eq!(
        (head.status, head.content_type.as_str(), head.body.as_str()),
        (200, "text/html; charset=utf-8", "")
    );
    let wrong = stage.client.delete(format!("{}/metrics", stage.address)).send().await?;
    assert_eq!(wrong.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(wrong.headers().get(ALLOW).and_then(|value| value.to_str().ok()), Some("GET, HEAD"));
    assert_eq!(stage.scene.stats().await?.counter("wasmcustom.tributary_observations_total")?, REQUESTS);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_prometheus_scrapes_a_service_without_destinations() -> Result<()> {
    let stage = ConsoleScene::start(|config| config.service("destinations", json!([]))).await?;
    let target = stage.scene.envoy.listener("console")?;
    let prometheus = Prometheus::start_with(
        0,
        &format!(
            "scrape_configs: [{{job_name: edge, scrape_interval: 500ms, scrape_timeout: 500ms, \
             static_configs: [{{targets: [\"{target}\"]}}]}}]\n"
        ),
    )
    .await?;
    stage.load(REQUESTS).await?;
    let query = prometheus.query();
    query.wait_for_number(&format!("sum({COUNT})"), 1_000.0).await?;
    let errors = query.sum(COUNT, &[("http_response_status_code", "503")], None).await?;
    let other = query.sum(COUNT, &[("http_response_status_code", "200")], None).await?;
    assert_eq!(errors + other, REQUESTS);
    assert_eq!(query.number("up{job=\"edge\"}", None).await?, Some(1.0));
    assert_eq!(stage.flush("").await?.status, 200, "without destinations a flush ends at the table");
    assert_eq!(stage.scene.sink.received().len(), 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flush_reports_what_it_waits_for_until_the_collector_has_everything() -> Result<()> {
    // The export interval never ends in this test, so every export is caused by a flush.
    let stage = ConsoleScene::start(|config| {
        config
            .service("interval", "300s")
            .service("destinations[0].timeout", "1s")
            .service("destinations[0].retry", json!({"initial_interval": "200ms", "max_interval": "400ms"}))
    })
    .await?;
    for fault in [Fault::status(503), Fault::Hang] {
        stage.scene.sink.fail_always(fault);
        let before = stage.scene.sink.total_count(DURATION);
        stage.load(REQUESTS).await?;
        let waiting = stage.flush("?timeout_ms=2500").await?;
        assert_eq!(waiting.status, 202, "{}", waiting.body);
        assert!(waiting.body.contains("destination \"collector\""), "{}", waiting.body);
        assert_eq!(stage.scene.sink.total_count(DURATION), before);
        stage.scene.sink.heal();
        let flushed = stage.flush("?timeout_ms=30000").await?;
        assert_eq!(flushed.status, 200, "{}", flushed.body);
        assert_eq!(stage.scene.sink.total_count(DURATION), before + REQUESTS);
    }
    let before = stage.scene.sink.total_count(DURATION);
    stage.load(REQUESTS).await?;
    stage.run_hook().await?;
    assert_eq!(stage.scene.sink.total_count(DURATION), before + REQUESTS);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_export_is_unhealthy() -> Result<()> {
    let stage = ConsoleScene::start(|config| config.service("destinations[0].timeout", "500ms")).await?;
    stage.scene.sink.fail_always(Fault::status(503));
    stage.load(10).await?;
    let body = stage.wait_for_health(503).await?;
    assert!(body.contains("destination \"collector\"") && body.contains("503"), "{body}");
    stage.scene.sink.heal();
    stage.wait_for_health(200).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_service_is_unhealthy() -> Result<()> {
    let module = trap::service()?;
    let stage = ConsoleScene::start(|config| {
        config.failure_policy(SERVICE_PLUGIN, "FAIL_CLOSED").module(SERVICE_PLUGIN, &module)
    })
    .await?;
    stage.load(10).await?;
    let body = stage.wait_for_health(503).await?;
    assert!(body.contains("silent"), "{body}");
    for (method, path) in [(Method::GET, "/metrics"), (Method::POST, "/flush")] {
        let answer = stage.ask(method, path, "*/*").await?;
        assert!(answer.status == 503 && answer.body.contains("silent"), "{path}: {}", answer.body);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_takes_all_batches_is_unhealthy() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("thief.wasm");
    std::fs::write(&file, untrusted_plugin::thief()?)?;
    let thief = untrusted_plugin::extension(&file.display().to_string(), "tributary");
    let stage = ConsoleScene::start(|config| config.set("bootstrap_extensions[0]", thief)).await?;
    let mix = Mix::new(1, [Shape::get("users", "/users/1")])?;
    let running = Load::new(stage.scene.envoy.listener("ingress")?, u64::MAX, mix).start();
    let body = stage.wait_for_health(503).await?;
    running.stop().await?;
    assert!(body.contains("otherwise another plugin takes the batches"), "{body}");
    let log = stage.scene.envoy.log()?;
    assert_eq!(log.matches("none of them arrives at the service").count(), 1, "{log}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_renders_in_light_in_dark_and_on_a_phone() -> Result<()> {
    let stage = ConsoleScene::start(|config| config).await?;
    stage.load(REQUESTS).await?;
    assert_eq!(stage.flush("").await?.status, 200);
    let page = format!("{}/", stage.address);
    let dom = tools::chromium::run(&["--virtual-time-budget=10000", "--dump-dom", &page]).await?;
    for shown in ["<b>1,000</b><span>requests in all</span>", ">live<", "http.route = users", "up to date"] {
        assert!(dom.contains(shown), "{shown} is not in {dom}");
    }
    let folder = repository::root().join("target/console");
    std::fs::create_dir_all(&folder)?;
    for (name, size, more) in [
        ("light", "1280,1250", "--blink-settings=preferredColorScheme=1"),
        ("dark", "1280,1250", "--blink-settings=preferredColorScheme=0"),
        ("phone", "390,1900", "--blink-settings=preferredColorScheme=1"),
    ] {
        let file = folder.join(format!("{name}.png"));
        let screenshot = format!("--screenshot={}", file.display());
        let size = format!("--window-size={size}");
        // Virtual time in Chromium passes faster than the real time in which snapshots change. This budget
        // of virtual time suffices for a plot.
        let arguments = ["--virtual-time-budget=400000", &size, more, &screenshot, &page];
        let (run, load) = tokio::join!(tools::chromium::run(&arguments), stage.load(REQUESTS));
        run?;
        load?;
        let length = std::fs::metadata(&file)?.len();
        assert!(length > 20_000, "{name}: the screenshot of {length} bytes is empty");
    }
    Ok(())
}
