//! One keep-alive HTTP/1.1 connection of the load generator.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::mix::{Ending, Shape};
use super::tally::LoadOutcome;

/// The maximum number of headers of a response, which is more than any response in the tests has.
const MAX_HEADERS: usize = 64;
const READ_BYTES: usize = 16 * 1024;

/// A client that opens a connection when it needs one and keeps it alive as long as both sides allow.
pub(super) struct Client {
    target: SocketAddr,
    connection: Option<Connection>,
    connections: u64,
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// The index in `buffer` of the first unread byte.
    start: usize,
}

struct Head {
    status: u16,
    length: Length,
    keep_alive: bool,
}

/// How the end of a response body is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    Bytes(usize),
    Chunked,
    UntilClose,
}

impl Client {
    pub(super) fn new(target: SocketAddr) -> Self {
        Self { target, connection: None, connections: 0 }
    }

    /// Returns the number of opened connections.
    pub(super) fn connections(&self) -> u64 {
        self.connections
    }

    /// Sends request number `index` of the load and waits for its outcome.
    ///
    /// # Errors
    /// The request ended in another way than its shape expects; the connection is closed.
    pub(super) async fn send(&mut self, shape: &Shape, index: u64) -> Result<LoadOutcome> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                self.connections += 1;
                Connection::open(self.target).await?
            }
        };
        connection.stream.write_all(&shape.bytes(index)).await.context("cannot send")?;
        match shape.expected_ending() {
            Ending::Response => {}
            // Dropping the stream sends FIN and not RST, because no byte is unread.
            Ending::CloseBeforeResponse | Ending::HalfHeader => return Ok(LoadOutcome::Aborted),
            Ending::ResetBeforeResponse => {
                connection.stream.set_zero_linger()?;
                return Ok(LoadOutcome::Aborted);
            }
            Ending::ResetDuringResponse => {
                let head = connection.read_head().await?;
                connection.stream.set_zero_linger()?;
                return Ok(LoadOutcome::Truncated(head.status));
            }
        }
        let mut head = connection.read_head().await?;
        while (100..200).contains(&head.status) {
            head = connection.read_head().await?;
        }
        let has_body = !shape.is_head() && head.status != 204 && head.status != 304;
        if has_body && !connection.skip_body(head.length).await? {
            return Ok(LoadOutcome::Truncated(head.status));
        }
        if head.keep_alive && !(has_body && head.length == Length::UntilClose) {
            self.connection = Some(connection);
        }
        Ok(LoadOutcome::Answered(head.status))
    }
}

impl Connection {
    async fn open(target: SocketAddr) -> Result<Self> {
        let stream =
            TcpStream::connect(target).await.with_context(|| format!("cannot connect to {target}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(READ_BYTES), start: 0 })
    }

    async fn read_head(&mut self) -> Result<Head> {
        loop {
            if let Some((head, used)) = parse_head(self.unused())? {
                self.start += used;
                return Ok(head);
            }
            ensure!(self.fill().await?, "the connection was closed before the answer");
        }
    }

    /// Reads and discards a body. Returns `false` if it was truncated.
    async fn skip_body(&mut self, length: Length) -> Result<bool> {
        match length {
            Length::Bytes(bytes) => Ok(self.skip(bytes).await),
            Length::UntilClose => {
                while self.fill().await? {
                    self.start = self.buffer.len();
                }
                Ok(true)
            }
            Length::Chunked => loop {
                let Some(size) = self.read_chunk_size().await? else { return Ok(false) };
                // Every chunk ends with CR LF; trailers are not expected.
                if !self.skip(size + 2).await {
                    return Ok(false);
                }
                if size == 0 {
                    return Ok(true);
                }
            },
        }
    }

    async fn read_chunk_size(&mut self) -> Result<Option<usize>> {
        loop {
            match httparse::parse_chunk_size(self.unused()) {
                Ok(httparse::Status::Complete((used, size))) => {
                    self.start += used;
                    return Ok(Some(size.try_into()?));
                }
                Ok(httparse::Status::Partial) => {
                    if !self.fill().await.unwrap_or(false) {
                        return Ok(None);
                    }
                }
                Err(_) => bail!("an answer has a malformed chunk size"),
            }
        }
    }

    /// Reads and discards `bytes` bytes. Returns `false` if the connection ends earlier.
    async fn skip(&mut self, bytes: usize) -> bool {
        let mut missing = bytes;
        loop {
            let used = missing.min(self.unused().len());
            self.start += used;
            missing -= used;
            if missing == 0 {
                return true;
            }
            if !self.fill().await.unwrap_or(false) {
                return false;
            }
        }
    }

    fn unused(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    /// Reads more bytes into the buffer. Returns `false` at the end of the stream.
    async fn fill(&mut self) -> Result<bool> {
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        }
        Ok(self.stream.read_buf(&mut self.buffer).await.context("cannot read the answer")? > 0)
    }
}

/// Parses the head of a response. Returns the head and its length in bytes, or `None` if it is incomplete.
fn parse_head(bytes: &[u8]) -> Result<Option<(Head, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(used) = response.parse(bytes).context("an answer is malformed")? else {
        return Ok(None);
    };
    let mut head =
        Head { status: response.code.unwrap_or_default(), length: Length::UntilClose, keep_alive: true };
    for header in response.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            let length = std::str::from_utf8(header.value)?.parse().context("content-length")?;
            head.length = Length::Bytes(length);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            head.length = Length::Chunked;
        } else if header.name.eq_ignore_ascii_case("connection") {
            head.keep_alive = !header.value.eq_ignore_ascii_case(b"close");
        }
    }
    Ok(Some((head, used)))
}
