//! A server program on a port of this machine, until it is ready and to its end.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::poll::Seen;
use crate::ports::{ReservedPort, localhost};
use crate::process::ServerProcess;

const READY_LIMIT: Duration = Duration::from_secs(30);

/// A running server; dropping it kills it and removes its directory.
#[derive(Debug)]
pub struct Server {
    process: ServerProcess,
    address: SocketAddr,
    _reserved: Option<ReservedPort>,
}

impl Server {
    /// Starts `binary` on `127.0.0.1:port` (any free port if 0), with the arguments that `arguments` gives for its address and
    /// a directory of its own, and waits until `is_ready` succeeds.
    ///
    /// # Errors
    /// It cannot be started, or is not ready in time; the error then shows the end of its log.
    pub async fn start(
        name: &'static str,
        binary: &Path,
        port: u16,
        arguments: impl FnOnce(SocketAddr, &Path) -> Result<Vec<OsString>>,
        is_ready: impl AsyncFn(SocketAddr) -> Result<()>,
    ) -> Result<Self> {
        let reserved = if port == 0 { Some(ReservedPort::new()?) } else { None };
        let address = localhost(reserved.as_ref().map_or(port, ReservedPort::port));
        let directory = tempfile::tempdir().with_context(|| format!("cannot make a directory for {name}"))?;
        let arguments = arguments(address, directory.path())?;
        let process = ServerProcess::spawn(name, binary, arguments, directory)?;
        let mut this = Self { process, address, _reserved: reserved };
        let probe = async || {
            let ready = is_ready(address).await;
            Ok(ready.map_or_else(|error| Seen::Pending(format!("{error:#}")), Seen::Ready))
        };
        this.process.wait_until_ready(READY_LIMIT, probe).await?;
        Ok(this)
    }

    /// Where it listens.
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

/// An argument such as `--NAME=VALUE`, whatever bytes the value has.
pub(crate) fn argument(name: &str, value: impl Into<OsString>) -> OsString {
    let mut argument = OsString::from(format!("{name}="));
    argument.push(value.into());
    argument
}
