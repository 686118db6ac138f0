//! A real Prometheus that takes remote write, and what it says it has received.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::poll::Seen;
use crate::ports::{ReservedPort, localhost};
use crate::process::ServerProcess;
use crate::promql::PromQl;
use crate::tools;

/// Where it takes remote write.
pub const REMOTE_WRITE_PATH: &str = "/api/v1/write";

const READY_LIMIT: Duration = Duration::from_secs(30);
/// It scrapes nothing: whatever it has, it was sent.
const CONFIGURATION: &str = "global: {}\n";
const INSTANCE_LABEL: &str = "instance";

/// A running Prometheus with a storage of its own; dropping it kills it and removes the storage.
#[derive(Debug)]
pub struct Prometheus {
    process: ServerProcess,
    address: SocketAddr,
    query: PromQl,
    _reserved: Option<ReservedPort>,
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
        let reserved = if port == 0 { Some(ReservedPort::new()?) } else { None };
        let address = localhost(reserved.as_ref().map_or(port, ReservedPort::port));
        let directory = tempfile::tempdir().context("cannot make a directory for Prometheus")?;
        let file = directory.path().join("prometheus.yaml");
        std::fs::write(&file, configuration)?;
        let flag = |name: &str, value: &std::path::Path| {
            let mut flag = OsString::from(format!("--{name}="));
            flag.push(value);
            flag
        };
        let arguments: [OsString; 5] = [
            flag("config.file", &file),
            flag("storage.tsdb.path", &directory.path().join("storage")),
            format!("--web.listen-address={address}").into(),
            "--web.enable-remote-write-receiver".into(),
            "--enable-feature=exemplar-storage,native-histograms".into(),
        ];
        let process = ServerProcess::spawn("Prometheus", &binary, arguments, directory)?;
        let query = PromQl::new(address, INSTANCE_LABEL);
        let mut this = Self { process, address, query: query.clone(), _reserved: reserved };
        this.process
            .wait_until_ready(READY_LIMIT, async || {
                let answer = query.get("/-/ready", &[]).await;
                Ok(answer.map_or_else(|error| Seen::Pending(format!("{error:#}")), |_| Seen::Ready(())))
            })
            .await?;
        Ok(this)
    }

    /// Where it listens, for remote write at [`REMOTE_WRITE_PATH`] and for queries.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The questions that it can be asked. What it has answered for is visible at once.
    pub fn query(&self) -> &PromQl {
        &self.query
    }

    /// The process: its log, its signals and its end.
    pub fn process(&mut self) -> &mut ServerProcess {
        &mut self.process
    }

    /// Sends SIGTERM and waits until it has ended.
    ///
    /// # Errors
    /// It still runs after `limit`.
    pub async fn terminate(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.process.terminate(limit).await
    }
}
