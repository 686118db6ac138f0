//! An HTTP/2 client. Unlike an HTTP/1.1 client, it can set the scheme of its requests.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use bytes::Bytes;
use h2::SendStream;
use h2::client::{ResponseFuture, SendRequest};
use http::{Request, StatusCode};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::poll::{LIMIT, within};

/// A connection to a server, directly or through a proxy; dropping it closes it.
#[derive(Debug)]
pub struct Http2Client {
    requests: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
}

impl Http2Client {
    /// Opens a connection.
    pub async fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await;
        let stream = stream.with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        let (requests, connection) = h2::client::handshake(stream).await?;
        Ok(Self { requests, connection: tokio::spawn(connection) })
    }

    /// Sends a request without a body, and returns the status once the whole response is received.
    pub async fn send(&self, request: Request<()>) -> Result<StatusCode> {
        let (response, _) = self.start(request, true).await?;
        let receive = async {
            let (head, mut body) = response.await?.into_parts();
            while let Some(data) = body.data().await {
                body.flow_control().release_capacity(data?.len())?;
            }
            anyhow::Ok(head.status)
        };
        within(LIMIT, "a response", receive).await?
    }

    /// Starts a request. `is_whole` is true for a request without a body.
    pub(crate) async fn start(
        &self,
        request: Request<()>,
        is_whole: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>)> {
        let mut requests = within(LIMIT, "room for a stream", self.requests.clone().ready()).await??;
        Ok(requests.send_request(request, is_whole)?)
    }
}

impl Drop for Http2Client {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::{GrpcServer, method};

    #[tokio::test]
    async fn requests_have_any_scheme_and_their_status_is_returned() {
        let server = GrpcServer::start().await.unwrap();
        let client = Http2Client::connect(server.address()).await.unwrap();
        for (path, status) in [("/shop.Orders/Unknown", 200), (method::PAGE, 503)] {
            let request = Request::post(format!("s1://localhost{path}")).body(()).unwrap();
            assert_eq!(client.send(request).await.unwrap(), status, "{path}");
        }
        assert_eq!(server.served().calls.values().sum::<u64>(), 2);
    }
}
