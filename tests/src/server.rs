//! A server program on a port of this machine.

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
    /// Starts `binary` on `127.0.0.1:port` (any free port if 0) and waits until `is_ready` succeeds.
    /// `arguments` returns the command line, given the address and a temporary directory.
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

    /// Returns the address on which the server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the port on which the server listens.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Returns the process of this server.
    pub fn process(&mut self) -> &mut ServerProcess {
        &mut self.process
    }

    /// Sends SIGTERM and waits until the server has ended.
    pub async fn terminate(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.process.terminate(limit).await
    }
}

/// Implements `Deref` and `DerefMut` to [`Server`] for a type with a field `server`.
macro_rules! deref_to_server {
    ($wrapper:ty) => {
        impl std::ops::Deref for $wrapper {
            type Target = $crate::server::Server;

            fn deref(&self) -> &Self::Target {
                &self.server
            }
        }

        impl std::ops::DerefMut for $wrapper {
            fn deref_mut(&mut self) -> &mut Self::Target {
                &mut self.server
            }
        }
    };
}
pub(crate) use deref_to_server;

/// Formats an argument such as `--NAME=VALUE`. The value need not be UTF-8.
pub(crate) fn argument(name: &str, value: impl Into<OsString>) -> OsString {
    let mut argument = OsString::from(format!("{name}="));
    argument.push(value.into());
    argument
}
