//! A gRPC client: one connection, any number of calls at a time, each of which a test can lead step by step.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, SendStream};
use http::{HeaderMap, Request};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::message::{self, Incoming};
use super::{CONTENT_TYPE, STATUS, in_time};

/// A connection to a gRPC server, or to what stands before one; dropping it closes it.
#[derive(Debug)]
pub struct GrpcClient {
    requests: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
}

/// A call under way.
#[derive(Debug)]
pub struct Call {
    outgoing: SendStream<Bytes>,
    response: Option<ResponseFuture>,
    incoming: Option<Incoming>,
    answer: Answer,
}

/// What a client saw of the answer to a call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The status of HTTP; none if the stream was reset before.
    pub http_status: Option<u16>,
    /// The status of the call, as the trailers or the headers have it.
    pub status: Option<i64>,
    /// Messages that came.
    pub messages: u64,
    /// Whether the stream was reset by the other side.
    pub reset: bool,
}

impl GrpcClient {
    /// Opens a connection.
    ///
    /// # Errors
    /// Nobody listens there who speaks HTTP/2.
    pub async fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await;
        let stream = stream.with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        let (requests, connection) = h2::client::handshake(stream).await?;
        Ok(Self { requests, connection: tokio::spawn(connection) })
    }

    /// Begins a call of the method with this path, with further metadata.
    ///
    /// # Errors
    /// The connection has broken off.
    pub async fn call(&self, path: &str, metadata: &[(&str, &str)]) -> Result<Call> {
        let request = Request::post(format!("http://localhost{path}"))
            .version(http::Version::HTTP_2)
            .header("content-type", CONTENT_TYPE)
            .header("te", "trailers");
        let request = metadata.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let mut requests = in_time("room for a stream", self.requests.clone().ready()).await??;
        let (response, outgoing) = requests.send_request(request.body(())?, false)?;
        Ok(Call { outgoing, response: Some(response), incoming: None, answer: Answer::default() })
    }
}

impl Drop for GrpcClient {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Call {
    /// Sends a message.
    ///
    /// # Errors
    /// The stream was reset.
    pub fn send(&mut self, message: &[u8]) -> Result<()> {
        message::send(&mut self.outgoing, message)
    }

    /// The next message of the answer; none at its end, whatever that is.
    ///
    /// # Errors
    /// It does not come in time, or is none.
    pub async fn receive(&mut self) -> Result<Option<Bytes>> {
        let message = in_time("a message", self.next()).await?;
        let message = self.unless_reset(message)?.flatten();
        self.answer.messages += u64::from(message.is_some());
        Ok(message)
    }

    /// Says that no more messages follow, and waits for the end of the answer.
    ///
    /// # Errors
    /// It does not come in time, or has not the form of one.
    pub async fn finish(mut self) -> Result<Answer> {
        // An error is an answer that ended before.
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

    /// Gives the call up, with what came so far.
    pub fn cancel(mut self) -> Answer {
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
                // It is no answer of gRPC.
                incoming.skip().await?;
            }
            self.incoming = Some(incoming);
        }
        match &mut self.incoming {
            Some(incoming) => incoming.next().await,
            None => Ok(None),
        }
    }

    /// The value, if the stream was not reset.
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
    async fn a_client_sees_what_became_of_each_call() {
        let server = GrpcServer::start().await.unwrap();
        let client = GrpcClient::connect(server.address()).await.unwrap();
        let answer = |http_status, status, messages, reset| Answer { http_status, status, messages, reset };
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
    async fn a_call_is_led_step_by_step_and_given_up() {
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
        let expected = Answer { http_status: Some(200), status: None, messages: 1, reset: true };
        assert_eq!(call.finish().await.unwrap(), expected);
        let mut call = client.call(method::GET, &[]).await.unwrap();
        call.send(b"a").unwrap();
        assert_eq!(call.finish().await.unwrap().status, Some(0), "the connection goes on");
    }
}
