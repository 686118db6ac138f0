//! The tap logs matching streams with secrets masked.

use anyhow::Result;
use serde_json::json;
use tributary_tests::config::EnvoyConfig;
use tributary_tests::envoy::Envoy;
use tributary_tests::load::Shape;
use tributary_tests::poll::{self, Seen};
use tributary_tests::scene::{LIMIT, Scene};

/// Returns the lines of the tap in Envoy's log, without the prefix `tap`.
fn lines(envoy: &Envoy) -> Result<Vec<String>> {
    let log = envoy.log()?;
    Ok(log
        .lines()
        .filter_map(|line| line.rsplit_once("tributary: ")?.1.strip_prefix("tap "))
        .map(str::to_owned)
        .collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn matching_requests_are_logged_with_secrets_masked() -> Result<()> {
    let scene = Scene::start(1, |config| {
        config.full().worker(
            "tap",
            json!({"condition": "request.path.startsWith('/orders')", "per_minute": 2, "body_bytes": 12}),
        )
    })
    .await?;
    let order = Shape::new("order", "POST", "/orders")
        .body("line\nbreak \x00 and more")
        .header("authorization", "Bearer s3cret")
        .header("x-name", b"caf\xff");
    scene.load(5, [order]).await?;
    scene.load(5, [Shape::get("users", "/users/1")]).await?;
    let seen = poll::until("two streams in the log", LIMIT, async || {
        let lines = lines(&scene.envoy)?;
        Ok(Seen::when(lines.iter().any(|line| line.starts_with("2 from upstream")), lines))
    })
    .await?;
    let with_prefix =
        |start: &str| seen.iter().filter(|line| line.starts_with(start)).cloned().collect::<Vec<_>>();
    for number in [1, 2] {
        let [request] = &with_prefix(&format!("{number} request"))[..] else { anyhow::bail!("{seen:?}") };
        assert!(request.contains("; :path: /orders") && request.contains(r"; x-name: caf\xff"), "{request}");
        assert!(request.contains("; authorization: ***"), "{request}");
        assert_eq!(
            with_prefix(&format!("{number} from client")),
            [format!(r"{number} from client: line\nbreak \x00")]
        );
        assert!(with_prefix(&format!("{number} response"))[0].contains("; :status: 200"));
        assert_eq!(with_prefix(&format!("{number} from upstream")), [format!("{number} from upstream: ..")]);
    }
    assert!(with_prefix("3").is_empty(), "no more than two in a minute: {seen:?}");
    assert!(!scene.envoy.log_contains("s3cret")?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_matching_connection_is_logged_in_both_directions() -> Result<()> {
    const TCP_PLUGIN: &str = "tributary_tcp_filter";
    let edit = |config: EnvoyConfig| {
        config.full_plugin(TCP_PLUGIN).plugin(
            TCP_PLUGIN,
            "tap",
            json!({"condition": "destination.port > 0", "body_bytes": 8}),
        )
    };
    let scene = Scene::of("envoy/http_and_tcp.yaml", "otlp_collector", 1, |config| {
        // Uses the HTTP application as the TCP server.
        let app = config.cluster_address("app").map_or(0, |address| address.port());
        edit(config.cluster_port("database", app))
    })
    .await?;
    let database = scene.envoy.listener("database")?;
    let answer = reqwest::get(format!("http://{database}/a")).await?;
    assert_eq!(answer.status(), 200);
    drop(answer);
    let lines = poll::until("both directions in the log", LIMIT, async || {
        let lines = lines(&scene.envoy)?;
        Ok(Seen::when(lines.iter().any(|line| line.contains("from upstream")), lines))
    })
    .await?;
    assert!(lines[0].starts_with("1 connection; source 127.0.0.1:"), "{lines:?}");
    assert!(lines[0].contains(&format!("; destination {database}")), "{lines:?}");
    assert!(lines.contains(&"1 from client: GET /a H".to_owned()), "{lines:?}");
    assert!(lines.contains(&"1 from upstream: HTTP/1.1".to_owned()), "{lines:?}");
    Ok(())
}
