//! A complete setup on one machine: an application, an Envoy with both modules, and a collector.

use std::net::SocketAddr;

use anyhow::Result;

use crate::admin::AdminStats;
use crate::config::EnvoyConfig;
use crate::envoy::{Envoy, EnvoyOptions};
use crate::load::{Load, Mix, Shape, Tally};
use crate::poll::{self, Seen};
use crate::sink::{Sink, Store};
use crate::upstream::Upstream;

pub use crate::poll::LIMIT;

/// The duration metric of the `otel` preset.
pub const DURATION: &str = "http.server.request.duration";

/// The metric of the shared counters.
pub const COUNTER: &str = "tributary.counter";

/// A running application, collector and Envoy.
#[derive(Debug)]
pub struct Scene {
    /// The application.
    pub upstream: Upstream,
    /// The collector.
    pub sink: Sink,
    /// Envoy with `envoy/minimal.yaml` or another configuration.
    pub envoy: Envoy,
}

impl Scene {
    /// Starts all processes, with `workers` worker threads and with the configuration `envoy/minimal.yaml`,
    /// which `edit` changes. Workers flush and the service exports every 200 ms.
    pub async fn start(workers: u32, edit: impl FnOnce(EnvoyConfig) -> EnvoyConfig) -> Result<Self> {
        Self::of("envoy/minimal.yaml", "otlp_collector", workers, edit).await
    }

    /// Like [`Scene::start`], but with the configuration in `file`, whose cluster `collector` becomes the
    /// sink.
    pub async fn of(
        file: &str,
        collector: &str,
        workers: u32,
        edit: impl FnOnce(EnvoyConfig) -> EnvoyConfig,
    ) -> Result<Self> {
        let options = EnvoyOptions::workers(workers);
        Ok(Self::with(EnvoyConfig::load(file)?, collector, &options, edit).await?.0)
    }

    /// Like [`Scene::of`], but with any configuration and options of Envoy. Also returns the edited
    /// configuration.
    pub async fn with(
        config: EnvoyConfig,
        collector: &str,
        options: &EnvoyOptions,
        edit: impl FnOnce(EnvoyConfig) -> EnvoyConfig,
    ) -> Result<(Self, EnvoyConfig)> {
        let (upstream, sink) = (Upstream::start(0).await?, Sink::start(0).await?);
        let config = edit(
            config
                .free_ports()
                .cluster_port("app", upstream.port())
                .cluster_port(collector, sink.port())
                .worker("flush", serde_json::json!({"interval": "200ms"}))
                .service("interval", "200ms"),
        );
        let envoy = Envoy::start(&config, options).await?;
        Ok((Self { upstream, sink, envoy }, config))
    }

    /// Sends `requests` requests of `shapes`, and waits until Envoy has finished all of them.
    ///
    /// # Errors
    /// The load does not finish in time, or a request ends in another way than its shape expects.
    pub async fn load(&self, requests: u64, shapes: impl IntoIterator<Item = Shape>) -> Result<Tally> {
        self.load_mix(requests, Mix::new(20, shapes)?).await
    }

    /// Like [`Scene::load`], but with a given mix.
    pub async fn load_mix(&self, requests: u64, mix: Mix) -> Result<Tally> {
        let before = self.envoy.admin().counter("http.ingress.downstream_rq_total").await?;
        let load = Load::new(self.envoy.listener("ingress")?, requests, mix);
        let tally = load.run(|_| ()).await?;
        anyhow::ensure!(tally.failed() == 0, "unexpected end: {:?}", tally.first_failure);
        poll::until("Envoy to finish every request", LIMIT, async || {
            let stats = self.stats().await?;
            let total = stats.counter("http.ingress.downstream_rq_total")?;
            let active = stats.gauge("http.ingress.downstream_rq_active")?;
            Ok(Seen::when((total, active) == (before + requests, 0), (total, active)))
        })
        .await?;
        Ok(tally)
    }

    /// Waits until the collector has exactly `requests` requests, in the histogram and in the counter.
    pub async fn wait_for_export(&self, requests: u64) -> Result<()> {
        wait_for(&self.sink, requests).await
    }

    /// Waits until Envoy has restarted the service more than `before` times. Returns the number of
    /// restarts.
    pub async fn wait_for_reload(&self, before: u64) -> Result<u64> {
        poll::until("the service to be restarted", LIMIT, async || {
            let stats = self.stats().await?;
            let reloads = stats.counters("wasm.tributary_service.vm_reload_success").values().sum();
            Ok(Seen::when(reloads > before, reloads))
        })
        .await
    }

    /// Reads Envoy's statistics.
    pub async fn stats(&self) -> Result<AdminStats> {
        self.envoy.admin().stats().await
    }
}

/// Returns a destination's configuration with a short timeout and short retry intervals, and with the keys
/// in `more`.
pub fn with_short_times(more: serde_json::Value) -> serde_json::Value {
    let retry = serde_json::json!({"initial_interval": "50ms", "max_interval": "200ms"});
    let mut destination = serde_json::json!({"timeout": "1s", "retry": retry});
    if let (Some(fields), serde_json::Value::Object(more)) = (destination.as_object_mut(), more) {
        fields.extend(more);
    }
    destination
}

/// Replaces the destinations of a configuration. Each destination consists of the name of its cluster, the
/// address of the cluster, and other configuration keys.
pub fn with_destinations(
    mut config: EnvoyConfig,
    destinations: &[(&str, SocketAddr, serde_json::Value)],
) -> EnvoyConfig {
    let mut all = Vec::new();
    for (cluster, address, more) in destinations {
        config = config.static_cluster(cluster, *address);
        let mut destination = more.clone();
        if let Some(fields) = destination.as_object_mut() {
            fields.insert("cluster".to_owned(), (*cluster).into());
        }
        all.push(destination);
    }
    config.service("destinations", all)
}

/// Waits until a collector has exactly `requests` requests, in the histogram and in the counter.
pub async fn wait_for(sink: &Sink, requests: u64) -> Result<()> {
    let counts = |store: &Store| (store.count(DURATION, &[]), store.sum(COUNTER, &[]));
    sink.wait_until_equal("the requests in the histogram and in the counter", (requests, requests), counts)
        .await
}
