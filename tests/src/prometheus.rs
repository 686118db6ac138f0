//! A real Prometheus that accepts remote write, and queries to read back what it stored.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;

use crate::promql::PromQl;
use crate::server::{Server, argument, deref_to_server};
use crate::tools;

/// The path for remote write.
pub const REMOTE_WRITE_PATH: &str = "/api/v1/write";

/// A configuration that scrapes nothing, so that all stored samples were pushed.
const CONFIGURATION: &str = "global: {}\n";
const INSTANCE_LABEL: &str = "instance";

/// A running Prometheus with an empty storage, for remote write at [`REMOTE_WRITE_PATH`] and for queries.
#[derive(Debug)]
pub struct Prometheus {
    server: Server,
    query: PromQl,
}

impl Prometheus {
    /// Starts Prometheus on `127.0.0.1:port` (any free port if 0) and waits until it is ready.
    pub async fn start(port: u16) -> Result<Self> {
        Self::start_with(port, CONFIGURATION).await
    }

    /// Like [`Prometheus::start`], with a configuration, for example of scrapes and rules.
    pub async fn start_with(port: u16, configuration: &str) -> Result<Self> {
        let binary = tools::prometheus::binary().await?;
        let arguments = |address: SocketAddr, directory: &Path| {
            let file = directory.join("prometheus.yaml");
            std::fs::write(&file, configuration)?;
            Ok(vec![
                argument("--config.file", file),
                argument("--storage.tsdb.path", directory.join("storage")),
                argument("--web.listen-address", address.to_string()),
                "--web.enable-remote-write-receiver".into(),
                "--enable-feature=exemplar-storage,native-histograms".into(),
            ])
        };
        let is_ready =
            async |address| PromQl::new(address, INSTANCE_LABEL).get("/-/ready", &[]).await.map(|_| ());
        let server = Server::start("Prometheus", &binary, port, arguments, is_ready).await?;
        let query = PromQl::new(server.address(), INSTANCE_LABEL);
        Ok(Self { server, query })
    }

    /// Returns the query API. Samples are visible as soon as their write is acknowledged.
    pub fn query(&self) -> &PromQl {
        &self.query
    }
}

deref_to_server!(Prometheus);
