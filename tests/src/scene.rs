//! The whole product on one machine: an application, an Envoy with both modules, and a collector.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;

use crate::admin::Stats;
use crate::config::EnvoyConfig;
use crate::envoy::{Envoy, EnvoyOptions};
use crate::load::{Load, Mix, Shape, Tally};
use crate::poll::{self, Seen};
use crate::sink::{Sink, Store};
use crate::upstream::Upstream;

/// How long anything in a scene may take.
pub const LIMIT: Duration = Duration::from_secs(60);

/// The metric of the `otel` preset.
pub const DURATION: &str = "http.server.request.duration";

/// The metric of the counters in shared data.
pub const COUNTER: &str = "tributary.counter";

/// Everything that runs.
#[derive(Debug)]
pub struct Scene {
    /// The application.
    pub upstream: Upstream,
    /// The collector.
    pub sink: Sink,
    /// Envoy, on `envoy/minimal.yaml` or another configuration of this repository.
    pub envoy: Envoy,
}

impl Scene {
    /// Starts all of it with `workers` worker threads, hand-overs and exports five times a second, and the configuration
    /// as `edit` leaves it.
    ///
    /// # Errors
    /// A part does not start.
    pub async fn start(workers: u32, edit: impl FnOnce(EnvoyConfig) -> EnvoyConfig) -> Result<Self> {
        Self::of("envoy/minimal.yaml", "otlp_collector", workers, edit).await
    }

    /// As [`Scene::start`], on another configuration of this repository, whose cluster `collector` is the sink.
    ///
    /// # Errors
    /// As for [`Scene::start`], or the configuration has no such cluster.
    pub async fn of(
        file: &str,
        collector: &str,
        workers: u32,
        edit: impl FnOnce(EnvoyConfig) -> EnvoyConfig,
    ) -> Result<Self> {
        let options = EnvoyOptions::workers(workers);
        Ok(Self::with(EnvoyConfig::load(file)?, collector, &options, edit).await?.0)
    }

    /// As [`Scene::of`], on any configuration, with an Envoy that is started so; gives the configuration too.
    ///
    /// # Errors
    /// As for [`Scene::of`].
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

    /// Sends `requests` requests of `shapes`, and waits until Envoy is through with each.
    ///
    /// # Errors
    /// The load does not end in time, or a request met an end that its shape does not foresee.
    pub async fn load(&self, requests: u64, shapes: impl IntoIterator<Item = Shape>) -> Result<Tally> {
        self.load_mix(requests, Mix::new(20, shapes)?).await
    }

    /// Sends `requests` requests of `mix`, and waits until Envoy is through with each.
    ///
    /// # Errors
    /// As for [`Scene::load`].
    pub async fn load_mix(&self, requests: u64, mix: Mix) -> Result<Tally> {
        let before = self.envoy.admin().counter("http.ingress.downstream_rq_total").await?;
        let load = Load::new(self.envoy.listener("ingress")?, requests, mix);
        let tally = load.run(|_| ()).await?;
        anyhow::ensure!(tally.failed() == 0, "unforeseen: {:?}", tally.first_failure);
        poll::until("Envoy to be through with every request", LIMIT, async || {
            let stats = self.stats().await?;
            let total = stats.counter("http.ingress.downstream_rq_total")?;
            let active = stats.gauge("http.ingress.downstream_rq_active")?;
            Ok(Seen::when((total, active) == (before + requests, 0), (total, active)))
        })
        .await?;
        Ok(tally)
    }

    /// Waits until the collector knows of exactly `requests` requests, by the histogram and by the counter.
    ///
    /// # Errors
    /// It does not in time, or knows of more.
    pub async fn wait_for_export(&self, requests: u64) -> Result<()> {
        wait_for(&self.sink, requests).await
    }

    /// Envoy's statistics now.
    ///
    /// # Errors
    /// The admin interface does not answer.
    pub async fn stats(&self) -> Result<Stats> {
        self.envoy.admin().stats().await
    }
}

/// The configuration with these destinations and no others: of each a cluster's name, where it is, and what else is said.
pub fn with_destinations(
    mut config: EnvoyConfig,
    destinations: &[(&str, SocketAddr, serde_json::Value)],
) -> EnvoyConfig {
    let mut said = Vec::new();
    for (cluster, address, more) in destinations {
        config = config.static_cluster(cluster, *address);
        let mut destination = more.clone();
        if let Some(fields) = destination.as_object_mut() {
            fields.insert("cluster".to_owned(), (*cluster).into());
        }
        said.push(destination);
    }
    config.service("destinations", said)
}

/// Waits until a collector knows of exactly `requests` requests, by the histogram and by the counter.
///
/// # Errors
/// It does not in time, or knows of more.
pub async fn wait_for(sink: &Sink, requests: u64) -> Result<()> {
    let counted = |store: &Store| (store.count(DURATION, &[]), store.sum(COUNTER, &[]));
    let what = format!("the collector to know of {requests} requests");
    let probe = |store: &Store| Seen::when(counted(store) == (requests, requests), counted(store));
    sink.wait_until(&what, LIMIT, probe).await?;
    Ok(())
}
