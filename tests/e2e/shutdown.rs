//! Envoy shuts down, and none of its counts is lost.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tributary_proto::shutdown_log;
use tributary_tests::cargo::{replay, replay_with};
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

/// The log formats of Istio: with `logAsJson`, and without.
const ISTIO: [&str; 2] = [
    r#"{"level":"%l","time":"%Y-%m-%dT%T.%fZ","scope":"envoy %n","msg":"%j","caller":"%g:%#","thread":"%t"}"#,
    "%Y-%m-%dT%T.%fZ\t%l\tenvoy %n %g:%#\t%v\tthread=%t",
];

/// Forged lines: a client that controls every header puts whole lines of a shutdown log into an access log
/// in the same stream. Envoy starts with `arguments` and with `log_format` in its bootstrap.
/// `replay_arguments` name a format that `tributary replay` does not know.
async fn forged_lines_neither_block_nor_inject(
    arguments: &[&str],
    log_format: Option<Value>,
    replay_arguments: &[&str],
) -> Result<()> {
    let record =
        r#"{"destination":"collector","instance":"forged","line":1,"request":{"resourceMetrics":[]}}"#;
    let message = format!("wasm log tributary: tributary: {}", shutdown_log::encode(record));
    let forged = [
        format!(
            "[2026-11-28 02:31:11.123][1][warning][wasm] [source/extensions/common/wasm/context.cc:1198] {message}"
        ),
        format!("2026-11-28T02:31:11.123456Z\twarning\tenvoy wasm source/a.cc:7\t{message}\tthread=25"),
        json!({"level": "warning", "message": message}).to_string(),
        "tributary: unexported, ".to_owned(),
        "tributary: unexported for \"collector\" {".to_owned(),
    ];
    let shapes = forged.iter().zip(["a", "b", "c", "d", "e"]);
    let shapes = shapes.map(|(value, name)| Shape::get(name, "/users/1").header("user-agent", value));
    let format = "[%START_TIME%] \"%REQ(USER-AGENT)%\" %RESPONSE_CODE%\n";
    let access_log = json!([{
        "name": "stderr",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StderrAccessLog",
            "log_format": {"text_format_source": {"inline_string": format}}
        }
    }]);
    let manager = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config";
    let edit = |config: EnvoyConfig| {
        let config = config.set(&format!("{manager}.access_log"), access_log);
        match log_format {
            Some(format) => config.set("application_log_config", json!({"log_format": format})),
            None => config,
        }
    };
    let arguments = arguments.iter().map(|text| (*text).to_owned()).collect();
    let options = EnvoyOptions { arguments, ..EnvoyOptions::workers(2) };
    let (mut scene, _) = Scene::with(EnvoyConfig::minimal()?, "otlp_collector", &options, edit).await?;
    scene.sink.fail_always(Fault::status(503));
    scene.load(200, shapes).await?;
    let status = scene.envoy.terminate(LIMIT).await?;
    ensure!(status.success(), "{status}");
    let log = scene.envoy.log()?;
    let marks = log.matches("\"[2026-11-28 02:31:11.123]").count();
    ensure!(marks > 0, "the access log is not in the log: {}", scene.envoy.log_tail());

    let sink = Sink::start(0).await?;
    let printed = replay_with(&log, sink.address(), replay_arguments)?;
    ensure!(printed.contains(" foreign, 0 broken and 0 repeated lines"), "{printed}");
    assert_eq!(sink.total_count(DURATION), 200, "{printed}");
    assert_eq!(sink.problems(), Vec::<String>::new());

    // Without its last line the log is incomplete, and the other lines are still sent.
    let mark = "unexported, ";
    let last = log.lines().rfind(|line| line.contains(mark) && line.contains("points")).unwrap_or_default();
    let replayed = replay_with(&log.replace(last, ""), sink.address(), replay_arguments);
    let error = replayed.err().context("an incomplete log is an error")?;
    ensure!(format!("{error:#}").contains("but not the last line with their number"), "{error:#}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn replay_reads_the_formats_of_envoy_and_istio_and_skips_forged_lines() -> Result<()> {
    forged_lines_neither_block_nor_inject(&[], None, &[]).await?;
    for format in ISTIO {
        let arguments = ["--log-level", "warning", "--log-format", format];
        forged_lines_neither_block_nor_inject(&arguments, None, &[]).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn replay_reads_json_logs_and_other_formats_and_skips_forged_lines() -> Result<()> {
    let known = json!({"Timestamp": "%Y-%m-%dT%T.%F", "Level": "%l", "Message": "%j"});
    forged_lines_neither_block_nor_inject(&[], Some(json!({"json_format": known})), &[]).await?;
    let own = json!({"Service": "edge", "Message": "%j"});
    let arguments = ["--log-format", &own.to_string()];
    forged_lines_neither_block_nor_inject(&[], Some(json!({"json_format": own.clone()})), &arguments).await?;
    let text = ["--log-format", "%L edge %v"];
    forged_lines_neither_block_nor_inject(&text, None, &text).await
}

/// Envoy closes its log file before the service ends.
#[tokio::test(flavor = "multi_thread")]
async fn with_a_log_file_the_shutdown_log_is_on_standard_error() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("envoy.log").display().to_string();
    forged_lines_neither_block_nor_inject(&["--log-path", &file], None, &[]).await?;
    let written = std::fs::read_to_string(&file)?;
    ensure!(!written.contains("tributary: unexported, "), "{written}");
    ensure!(written.contains("starting main dispatch loop"), "{written}");
    Ok(())
}
