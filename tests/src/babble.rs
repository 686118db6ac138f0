//! A server that speaks no HTTP.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::ports::localhost;

/// What it says: nothing that begins like an answer.
const WORDS: &[u8] = b"\x16\x03\x01 \xff\xfe\0 no answer\r\n\r\n";

/// A running server; dropping it closes its port.
#[derive(Debug)]
pub struct Babbler {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Babbler {
    /// Listens on any free port, says something senseless to whatever it hears first, and hangs up.
    ///
    /// # Errors
    /// There is no free port.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind(localhost(0)).await.context("cannot listen")?;
        let address = listener.local_addr()?;
        let accepting = tokio::spawn(async move {
            // An error is a peer's who has gone, which ends one conversation.
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut heard = [0; 1024];
                let _ = stream.read(&mut heard).await;
                let _ = stream.write_all(WORDS).await;
            }
        });
        Ok(Self { address, accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Babbler {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
