//! The servers behind a plugin under test: an application, a TCP server and a collector, and a configuration
//! that routes to them.

use anyhow::Result;

use crate::config::EnvoyConfig;
use crate::echo::EchoServer;
use crate::sink::Sink;
use crate::upstream::Upstream;

/// Running servers; dropping them ends them.
#[derive(Debug)]
pub struct Servers {
    /// The cluster `app`.
    pub upstream: Upstream,
    /// The cluster `echo`.
    pub echo: EchoServer,
    /// The cluster `otlp_collector`.
    pub sink: Sink,
}

impl Servers {
    /// Starts all of them.
    ///
    /// # Errors
    /// One of them does not start.
    pub async fn start() -> Result<Self> {
        Ok(Self {
            upstream: Upstream::start(0).await?,
            echo: EchoServer::start().await?,
            sink: Sink::start(0).await?,
        })
    }

    /// `tests/e2e/config/attached.yaml` with these servers, to [attach](EnvoyConfig::attach) plugins to.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn config(&self) -> Result<EnvoyConfig> {
        Ok(EnvoyConfig::load("tests/e2e/config/attached.yaml")?
            .cluster_port("app", self.upstream.port())
            .cluster_port("echo", self.echo.address().port())
            .cluster_port("otlp_collector", self.sink.port()))
    }
}
