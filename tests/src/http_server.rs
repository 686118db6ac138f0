//! An HTTP/1.1 server inside this process, whose handler may also cut a connection off.

use std::error::Error;
use std::net::SocketAddr;

use anyhow::{Context, Result};
use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::ports::localhost;

mod body;

pub(crate) use body::AnswerBody;

/// A running server; dropping it closes its port and all its connections.
#[derive(Debug)]
pub(crate) struct HttpServer {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

/// The handler's wish to close the connection without an answer.
#[derive(Debug)]
pub(crate) struct CloseConnection;

impl HttpServer {
    /// Listens on `127.0.0.1:port` (any free port if 0) and answers every request by `answer`.
    pub(crate) async fn start<H, F, B>(port: u16, answer: H) -> Result<Self>
    where
        H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
        F: Future<Output = Result<Response<B>, CloseConnection>> + Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let listener = TcpListener::bind(localhost(port)).await;
        let listener = listener.with_context(|| format!("cannot listen on {}", localhost(port)))?;
        let address = listener.local_addr()?;
        let accepting = tokio::spawn(accept(listener, answer));
        Ok(Self { address, accepting })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        // The task owns the listener and, through its set, every connection.
        self.accepting.abort();
    }
}

impl std::fmt::Display for CloseConnection {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("the connection is closed on purpose")
    }
}

impl Error for CloseConnection {}

async fn accept<H, F, B>(listener: TcpListener, answer: H)
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Result<Response<B>, CloseConnection>> + Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // An error here is the peer's, who has gone again.
                if let Ok((stream, _)) = accepted {
                    connections.spawn(serve(stream, answer.clone()));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve<H, F, B>(stream: TcpStream, answer: H)
where
    H: Fn(Request<Incoming>) -> F,
    F: Future<Output = Result<Response<B>, CloseConnection>>,
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    // Without it an answer in two writes waits for the peer's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    let connection = hyper::server::conn::http1::Builder::new();
    // An error is a connection cut off by either side, which tests do on purpose.
    let _ = connection.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
}
