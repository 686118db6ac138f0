//! The whole product on one machine: an application, an Envoy with both modules, and a collector.

use std::time::Duration;

use anyhow::Result;

use crate::admin::Stats;
use crate::config::EnvoyConfig;
use crate::envoy::{Envoy, EnvoyOptions};
use crate::load::{Load, Mix, Shape, Tally};
use crate::poll::{self, Seen};
use crate::sink::Sink;
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
    /// Envoy, on `envoy/minimal.yaml`.
    pub envoy: Envoy,
}

impl Scene {
    /// Starts all of it with `workers` worker threads, hand-overs and exports five times a second, and the configuration
    /// as `edit` leaves it.
    ///
    /// # Errors
    /// A part does not start.
    pub async fn start(workers: u32, edit: impl FnOnce(EnvoyConfig) -> EnvoyConfig) -> Result<Self> {
        let (upstream, sink) = (Upstream::start(0).await?, Sink::start(0).await?);
        let config = edit(
            EnvoyConfig::minimal()?
                .free_ports()
                .cluster_port("app", upstream.port())
                .cluster_port("otlp_collector", sink.port())
                .worker("flush", serde_json::json!({"interval": "200ms"}))
                .service("interval", "200ms"),
        );
        let envoy = Envoy::start(&config, &EnvoyOptions::workers(workers)).await?;
        Ok(Self { upstream, sink, envoy })
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
        let counted = |store: &crate::sink::Store| (store.count(DURATION, &[]), store.sum(COUNTER, &[]));
        let what = format!("the collector to know of {requests} requests");
        let probe = |store: &_| Seen::when(counted(store) == (requests, requests), counted(store));
        self.sink.wait_until(&what, LIMIT, probe).await?;
        Ok(())
    }

    /// Envoy's statistics now.
    ///
    /// # Errors
    /// The admin interface does not answer.
    pub async fn stats(&self) -> Result<Stats> {
        self.envoy.admin().stats().await
    }
}
