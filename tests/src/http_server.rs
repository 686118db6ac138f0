//! An HTTP/1.1 server in this process, whose handler can also close the connection.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::tcp_server::TcpServer;

mod body;

pub(crate) use body::ResponseBody;

/// A running server; dropping it closes its port and all its connections.
#[derive(Debug)]
pub(crate) struct HttpServer(TcpServer);

/// An error that a handler returns to close the connection without a response.
#[derive(Debug)]
pub(crate) struct CloseConnection;

impl HttpServer {
    /// Listens on `127.0.0.1:port` (any free port if 0) and calls the handler `answer` for every request.
    pub(crate) async fn start<H, F, B>(port: u16, answer: H) -> Result<Self>
    where
        H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
        F: Future<Output = Result<Response<B>, CloseConnection>> + Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let serve = move |stream: TcpStream| {
            let service = service_fn(answer.clone());
            // An error means that either side closed the connection, which tests do on purpose.
            async move { http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok() }
        };
        Ok(Self(TcpServer::start(port, serve).await?))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.address()
    }
}

impl std::fmt::Display for CloseConnection {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("the connection is closed on purpose")
    }
}

impl Error for CloseConnection {}

/// Locks the state that a server shares with its handlers; a panic of a handler does not poison it.
pub(crate) fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
