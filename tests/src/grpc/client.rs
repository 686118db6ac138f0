//! A gRPC client: one connection with any number of concurrent calls, each driven step by step by the test.

use std::net::SocketAddr;

use anyhow::Result;
use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{Reason, SendStream};
use http::{HeaderMap, Request};

use super::message::{self, Incoming};
use super::{CONTENT_TYPE, STATUS, in_time};
use crate::http2::Http2Client;

/// A connection to a gRPC server, directly or through a proxy; dropping it closes it.
#[derive(Debug)]
pub struct GrpcClient(Http2Client);

/// A call in progress.
#[derive(Debug)]
pub struct GrpcCall {
    outgoing: SendStream<Bytes>,
    response: Option<ResponseFuture>,
    incoming: Option<Incoming>,
    answer: GrpcResponse,
}

/// How a call ended for the client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GrpcResponse {
    /// The HTTP status; `None` if the stream was reset before.
    pub http_status: Option<u16>,
    /// The gRPC status, from the trailers or the headers.
    pub status: Option<i64>,
    /// The number of received messages.
    pub messages: u64,
    /// Whether the server reset the stream.
    pub reset: bool,
}

impl GrpcClient {
    /// Opens a connection.
    pub async fn connect(address: SocketAddr) -> Result<Self> {
        Ok(Self(Http2Client::connect(address).await?))
    }

    /// Starts a call of the method at `path` with additional metadata.
    pub async fn call(&self, path: &str, metadata: &[(&str, &str)]) -> Result<GrpcCall> {
        let request = Request::post(format!("http://localhost{path}"))
            .version(http::Version::HTTP_2)
            .header("content-type", CONTENT_TYPE)
            .header("te", "trailers");
        let request = metadata.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let (response, outgoing) = self.0.start(request.body(())?, false).await?;
        Ok(GrpcCall { outgoing, response: Some(response), incoming: None, answer: GrpcResponse::default() })
    }
}

impl GrpcCall {
    /// Sends a message.
    pub fn send(&mut self, message: &[u8]) -> Result<()> {
        message::send(&mut self.outgoing, message)
    }

    /// Receives the next message. Returns `None` at the end of the response, and also if the stream was
    /// reset.
    pub async fn receive(&mut self) -> Result<Option<Bytes>> {
        let message = in_time("a message", self.next()).await?;
        let message = self.unless_reset(message)?.flatten();
        self.answer.messages += u64::from(message.is_some());
        Ok(message)
    }

    /// Ends the request and waits for the end of the response.
    pub async fn finish(mut self) -> Result<GrpcResponse> {
        // This fails if the response has already ended.
        let _ = self.outgoing.send_data(Bytes::new(), true);
        while self.receive().await?.is_some() {}
        if let Some(incoming) = &mut self.incoming
            && !self.answer.reset
        {
            let trailers = in_time("trailers", incoming.trailers()).await?;
            if let Some(trailers) = self.unless_reset(trailers)?.flatten() {
                self.answer.status = status(&trailers)?.or(self.answer.status);
            }
        }
        Ok(self.answer)
    }

    /// Cancels the call and returns what was received so far.
    pub fn cancel(mut self) -> GrpcResponse {
        self.outgoing.send_reset(Reason::CANCEL);
        self.answer
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        if let Some(response) = self.response.take() {
            let (head, body) = response.await?.into_parts();
            self.answer.http_status = Some(head.status.as_u16());
            self.answer.status = status(&head.headers)?;
            let mut incoming = Incoming::new(body);
            if head.status != 200 {
                // This is not a gRPC response, so its body has no messages.
                incoming.skip().await?;
            }
            self.incoming = Some(incoming);
        }
        match &mut self.incoming {
            Some(incoming) => incoming.next().await,
            None => Ok(None),
        }
    }

    /// Returns `None` if the error is a reset of the stream, and records the reset.
    fn unless_reset<T>(&mut self, result: Result<T>) -> Result<Option<T>> {
        match result {
            Err(error) if error.downcast_ref().is_some_and(h2::Error::is_reset) => {
                self.answer.reset = true;
                Ok(None)
            }
            result => result.map(Some),
        }
    }
}

fn status(headers: &HeaderMap) -> Result<Option<i64>> {
    let Some(status) = headers.get(STATUS) else { return Ok(None) };
    Ok(Some(status.to_str()?.parse()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::{GrpcServer, method};

    #[tokio::test]
    async fn the_client_reports_how_each_call_ended() {
        let server = GrpcServer::start().await.unwrap();
        let client = GrpcClient::connect(server.address()).await.unwrap();
        let answer =
            |http_status, status, messages, reset| GrpcResponse { http_status, status, messages, reset };
        for (path, message, expected) in [
            (method::GET, "a", answer(Some(200), Some(0), 1, false)),
            (method::UPLOAD, "a", answer(Some(200), Some(0), 1, false)),
            (method::LIST, "7", answer(Some(200), Some(0), 7, false)),
            (method::CHAT, "a", answer(Some(200), Some(0), 1, false)),
            (method::FAIL, "a", answer(Some(200), Some(13), 0, false)),
            ("/shop.Orders/Unknown", "a", answer(Some(200), Some(12), 0, false)),
            (method::RESET, "a", answer(None, None, 0, true)),
            (method::PAGE, "a", answer(Some(503), None, 0, false)),
        ] {
            let mut call = client.call(path, &[]).await.unwrap();
            call.send(message.as_bytes()).unwrap();
            assert_eq!(call.finish().await.unwrap(), expected, "{path}");
        }
        assert_eq!(server.served().calls.values().sum::<u64>(), 8);
    }

    #[tokio::test]
    async fn a_call_is_driven_step_by_step_and_cancelled() {
        let server = GrpcServer::start().await.unwrap();
        let client = GrpcClient::connect(server.address()).await.unwrap();
        let mut call = client.call(method::CHAT, &[]).await.unwrap();
        for message in ["a", "b"] {
            call.send(message.as_bytes()).unwrap();
            assert_eq!(call.receive().await.unwrap().unwrap(), message);
        }
        call.cancel();
        let mut call = client.call(method::BREAK, &[]).await.unwrap();
        call.send(b"a").unwrap();
        assert_eq!(call.receive().await.unwrap().unwrap(), "a");
        let expected = GrpcResponse { http_status: Some(200), status: None, messages: 1, reset: true };
        assert_eq!(call.finish().await.unwrap(), expected);
        let mut call = client.call(method::GET, &[]).await.unwrap();
        call.send(b"a").unwrap();
        assert_eq!(call.finish().await.unwrap().status, Some(0), "the connection can still be used");
    }
}
