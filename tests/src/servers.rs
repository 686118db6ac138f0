//! The servers behind a plugin under test: an application, a TCP server and a collector. There is also a
//! configuration that routes to them.

use anyhow::Result;

use crate::config::EnvoyConfig;
use crate::echo::EchoServer;
use crate::sink::Sink;
use crate::upstream::Upstream;

/// The running servers; dropping this value stops them.
#[derive(Debug)]
pub struct Servers {
    /// The application, which is the cluster `app`.
    pub upstream: Upstream,
    /// The TCP server, which is the cluster `echo`.
    pub echo: EchoServer,
    /// The collector, which is the cluster `otlp_collector`.
    pub sink: Sink,
}

impl Servers {
    /// Starts all servers.
    ///
    /// # Errors
    /// One of the servers does not start.
    pub async fn start() -> Result<Self> {
        Ok(Self {
            upstream: Upstream::start(0).await?,
            echo: EchoServer::start().await?,
            sink: Sink::start(0).await?,
        })
    }

    /// Returns the configuration `tests/e2e/config/attached.yaml` with the ports of these servers. Tests
    /// [attach](EnvoyConfig::attach) plugins to it.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn config(&self) -> Result<EnvoyConfig> {
        Ok(EnvoyConfig::load("tests/e2e/config/attached.yaml")?
            .cluster_port("app", self.upstream.port())
            .cluster_port("echo", self.echo.address().port())
            .cluster_port("otlp_collector", self.sink.port()))
    }
}
