//! A real rotel: an OpenTelemetry collector that was written by others, and that tells on what it has understood.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::ports::{ReservedPort, localhost};
use crate::server::Server;
use crate::tools;

/// Where it takes OTLP/HTTP, in protobuf and in JSON.
///
/// In JSON release 0.0.1a15 reads integers of 64 bits as the protocol prescribes, in strings, only where they are times of
/// numbers: doubles come through, but the integer of a point is lost, and so are whole histograms, and it answers 200.
pub const OTLP_PATH: &str = "/v1/metrics";

const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// A running rotel, for OTLP at [`OTLP_PATH`].
///
/// Its log has every point in full, exemplars and the buckets of exponential histograms among them.
#[derive(Debug)]
pub struct Rotel {
    server: Server,
    /// It insists on listening for gRPC too.
    _grpc: ReservedPort,
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
        let grpc = ReservedPort::new()?;
        let grpc_endpoint = localhost(grpc.port()).to_string();
        let arguments = |address: SocketAddr, directory: &Path| {
            let mut arguments: Vec<OsString> = vec!["start".into()];
            let mut flag = |name: &str, value: OsString| arguments.extend([name.into(), value]);
            flag("--pid-file", directory.join("pid").into());
            flag("--otlp-grpc-endpoint", grpc_endpoint.into());
            flag("--otlp-http-endpoint", address.to_string().into());
            flag("--debug-log", "metrics".into());
            flag("--debug-log-verbosity", "detailed".into());
            match next {
                None => flag("--exporter", "blackhole".into()),
                Some(next) => {
                    flag("--exporter", "otlp".into());
                    flag("--otlp-exporter-protocol", "http".into());
                    // It does not start without one for traces, which this gives it.
                    flag("--otlp-exporter-endpoint", format!("http://{next}").into());
                    flag("--otlp-exporter-metrics-endpoint", format!("http://{next}{OTLP_PATH}").into());
                }
            }
            arguments.push("--disable-batching".into());
            Ok(arguments)
        };
        let client = reqwest::Client::new();
        let is_ready = async |address| {
            // It has nothing to be asked for, but a refusal shows that it is there.
            client.get(format!("http://{address}{OTLP_PATH}")).timeout(REQUEST_TIMEOUT).send().await?;
            Ok(())
        };
        let server = Server::start("rotel", &binary, port, arguments, is_ready).await?;
        Ok(Self { server, _grpc: grpc })
    }
}

impl Deref for Rotel {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl DerefMut for Rotel {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.server
    }
}
