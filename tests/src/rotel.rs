//! A real rotel: an independent OpenTelemetry collector, which prints and forwards the points that it has
//! decoded.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::ports::{ReservedPort, localhost};
use crate::server::{Server, deref_to_server};
use crate::tools;

/// The path for OTLP/HTTP, in protobuf and JSON.
///
/// Release 0.0.1a15 does not fully support JSON. It reads 64-bit integers in strings, as OTLP prescribes,
/// only in the times of number points. It accepts points with doubles, but drops points with integers and
/// histograms, although it responds with 200.
pub const OTLP_PATH: &str = "/v1/metrics";

const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// A running rotel that accepts OTLP at [`OTLP_PATH`].
///
/// Its log contains every point in full, including exemplars and the buckets of exponential histograms.
#[derive(Debug)]
pub struct Rotel {
    server: Server,
    /// The port for gRPC; rotel does not start without such a port.
    _grpc: ReservedPort,
}

impl Rotel {
    /// Starts rotel on `127.0.0.1:port` (any free port if 0) and waits until it is ready.
    ///
    /// Rotel forwards each request to the collector at `next`. If this is a [`Sink`](crate::sink::Sink), it
    /// stores the points that rotel has decoded. Rotel forwards concurrently, so a test in which the order
    /// matters must wait for each request.
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
                    // Rotel does not start without an endpoint for traces.
                    flag("--otlp-exporter-endpoint", format!("http://{next}").into());
                    flag("--otlp-exporter-metrics-endpoint", format!("http://{next}{OTLP_PATH}").into());
                }
            }
            arguments.push("--disable-batching".into());
            Ok(arguments)
        };
        let client = reqwest::Client::new();
        let is_ready = async |address| {
            // Any response, even an error, shows that rotel listens.
            client.get(format!("http://{address}{OTLP_PATH}")).timeout(REQUEST_TIMEOUT).send().await?;
            Ok(())
        };
        let server = Server::start("rotel", &binary, port, arguments, is_ready).await?;
        Ok(Self { server, _grpc: grpc })
    }
}

deref_to_server!(Rotel);
