//! A server that does not speak HTTP.

use std::net::SocketAddr;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::tcp_server::TcpServer;

/// The answer to everything: bytes that cannot begin an HTTP response.
const GARBAGE: &[u8] = b"\x16\x03\x01 \xff\xfe\0 no answer\r\n\r\n";

/// A running server that answers the first bytes of every connection with garbage and closes it.
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

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }
}
