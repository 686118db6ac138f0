//! Shared counters can be read by any plugin with the same `vm_id`.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use serde_yaml_ng::Value as Yaml;
use tributary_tests::cargo;
use tributary_tests::config::EnvoyConfig;
use tributary_tests::load::Shape;
use tributary_tests::markdown;
use tributary_tests::poll::{self, Seen};
use tributary_tests::scene::{LIMIT, Scene};

const REQUESTS: u64 = 2_000;
const MODULE: &str = "target/wasm/tributary_plain_plugin.wasm";
const SOURCE: &str = "tests/plain-plugin/src/lib.rs";

/// Builds the module of the third-party plugin, as its author would.
fn build() -> Result<()> {
    let output = cargo::xtask(&["build", "--plugin", "tributary-plain-plugin"]).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Adds the plugin before Tributary's filter, once for each pair of a `vm_id` and a configuration
/// `HEADER=COUNTER`.
fn with_plugins(config: EnvoyConfig, plugins: &[(&str, &str)]) -> EnvoyConfig {
    let filter = |(vm_id, configuration): &(&str, &str)| -> Value {
        json!({"name": configuration, "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {
                "name": configuration,
                "vm_config": {
                    "vm_id": vm_id,
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": {"local": {"filename": MODULE}}
                },
                "configuration": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": configuration}
            }
        }})
    };
    config.edit(|document| {
        let resources = document.get_mut("static_resources").context("no resources")?;
        let chain =
            resources.get_mut("listeners").and_then(|it| it.get_mut(0)?.get_mut("filter_chains")?.get_mut(0));
        let manager = chain.and_then(|it| it.get_mut("filters")?.get_mut(0)?.get_mut("typed_config"));
        let filters = manager.and_then(|it| it.get_mut("http_filters")).and_then(Yaml::as_sequence_mut);
        let filters = filters.context("no HTTP filters")?;
        for plugin in plugins {
            filters.insert(0, serde_yaml_ng::to_value(filter(plugin))?);
        }
        Ok(())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_made_with_the_plain_sdk_reads_the_exact_count_of_all_workers() -> Result<()> {
    tokio::task::spawn_blocking(build).await??;
    let is_user = "request.path.startsWith('/users')";
    let counters = json!([
        {"key": "users", "condition": is_user},
        {"key": "users-at-once", "condition": is_user, "when": "request"},
    ]);
    let scene = Scene::start(2, |config| {
        let plugins = [
            ("tributary", "x-users=users"),
            ("tributary", "x-users-at-once=users-at-once"),
            ("tributary", "x-unknown=unknown"),
            ("other", "x-elsewhere=users"),
        ];
        with_plugins(config.worker("counters", counters), &plugins)
    })
    .await?;
    scene.load(REQUESTS, [Shape::get("users", "/users/1")]).await?;
    let ingress = scene.envoy.listener("ingress")?;
    for worker in 0..2 {
        let name = format!("listener.127.0.0.1_{}.worker_{worker}.downstream_cx_total", ingress.port());
        assert!(scene.stats().await?.counter(&name)? > 0, "each worker has a share");
    }
    // Neither counter includes these requests.
    let url = format!("http://{ingress}/health");
    let read = async || -> Result<[String; 4]> {
        let answer = reqwest::Client::new().get(&url).send().await?;
        ["x-users", "x-users-at-once", "x-unknown", "x-elsewhere"]
            .into_iter()
            .map(|name| {
                let value = answer.headers().get(name).with_context(|| format!("no {name}"))?;
                Ok(value.to_str()?.to_owned())
            })
            .collect::<Result<Vec<_>>>()?
            .try_into()
            .map_err(|_| anyhow::anyhow!("four"))
    };
    let count = REQUESTS.to_string();
    let wanted = [count.as_str(), count.as_str(), "nothing was counted yet", "nothing was counted yet"];
    poll::until("the plugin to read every request", LIMIT, async || {
        let seen = read().await?;
        Ok(Seen::when(seen == wanted, seen))
    })
    .await?;
    // All workers read the same value.
    for _ in 0..20 {
        assert_eq!(read().await?, wanted);
    }
    Ok(())
}

#[test]
fn the_example_in_the_documentation_is_the_plugin() -> Result<()> {
    let info = format!("rust of {SOURCE}");
    let blocks = markdown::blocks()?.into_iter().filter(|block| block.info == info).collect::<Vec<_>>();
    let source = markdown::read(SOURCE)?;
    ensure!(!blocks.is_empty(), "no example of {SOURCE}");
    for block in blocks {
        // Compares lines without their indentation.
        let lines =
            |text: &str| text.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>().join("\n");
        assert!(lines(&source).contains(lines(&block.text).trim()), "{}:{}", block.file, block.line);
    }
    Ok(())
}
