//! An application server whose responses are controlled by request headers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::header::HeaderMap;
use hyper::{Request, Response, StatusCode};

use crate::http_server::{CloseConnection, HttpServer, ResponseBody, lock};

/// The request header for the status of the response; 200 by default.
pub const STATUS_HEADER: &str = "x-status";
/// The request header for the time to wait before the response, in milliseconds; 0 by default.
pub const DELAY_HEADER: &str = "x-delay-ms";
/// The request header for the size of the response body, in bytes; 2 by default.
pub const BODY_BYTES_HEADER: &str = "x-body-bytes";
/// The request header for the name of an [`UpstreamFault`].
pub const FAULT_HEADER: &str = "x-fault";
/// The request header for the `location` of the response, byte for byte.
pub const LOCATION_HEADER: &str = "x-location";
/// The request header that is copied to the response, byte for byte.
pub const ECHO_HEADER: &str = "x-echo";
/// Envoy's request header with the number of the attempt, from 1.
const ATTEMPT_HEADER: &str = "x-envoy-attempt-count";

const DEFAULT_BODY_BYTES: usize = 2;

/// A failure of the server on request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamFault {
    /// `reset`: closes the connection before the response.
    Reset,
    /// `reset-first`: like `reset`, but only at the first attempt according to `x-envoy-attempt-count`.
    ResetFirst,
    /// `truncate`: closes the connection after the headers and half of the body.
    Truncate,
}

/// A running application server; dropping it closes its port and all its connections.
#[derive(Debug)]
pub struct Upstream {
    server: HttpServer,
    served: Arc<Mutex<ServedRequests>>,
}

/// The requests that an [`Upstream`] has received so far, and its responses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServedRequests {
    /// The number of received requests.
    pub received: u64,
    /// The number of responses by status, including truncated responses.
    pub answered: BTreeMap<u16, u64>,
    /// The number of connections closed before the response.
    pub reset: u64,
    /// The number of requests by the value of their header `authorization`. Requests without this header
    /// are not counted.
    pub authorized: BTreeMap<String, u64>,
}

impl UpstreamFault {
    /// Returns the name of the fault in [`FAULT_HEADER`].
    pub fn name(self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::ResetFirst => "reset-first",
            Self::Truncate => "truncate",
        }
    }
}

impl Upstream {
    /// Listens on `127.0.0.1:port` (any free port if 0).
    pub async fn start(port: u16) -> Result<Self> {
        let served = Arc::new(Mutex::new(ServedRequests::default()));
        let shared = Arc::clone(&served);
        let server = HttpServer::start(port, move |request| respond(request, Arc::clone(&shared))).await?;
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

    /// Returns what the server has received so far, and its responses.
    pub fn served(&self) -> ServedRequests {
        lock(&self.served).clone()
    }
}

async fn respond(
    request: Request<Incoming>,
    served: Arc<Mutex<ServedRequests>>,
) -> Result<Response<ResponseBody>, CloseConnection> {
    lock(&served).received += 1;
    let (head, body) = request.into_parts();
    if let Some(value) = head.headers.get("authorization") {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        *lock(&served).authorized.entry(value).or_default() += 1;
    }
    // Reads the whole request, because the connection could not be reused if the response came earlier.
    if !body.is_end_stream() {
        body.collect().await.map_err(|_| CloseConnection)?;
    }
    if let Some(delay_ms) = number(&head.headers, DELAY_HEADER) {
        tokio::time::sleep(Duration::from_millis(delay_ms)).await;
    }
    let fault = head.headers.get(FAULT_HEADER).map(|value| value.as_bytes());
    let is_first = number::<u32>(&head.headers, ATTEMPT_HEADER).is_none_or(|attempt| attempt <= 1);
    if fault == Some(UpstreamFault::Reset.name().as_bytes())
        || is_first && fault == Some(UpstreamFault::ResetFirst.name().as_bytes())
    {
        lock(&served).reset += 1;
        return Err(CloseConnection);
    }
    let status = number(&head.headers, STATUS_HEADER).unwrap_or(StatusCode::OK);
    let bytes = number(&head.headers, BODY_BYTES_HEADER).unwrap_or(DEFAULT_BODY_BYTES);
    let truncated = fault == Some(UpstreamFault::Truncate.name().as_bytes());
    let body = vec![b'.'; bytes];
    let body = if truncated { ResponseBody::truncated(body) } else { ResponseBody::whole(body) };
    let mut response = Response::new(body);
    if let Some(value) = head.headers.get(ECHO_HEADER) {
        response.headers_mut().insert(ECHO_HEADER, value.clone());
    }
    if let Some(location) = head.headers.get(LOCATION_HEADER) {
        response.headers_mut().insert("location", location.clone());
    }
    *response.status_mut() = status;
    *lock(&served).answered.entry(status.as_u16()).or_default() += 1;
    Ok(response)
}

/// Parses the value of a header; `None` if it is absent or invalid.
fn number<T: std::str::FromStr>(headers: &HeaderMap, name: &str) -> Option<T> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn get(upstream: &Upstream, headers: &[(&str, &str)]) -> reqwest::Result<reqwest::Response> {
        let request = reqwest::Client::new().get(format!("http://{}/", upstream.address()));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.send().await
    }

    #[tokio::test]
    async fn request_headers_control_the_answer() {
        let upstream = Upstream::start(0).await.unwrap();
        assert_eq!(get(&upstream, &[]).await.unwrap().status(), 200);
        let answer = get(&upstream, &[(STATUS_HEADER, "404"), (BODY_BYTES_HEADER, "70000")]).await.unwrap();
        assert_eq!(answer.status(), 404);
        assert_eq!(answer.bytes().await.unwrap().len(), 70_000);
        let start = std::time::Instant::now();
        assert_eq!(get(&upstream, &[(DELAY_HEADER, "50")]).await.unwrap().status(), 200);
        assert!(start.elapsed() >= Duration::from_millis(50));
        let served = ServedRequests {
            received: 3,
            answered: [(200, 2), (404, 1)].into(),
            ..ServedRequests::default()
        };
        assert_eq!(upstream.served(), served);
    }

    #[tokio::test]
    async fn a_connection_is_reset_or_an_answer_truncated_on_request() {
        let upstream = Upstream::start(0).await.unwrap();
        assert!(get(&upstream, &[(FAULT_HEADER, UpstreamFault::Reset.name())]).await.is_err());
        let first = (FAULT_HEADER, UpstreamFault::ResetFirst.name());
        assert!(get(&upstream, &[first, (ATTEMPT_HEADER, "1")]).await.is_err());
        assert_eq!(get(&upstream, &[first, (ATTEMPT_HEADER, "2")]).await.unwrap().status(), 200);
        let answer = get(&upstream, &[(FAULT_HEADER, UpstreamFault::Truncate.name())]).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert!(answer.bytes().await.is_err());
        let served = ServedRequests {
            received: 4,
            answered: [(200, 2)].into(),
            reset: 2,
            ..ServedRequests::default()
        };
        assert_eq!(upstream.served(), served);
    }
}
