//! A TCP server that sends back every byte it receives, and a client for it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::poll::within;
use crate::tcp_server::TcpServer;

/// Bytes that make the server close the connection instead of sending them back.
pub const CLOSE: &[u8] = b"close!";
/// Bytes that make the server reset the connection.
pub const RESET: &[u8] = b"reset!";

/// The time limit of each method of the client.
const LIMIT: Duration = Duration::from_secs(10);

/// A running server; dropping it closes its port and all its connections.
#[derive(Debug)]
pub struct EchoServer(TcpServer);

/// A connection to an [`EchoServer`], directly or through a proxy.
#[derive(Debug)]
pub struct EchoClient(TcpStream);

impl EchoServer {
    /// Listens on any free port of 127.0.0.1.
    pub async fn start() -> Result<Self> {
        Ok(Self(TcpServer::start(0, echo).await?))
    }

    /// Returns the address on which the server listens.
    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }
}

async fn echo(mut stream: TcpStream) -> std::io::Result<()> {
    let mut bytes = vec![0; 16 * 1024];
    loop {
        let count = stream.read(&mut bytes).await?;
        match bytes.get(..count).unwrap_or_default() {
            [] | CLOSE => return Ok(()),
            RESET => return stream.set_zero_linger(),
            bytes => stream.write_all(bytes).await?,
        }
    }
}

impl EchoClient {
    /// Opens a connection.
    pub async fn connect(address: SocketAddr) -> Result<Self> {
        Ok(Self(TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?))
    }

    /// Sends bytes and waits until all of them have come back; fails if other bytes come back.
    pub async fn exchange(&mut self, bytes: &[u8]) -> Result<()> {
        let (mut from, mut to) = self.0.split();
        let mut answer = vec![0; bytes.len()];
        let both = async { tokio::join!(to.write_all(bytes), from.read_exact(&mut answer)) };
        let (sent, received) = within(LIMIT, "the bytes to come back", both).await?;
        sent.and(received.map(|_| ())).context("the connection broke off")?;
        ensure!(answer == bytes, "other bytes came back");
        Ok(())
    }

    /// Sends bytes and ignores what comes back.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let sent = within(LIMIT, "the bytes to be taken", self.0.write_all(bytes)).await?;
        sent.context("the connection broke off")
    }

    /// Sends bytes and waits until the other side has closed or reset the connection.
    pub async fn send_until_closed(mut self, bytes: &[u8]) -> Result<()> {
        let end = async {
            // Received bytes are ignored, and any error ends the connection.
            if self.0.write_all(bytes).await.is_ok() {
                while self.0.read(&mut [0; 1024]).await.is_ok_and(|bytes| bytes > 0) {}
            }
        };
        within(LIMIT, "the other side to end the connection", end).await
    }

    /// Closes the connection and waits until the other side has closed it too; fails if it sends more bytes.
    pub async fn close(mut self) -> Result<()> {
        self.0.shutdown().await?;
        let rest = within(LIMIT, "the other side to close", self.0.read(&mut [0; 1])).await??;
        ensure!(rest == 0, "more bytes came back");
        Ok(())
    }

    /// Resets the connection.
    pub fn reset(self) -> Result<()> {
        Ok(self.0.set_zero_linger()?)
    }
}
