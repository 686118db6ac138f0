//! Everything that a soak runs: an application, an Envoy that counts each request in each way, and collectors of all kinds.

use std::net::SocketAddr;

use anyhow::Result;
use serde_json::{Value, json};
use tributary_tests::config::{ACCESS_LOGGER, EnvoyConfig};
use tributary_tests::envoy::{Envoy, EnvoyOptions};
use tributary_tests::scene::with_destinations;
use tributary_tests::sink::Sink;
use tributary_tests::upstream::Upstream;

const LISTENER: &str = "ingress";
/// What the access logger counts.
pub(super) const LOGGED: &str = "soak.logged";
/// What the log stream counts.
pub(super) const STREAMED: &str = "soak.streamed";
/// The worker filter's own place in the connection manager.
const MANAGER: &str = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config";

/// All that runs; dropping it ends it.
pub(super) struct Stage {
    pub(super) envoy: Envoy,
    pub(super) collectors: Vec<Collector>,
    _upstream: Upstream,
}

/// A collector that fails at random.
pub(super) struct Collector {
    pub(super) name: &'static str,
    pub(super) sink: Sink,
    /// Whether what it refuses for good comes again: sums do, deltas do not.
    pub(super) is_cumulative: bool,
}

impl Stage {
    /// Starts all of it.
    pub(super) async fn set(workers: u32) -> Result<Self> {
        let upstream = Upstream::start(0).await?;
        let mut collectors = Vec::new();
        for (name, is_cumulative) in [("cumulative", true), ("delta", false), ("json", true)] {
            collectors.push(Collector { name, sink: Sink::start(0).await?, is_cumulative });
        }
        let config = EnvoyConfig::minimal()?
            .free_ports()
            .cluster_port("app", upstream.port())
            .worker("flush", json!({"interval": "500ms"}))
            .service("interval", "500ms")
            // What was counted under a route that nobody asks for any more ends, and begins anew.
            .service("limits", json!({"idle": "2s"}));
        let more = |name: &str| {
            let retry = json!({"initial_interval": "100ms", "max_interval": "1s"});
            let mut said = json!({"name": name, "timeout": "5s", "retry": retry});
            let own = match name {
                "delta" => json!({"temporality": "delta", "compression": "gzip"}),
                "json" => json!({"encoding": "otlp_json", "max_bytes": 16_384}),
                _ => json!({}),
            };
            if let (Some(said), serde_json::Value::Object(own)) = (said.as_object_mut(), own) {
                said.extend(own);
            }
            said
        };
        let destinations: Vec<_> = collectors
            .iter()
            .map(|collector| (collector.name, collector.sink.address(), more(collector.name)))
            .collect();
        let config = with_access_logger(with_destinations(config, &destinations))
            .with_log_stream(counting("tributary_log_stream", STREAMED));
        let envoy = Envoy::start(&config, &EnvoyOptions::workers(workers)).await?;
        Ok(Self { envoy, collectors, _upstream: upstream })
    }

    /// Where requests go.
    pub(super) fn ingress(&self) -> Result<SocketAddr> {
        self.envoy.listener(LISTENER)
    }
}

/// Beside the filter an access logger, which counts by a metric of its own.
fn with_access_logger(config: EnvoyConfig) -> EnvoyConfig {
    let plugin = counting("tributary_access_log", LOGGED);
    let logger = json!({"name": "envoy.access_loggers.wasm", "typed_config": {"@type": ACCESS_LOGGER, "config": plugin}});
    config.set(&format!("{MANAGER}.access_log"), [logger])
}

/// A worker filter called `name` that counts requests by a metric of its own.
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
