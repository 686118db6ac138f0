//! A gRPC server in this process. The called method decides how the call ends.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::message::{self, Incoming};
use super::{CONTENT_TYPE, MESSAGE, STATUS, in_time};
use crate::tcp_server::TcpServer;

/// The paths of the implemented methods. For all other paths, the server responds with the status
/// UNIMPLEMENTED.
pub mod method {
    /// Receives one message and responds with one message.
    pub const GET: &str = "/shop.Orders/Get";
    /// Receives any number of messages, and responds with one message after the last message.
    pub const UPLOAD: &str = "/shop.Orders/Upload";
    /// Receives one message, which is a decimal number, and responds with this number of messages.
    pub const LIST: &str = "/shop.Orders/List";
    /// Receives any number of messages and sends each message back immediately.
    pub const CHAT: &str = "/shop.Orders/Chat";
    /// Receives one message and responds with the status INTERNAL, without a message.
    pub const FAIL: &str = "/shop.Orders/Fail";
    /// Never responds.
    pub const HANG: &str = "/shop.Orders/Hang";
    /// Never responds, like [`HANG`]. It has another path, so that tests can distinguish the calls.
    pub const WAIT: &str = "/shop.Orders/Wait";
    /// Never responds, like [`HANG`].
    pub const IGNORE: &str = "/shop.Orders/Ignore";
    /// Receives one message and responds with one message. The call never ends.
    pub const WATCH: &str = "/shop.Orders/Watch";
    /// Receives one message and resets the stream without a response.
    pub const RESET: &str = "/shop.Orders/Reset";
    /// Receives one message and responds with one message. Resets the stream when the client has ended the
    /// request.
    pub const BREAK: &str = "/shop.Orders/Break";
    /// Responds with an HTTP 503 page, like a server that does not speak gRPC.
    pub const PAGE: &str = "/shop.Orders/Page";
}

const INTERNAL: &str = "13";
const UNIMPLEMENTED: &str = "12";

/// A running server; dropping it closes its port and all its connections.
#[derive(Debug)]
pub struct GrpcServer {
    server: TcpServer,
    served: Arc<watch::Sender<ServedCalls>>,
}

/// What a [`GrpcServer`] has received and sent so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServedCalls {
    /// The number of calls by path.
    pub calls: BTreeMap<String, u64>,
    /// The number of received messages.
    pub received: u64,
    /// The number of sent messages.
    pub sent: u64,
}

impl GrpcServer {
    /// Listens on any free port of 127.0.0.1.
    pub async fn start() -> Result<Self> {
        let served: Arc<watch::Sender<ServedCalls>> = Arc::default();
        let shared = Arc::clone(&served);
        // `serve` fails if the client closes the connection.
        let server = TcpServer::start(0, move |stream| serve(stream, Arc::clone(&shared))).await?;
        Ok(Self { server, served })
    }

    /// Returns the address on which the server listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Returns the port on which the server listens.
    pub fn port(&self) -> u16 {
        self.address().port()
    }

    /// Returns what the server has received and sent so far.
    pub fn served(&self) -> ServedCalls {
        self.served.borrow().clone()
    }

    /// Waits until the server has received at least `calls` calls of `path`.
    pub async fn wait_for_calls(&self, path: &str, calls: u64) -> Result<()> {
        let mut served = self.served.subscribe();
        let come = served.wait_for(|served| served.calls.get(path).is_some_and(|got| *got >= calls));
        in_time("a call to reach the server", come).await??;
        Ok(())
    }
}

