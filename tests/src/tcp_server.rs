//! A TCP server in this process. It accepts connections and serves each connection in a separate task.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::ports::localhost;

/// A running server; dropping it closes its port and all its connections.
#[derive(Debug)]
pub(crate) struct TcpServer {
    address: SocketAddr,
    /// The task that accepts connections. It owns the listener and the tasks of all connections.
    accepting: JoinHandle<()>,
}

impl TcpServer {
    /// Listens on `127.0.0.1:port` (any free port if 0) and runs `serve` for every connection.
    pub(crate) async fn start<F>(port: u16, serve: impl Fn(TcpStream) -> F + Send + 'static) -> Result<Self>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let listener = TcpListener::bind(localhost(port)).await;
        let listener = listener.with_context(|| format!("cannot listen on {}", localhost(port)))?;
        let address = listener.local_addr()?;
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        // Accepting fails if the client has already gone.
                        if let Ok((stream, _)) = accepted {
                            // Without this option, a response in two writes waits for the client's delayed
                            // acknowledgement.
                            let _ = stream.set_nodelay(true);
                            connections.spawn(serve(stream));
                        }
                    }
                    Some(_) = connections.join_next() => {}
                }
            }
        });
        Ok(Self { address, accepting })
    }

    /// Returns the address on which the server listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for TcpServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
