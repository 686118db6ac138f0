//! A server that does not speak HTTP.

use std::net::SocketAddr;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::tcp_server::TcpServer;

/// The response to any bytes: it cannot be the beginning of an HTTP response.
const GARBAGE: &[u8] = b"\x16\x03\x01 \xff\xfe\0 no answer\r\n\r\n";

/// A running server, which responds to the first bytes of every connection with garbage and closes the
/// connection.
#[derive(Debug)]
pub struct NonHttpServer(TcpServer);

impl NonHttpServer {
    /// Listens on any free port of 127.0.0.1.
    pub async fn start() -> Result<Self> {
        let serve = |mut stream: tokio::net::TcpStream| async move {
            // Errors are ignored: the client may have gone.
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(GARBAGE).await;
        };
        Ok(Self(TcpServer::start(0, serve).await?))
    }

    /// Returns the address on which the server listens.
    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }
}
