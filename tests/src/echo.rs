//! A TCP server that sends back whatever it gets, and a client of it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::ports::localhost;

/// What a server closes the connection upon, instead of sending it back.
pub const CLOSE: &[u8] = b"close!";
/// What it resets the connection upon.
pub const RESET: &[u8] = b"reset!";

/// How long a client waits for anything.
const LIMIT: Duration = Duration::from_secs(10);

/// A running server; dropping it closes its port and all its connections.
#[derive(Debug)]
pub struct EchoServer {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

/// One connection to an [`EchoServer`], or to what stands before one.
#[derive(Debug)]
pub struct EchoClient(TcpStream);

impl EchoServer {
    /// Listens on any free port of 127.0.0.1.
    ///
    /// # Errors
    /// No port can be listened on.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind(localhost(0)).await.context("cannot listen")?;
        let address = listener.local_addr()?;
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        if let Ok((mut stream, _)) = accepted {
                            // An error is a connection that the client reset.
                            connections.spawn(async move { echo(&mut stream).await.ok() });
                        }
                    }
                    Some(_) = connections.join_next() => {}
                }
            }
        });
        Ok(Self { address, accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn echo(stream: &mut TcpStream) -> std::io::Result<()> {
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

impl Drop for EchoServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl EchoClient {
    /// Opens a connection.
    ///
    /// # Errors
    /// Nobody listens there.
    pub async fn connect(address: SocketAddr) -> Result<Self> {
        Ok(Self(TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?))
    }

    /// Sends bytes and waits until all of them have come back.
    ///
    /// # Errors
    /// The connection breaks off, or other bytes come.
    pub async fn exchange(&mut self, bytes: &[u8]) -> Result<()> {
        let (mut from, mut to) = self.0.split();
        let mut answer = vec![0; bytes.len()];
        let both = async { tokio::join!(to.write_all(bytes), from.read_exact(&mut answer)) };
        let (sent, received) = in_time("the bytes to come back", both).await?;
        sent.and(received.map(|_| ())).context("the connection broke off")?;
        ensure!(answer == bytes, "other bytes came back");
        Ok(())
    }

    /// Sends bytes, whatever comes back.
    ///
    /// # Errors
    /// The connection breaks off.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        in_time("the bytes to be taken", self.0.write_all(bytes)).await?.context("the connection broke off")
    }

    /// Sends bytes and waits until the other side has closed the connection or reset it.
    ///
    /// # Errors
    /// It does not.
    pub async fn send_in_vain(mut self, bytes: &[u8]) -> Result<()> {
        let end = async {
            // Bytes that come are of no interest, and an error is an end.
            if self.0.write_all(bytes).await.is_ok() {
                while self.0.read(&mut [0; 1024]).await.is_ok_and(|bytes| bytes > 0) {}
            }
        };
        in_time("the other side to end the connection", end).await
    }

    /// Closes the connection from this side and waits until the other side has done so.
    ///
    /// # Errors
    /// The connection breaks off, or more bytes come.
    pub async fn close(mut self) -> Result<()> {
        self.0.shutdown().await?;
        let rest = in_time("the other side to close", self.0.read(&mut [0; 1])).await??;
        ensure!(rest == 0, "more bytes came back");
        Ok(())
    }

    /// Resets the connection.
    ///
    /// # Errors
    /// The system refuses.
    pub fn reset(self) -> Result<()> {
        Ok(self.0.set_zero_linger()?)
    }
}

async fn in_time<T>(what: &str, awaited: impl Future<Output = T>) -> Result<T> {
    tokio::time::timeout(LIMIT, awaited).await.with_context(|| format!("waited {LIMIT:?} for {what}"))
}
