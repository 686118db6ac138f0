//! Length-prefixed messages of a gRPC stream.

use anyhow::{Context, Result, ensure};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::{RecvStream, SendStream};

/// The size of the prefix: a compression flag and the length of the message in four bytes.
const PREFIX_BYTES: usize = 5;

/// The receiving side of a stream.
#[derive(Debug)]
pub(super) struct Incoming {
    stream: RecvStream,
    buffer: BytesMut,
}

impl Incoming {
    pub(super) fn new(stream: RecvStream) -> Self {
        Self { stream, buffer: BytesMut::new() }
    }

    /// Receives the next message; `None` at the end of the stream.
    ///
    /// # Errors
    /// The stream was reset ([`h2::Error`]), or ends within a message.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if let Some(message) = take(&mut self.buffer)? {
                return Ok(Some(message));
            }
            let Some(data) = self.stream.data().await else {
                ensure!(self.buffer.is_empty(), "the stream ends within a message");
                return Ok(None);
            };
            let data = data?;
            self.buffer.extend_from_slice(&data);
            self.stream.flow_control().release_capacity(data.len())?;
        }
    }

    /// Reads and discards the rest of the stream.
    ///
    /// # Errors
    /// The stream was reset ([`h2::Error`]).
    pub(super) async fn skip(&mut self) -> Result<()> {
        while let Some(data) = self.stream.data().await {
            self.stream.flow_control().release_capacity(data?.len())?;
        }
        Ok(())
    }

    /// Receives the trailers.
    ///
    /// # Errors
    /// The stream was reset ([`h2::Error`]).
    pub(super) async fn trailers(&mut self) -> Result<Option<http::HeaderMap>> {
        Ok(self.stream.trailers().await?)
    }
}

/// Takes the first message out of the buffer if it is complete.
fn take(buffer: &mut BytesMut) -> Result<Option<Bytes>> {
    let Some((prefix, _)) = buffer.split_first_chunk::<PREFIX_BYTES>() else { return Ok(None) };
    let [compressed, length @ ..] = *prefix;
    ensure!(compressed == 0, "a compressed message, although the client did not offer a compression");
    let length = usize::try_from(u32::from_be_bytes(length))?;
    if buffer.len() < PREFIX_BYTES + length {
        return Ok(None);
    }
    buffer.advance(PREFIX_BYTES);
    Ok(Some(buffer.split_to(length).freeze()))
}

/// Sends a message.
///
/// # Errors
/// The message is longer than 4 GiB, or the stream was reset ([`h2::Error`]).
pub(super) fn send(stream: &mut SendStream<Bytes>, message: &[u8]) -> Result<()> {
    let mut data = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    data.put_u8(0);
    data.put_u32(u32::try_from(message.len()).context("a message of more than 4 GiB")?);
    data.put_slice(message);
    Ok(stream.send_data(data.freeze(), false)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_split_anywhere_are_received_whole() {
        let mut buffer = BytesMut::new();
        let mut taken = Vec::new();
        for byte in b"\0\0\0\0\x02ab\0\0\0\0\0\0\0\0\0\x01c" {
            buffer.put_u8(*byte);
            taken.extend(take(&mut buffer).unwrap());
        }
        assert_eq!(taken, ["ab", "", "c"]);
        assert!(buffer.is_empty());
        assert!(take(&mut BytesMut::from(&b"\x01\0\0\0\0"[..])).is_err());
    }
}
