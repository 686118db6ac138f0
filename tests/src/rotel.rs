//! A real rotel: an OpenTelemetry collector that was written by others, and that tells on what it has understood.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::poll::Seen;
use crate::ports::{ReservedPort, localhost};
use crate::process::ServerProcess;
use crate::tools;

/// Where it takes OTLP/HTTP, in protobuf and in JSON.
///
/// In JSON release 0.0.1a15 reads integers of 64 bits as the protocol prescribes, in strings, only where they are times of
/// numbers: doubles come through, but the integer of a point is lost, and so are whole histograms, and it answers 200.
pub const OTLP_PATH: &str = "/v1/metrics";

const READY_LIMIT: Duration = Duration::from_secs(30);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// A running rotel; dropping it kills it.
///
/// Its log has every point in full, exemplars and the buckets of exponential histograms among them.
#[derive(Debug)]
pub struct Rotel {
    process: ServerProcess,
    address: SocketAddr,
    _reserved: Vec<ReservedPort>,
}

impl Rotel {
    /// Starts one on `127.0.0.1:port` (any free port if 0) and waits until it is ready.
    ///
    /// What it takes it sends on, one request for one, to the collector at `next`: a [`Sink`](crate::sink::Sink) there
    /// holds what rotel has understood. It sends requests side by side, so whoever cares for their order waits for each.
    ///
    /// # Errors
    /// There is no rotel, or it is not ready in time; the error then shows the end of its log.
    pub async fn start(port: u16, next: Option<SocketAddr>) -> Result<Self> {
        let binary = tools::rotel::binary().await?;
        let directory = tempfile::tempdir().context("cannot make a directory for rotel")?;
        // It insists on listening for gRPC too.
        let grpc = ReservedPort::new()?;
        let mut reserved = Vec::new();
        let port = if port == 0 {
            let http = ReservedPort::new()?;
            let port = http.port();
            reserved.push(http);
            port
        } else {
            port
        };
        let address = localhost(port);
        let mut arguments: Vec<OsString> = vec![
            "start".into(),
            "--pid-file".into(),
            directory.path().join("pid").into(),
            "--otlp-grpc-endpoint".into(),
            localhost(grpc.port()).to_string().into(),
            "--otlp-http-endpoint".into(),
            address.to_string().into(),
            "--disable-batching".into(),
            "--debug-log".into(),
            "metrics".into(),
            "--debug-log-verbosity".into(),
            "detailed".into(),
        ];
        reserved.push(grpc);
        match next {
            None => arguments.extend(["--exporter", "blackhole"].map(OsString::from)),
            Some(next) => {
                let flags = ["--exporter", "otlp", "--otlp-exporter-protocol", "http"];
                arguments.extend(flags.map(OsString::from));
                // It does not start without one for traces, which this gives it.
                arguments.extend(["--otlp-exporter-endpoint".into(), format!("http://{next}").into()]);
                let metrics = format!("http://{next}{OTLP_PATH}");
                arguments.extend(["--otlp-exporter-metrics-endpoint".into(), metrics.into()]);
            }
        }
        let process = ServerProcess::spawn("rotel", &binary, arguments, directory)?;
        let mut this = Self { process, address, _reserved: reserved };
        let client = reqwest::Client::new();
        let url = format!("http://{address}{OTLP_PATH}");
        this.process
            .wait_until_ready(READY_LIMIT, async || {
                // It has nothing to be asked for, but a refusal shows that it is there.
                let answer = client.get(&url).timeout(REQUEST_TIMEOUT).send().await;
                Ok(answer.map_or_else(|error| Seen::Pending(format!("{error:#}")), |_| Seen::Ready(())))
            })
            .await?;
        Ok(this)
    }

    /// Where it listens, for OTLP at [`OTLP_PATH`].
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.address.port()
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