async fn serve(stream: TcpStream, served: Arc<watch::Sender<ServedCalls>>) -> Result<()> {
    let mut connection = h2::server::handshake(stream).await?;
    let mut calls = JoinSet::new();
    loop {
        tokio::select! {
            accepted = connection.accept() => {
                let Some(accepted) = accepted else { return Ok(()) };
                let (request, respond) = accepted?;
                // `answer` fails if the client cancels the call.
                calls.spawn(answer(request, respond, Arc::clone(&served)));
            }
            Some(_) = calls.join_next() => {}
        }
    }
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    served: Arc<watch::Sender<ServedCalls>>,
) -> Result<()> {
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    served.send_modify(|served| *served.calls.entry(path.to_owned()).or_default() += 1);
    let mut call = Call { incoming: Incoming::new(body), served };
    match path {
        method::GET => {
            let message = call.receive().await?.context("no message")?;
            let mut stream = begin(&mut respond)?;
            call.send(&mut stream, &message)?;
            end(&mut stream, "0")
        }
        method::UPLOAD => {
            let mut messages: u64 = 0;
            while call.receive().await?.is_some() {
                messages += 1;
            }
            let mut stream = begin(&mut respond)?;
            call.send(&mut stream, messages.to_string().as_bytes())?;
            end(&mut stream, "0")
        }
        method::LIST => {
            let message = call.receive().await?.context("no message")?;
            let messages: u64 = std::str::from_utf8(&message)?.parse()?;
            let mut stream = begin(&mut respond)?;
            for _ in 0..messages {
                call.send(&mut stream, &MESSAGE)?;
            }
            end(&mut stream, "0")
        }
        method::CHAT => {
            let mut stream = begin(&mut respond)?;
            while let Some(message) = call.receive().await? {
                call.send(&mut stream, &message)?;
            }
            end(&mut stream, "0")
        }
        method::FAIL => {
            call.receive().await?;
            end(&mut begin(&mut respond)?, INTERNAL)
        }
        method::HANG | method::WAIT | method::IGNORE => {
            while call.receive().await?.is_some() {}
            std::future::pending().await
        }
        method::WATCH => {
            let message = call.receive().await?.context("no message")?;
            let mut stream = begin(&mut respond)?;
            call.send(&mut stream, &message)?;
            // Waits until the client cancels the call.
            while call.receive().await?.is_some() {}
            std::future::pending().await
        }
        method::RESET => {
            call.receive().await?;
            respond.send_reset(Reason::INTERNAL_ERROR);
            Ok(())
        }
        method::BREAK => {
            let message = call.receive().await?.context("no message")?;
            let mut stream = begin(&mut respond)?;
            call.send(&mut stream, &message)?;
            // Waits until the client has ended the request, which it does when it has received the
            // messages: a reset discards messages in flight.
            while call.receive().await?.is_some() {}
            stream.send_reset(Reason::INTERNAL_ERROR);
            Ok(())
        }
        method::PAGE => {
            call.receive().await?;
            let page = Response::builder().status(503).header("content-type", "text/plain").body(())?;
            respond.send_response(page, false)?.send_data(Bytes::from_static(b"no gRPC here\n"), true)?;
            Ok(())
        }
        _ => {
            let trailers_only = Response::builder().header("content-type", CONTENT_TYPE);
            respond.send_response(trailers_only.header(STATUS, UNIMPLEMENTED).body(())?, true)?;
            Ok(())
        }
    }
}

struct Call {
    incoming: Incoming,
    served: Arc<watch::Sender<ServedCalls>>,
}

impl Call {
    async fn receive(&mut self) -> Result<Option<Bytes>> {
        let message = self.incoming.next().await?;
        self.served.send_modify(|served| served.received += u64::from(message.is_some()));
        Ok(message)
    }

    fn send(&self, stream: &mut SendStream<Bytes>, message: &[u8]) -> Result<()> {
        message::send(stream, message)?;
        self.served.send_modify(|served| served.sent += 1);
        Ok(())
    }
}

fn begin(respond: &mut SendResponse<Bytes>) -> Result<SendStream<Bytes>> {
    let head = Response::builder().header("content-type", CONTENT_TYPE).body(())?;
    Ok(respond.send_response(head, false)?)
}

fn end(stream: &mut SendStream<Bytes>, status: &'static str) -> Result<()> {
    let trailers =
        HeaderMap::from_iter([(http::HeaderName::from_static(STATUS), HeaderValue::from_static(status))]);
    Ok(stream.send_trailers(trailers)?)
}
