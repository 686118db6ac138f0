//! A real Prometheus that takes remote write, and what it says it has received.

use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::path::Path;

use anyhow::Result;

use crate::promql::PromQl;
use crate::server::{Server, argument};
use crate::tools;

/// Where it takes remote write.
pub const REMOTE_WRITE_PATH: &str = "/api/v1/write";

/// It scrapes nothing: whatever it has, it was sent.
const CONFIGURATION: &str = "global: {}\n";
const INSTANCE_LABEL: &str = "instance";

/// A running Prometheus with a storage of its own, for remote write at [`REMOTE_WRITE_PATH`] and for queries.
#[derive(Debug)]
pub struct Prometheus {
    server: Server,
    query: PromQl,
}

impl Prometheus {
    /// Starts one on `127.0.0.1:port` (any free port if 0) and waits until it is ready.
    ///
    /// # Errors
    /// There is no Prometheus, or it is not ready in time; the error then shows the end of its log.
    pub async fn start(port: u16) -> Result<Self> {
        Self::start_with(port, CONFIGURATION).await
    }

    /// As [`Prometheus::start`], with a configuration of its own: what to scrape, which rules to evaluate.
    ///
    /// # Errors
    /// As for [`Prometheus::start`].
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

    /// The questions that it can be asked. What it has answered for is visible at once.
    pub fn query(&self) -> &PromQl {
        &self.query
    }
}

impl Deref for Prometheus {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl DerefMut for Prometheus {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.server
    }
}
