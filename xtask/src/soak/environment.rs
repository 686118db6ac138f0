//! The processes of a soak: an upstream, collectors of three kinds, and an Envoy that counts each request by
//! a filter, an access logger and a log stream.

use std::net::SocketAddr;

use anyhow::Result;
use serde_json::{Value, json};
use tributary_tests::config::{ACCESS_LOGGER, EnvoyConfig};
use tributary_tests::envoy::{Envoy, EnvoyOptions};
use tributary_tests::scene::with_destinations;
use tributary_tests::sink::Sink;
use tributary_tests::upstream::Upstream;

const LISTENER: &str = "ingress";
/// The metric of the access logger.
pub(super) const LOGGED: &str = "soak.logged";
/// The metric of the log stream.
pub(super) const STREAMED: &str = "soak.streamed";
/// The path of the connection manager's configuration.
const MANAGER: &str = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config";

/// The running processes; dropping it ends them.
pub(super) struct SoakEnvironment {
    pub(super) envoy: Envoy,
    pub(super) collectors: Vec<FaultyCollector>,
    _upstream: Upstream,
}

/// A collector that fails at random.
pub(super) struct FaultyCollector {
    pub(super) name: &'static str,
    pub(super) sink: Sink,
    /// Whether a rejected value is part of the next export: true for cumulative sums, false for deltas.
    pub(super) is_cumulative: bool,
}

impl SoakEnvironment {
    /// Starts them.
    pub(super) async fn start(workers: u32) -> Result<Self> {
        let upstream = Upstream::start(0).await?;
        let mut collectors = Vec::new();
        for (name, is_cumulative) in [("cumulative", true), ("delta", false), ("json", true)] {
            collectors.push(FaultyCollector { name, sink: Sink::start(0).await?, is_cumulative });
        }
        let config = EnvoyConfig::minimal()?
            .free_ports()
            .cluster_port("app", upstream.port())
            .worker("flush", json!({"interval": "500ms"}))
            .service("interval", "500ms")
            // Short enough that series expire and start again.
            .service("limits", json!({"idle": "2s"}));
        let options = |name: &str| {
            let retry = json!({"initial_interval": "100ms", "max_interval": "1s"});
            let mut fields = json!({"name": name, "timeout": "5s", "retry": retry});
            let own = match name {
                "delta" => json!({"temporality": "delta", "compression": "gzip"}),
                "json" => json!({"encoding": "otlp_json", "max_bytes": 16_384}),
                _ => json!({}),
            };
            if let (Some(fields), Value::Object(own)) = (fields.as_object_mut(), own) {
                fields.extend(own);
            }
            fields
        };
        let destinations: Vec<_> = collectors
            .iter()
            .map(|collector| (collector.name, collector.sink.address(), options(collector.name)))
            .collect();
        let config = with_access_logger(with_destinations(config, &destinations))
            .with_log_stream(counting("tributary_log_stream", STREAMED));
        let envoy = Envoy::start(&config, &EnvoyOptions::workers(workers)).await?;
        Ok(Self { envoy, collectors, _upstream: upstream })
    }

    /// The address that takes requests.
    pub(super) fn ingress(&self) -> Result<SocketAddr> {
        self.envoy.listener(LISTENER)
    }
}

/// Adds an access logger that counts requests by its own metric.
fn with_access_logger(config: EnvoyConfig) -> EnvoyConfig {
    let plugin = counting("tributary_access_log", LOGGED);
    let logger = json!({"name": "envoy.access_loggers.wasm", "typed_config": {"@type": ACCESS_LOGGER, "config": plugin}});
    config.set(&format!("{MANAGER}.access_log"), [logger])
}

/// A worker filter called `name` that counts requests by its own metric.
fn counting(name: &str, metric: &str) -> Value {
    json!({
        "name": name,
        "failure_policy": "FAIL_RELOAD",
        "vm_config": {
            "vm_id": "tributary",
            "runtime": "envoy.wasm.runtime.v8",
            "code": {"local": {"filename": "target/wasm/worker_filter.wasm"}},
        },
        "configuration": {
            "@type": "type.googleapis.com/google.protobuf.Struct",
            "value": {
                "preset": "none",
                "metrics": [{"name": metric, "kind": "counter"}],
                "dimensions": [{"name": "method", "attribute": "request.method"}],
                "counters": [],
                "flush": {"interval": "500ms"},
            },
        },
    })
}
