//! The processes of a soak: an upstream, collectors of three kinds, and an Envoy that counts each request by
//! a filter, an access logger and a log stream.

use std::net::SocketAddr;

use anyhow::Result;
use serde_json::json;
use tributary_tests::config::{ACCESS_LOGGER, AttachedPlugin, EnvoyConfig};
use tributary_tests::envoy::{Envoy, EnvoyOptions};
use tributary_tests::scene::with_destinations;
use tributary_tests::sink::Sink;
use tributary_tests::upstream::Upstream;

const LISTENER: &str = "ingress";
/// The metric of the access logger.
pub(super) const LOGGED: &str = "soak.logged";
/// The metric of the log stream.
pub(super) const STREAMED: &str = "soak.streamed";
/// The path of the connection manager's access loggers in Envoy's configuration.
const ACCESS_LOGS: &str = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.access_log";

/// The running processes. They end when this value is dropped.
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
    /// Starts all processes, with Envoy on `workers` threads.
    pub(super) async fn start(workers: u32) -> Result<Self> {
        let upstream = Upstream::start(0).await?;
        let mut collectors = Vec::new();
        for name in ["cumulative", "delta", "json"] {
            collectors.push(FaultyCollector {
                name,
                sink: Sink::start(0).await?,
                is_cumulative: name != "delta",
            });
        }
        let retry = json!({"initial_interval": "100ms", "max_interval": "1s"});
        let destination = |FaultyCollector { name, sink, .. }: &FaultyCollector| {
            (*name, sink.address(), json!({"name": name, "timeout": "5s", "retry": retry}))
        };
        let destinations: Vec<_> = collectors.iter().map(destination).collect();
        let config = EnvoyConfig::minimal()?
            .free_ports()
            .cluster_port("app", upstream.port())
            .worker("flush", json!({"interval": "500ms"}))
            .service("interval", "500ms")
            // This time is so short that series expire and start again.
            .service("limits", json!({"idle": "2s"}));
        let logger = json!({"@type": ACCESS_LOGGER, "config": counting("tributary_access_log", LOGGED)});
        let config = with_destinations(config, &destinations)
            .service("destinations[1].temporality", "delta")
            .service("destinations[1].compression", "gzip")
            .service("destinations[2].encoding", "otlp_json")
            .service("destinations[2].max_bytes", 16_384)
            .set(ACCESS_LOGS, json!([{"name": "envoy.access_loggers.wasm", "typed_config": logger}]))
            .with_log_stream(counting("tributary_log_stream", STREAMED));
        let envoy = Envoy::start(&config, &EnvoyOptions::workers(workers)).await?;
        Ok(Self { envoy, collectors, _upstream: upstream })
    }

    /// Returns the address on which Envoy accepts requests.
    pub(super) fn ingress(&self) -> Result<SocketAddr> {
        self.envoy.listener(LISTENER)
    }
}

/// Makes a worker filter called `name` that counts requests in its own metric.
fn counting(name: &str, metric: &str) -> AttachedPlugin {
    let configuration = json!({
        "preset": "none",
        "metrics": [{"name": metric, "kind": "counter"}],
        "dimensions": [{"name": "method", "attribute": "request.method"}],
        "counters": [],
        "flush": {"interval": "500ms"},
    });
    AttachedPlugin::new(name, "worker_filter", &configuration)
}
