//! A collector in this process for OTLP/HTTP and remote write. It decodes requests with types that share no
//! code with the product, and checks and stores the points. Tests can make it misbehave.
//!
//! First, `encoding` (`json`, `remote_write`) decodes a request. If a `fault` is queued, it decides the
//! response. Otherwise `point` checks each point, and the `store` adds the point to its `series`. Tests
//! wait for the state of the store.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::{Method, Request, Response, StatusCode};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsPartialSuccess;

use crate::http_server::{CloseConnection, HttpServer, ResponseBody, lock};
use crate::metrics::HistogramPoint;
use crate::poll::{self, LIMIT, Seen};

mod encoding;
mod fault;
mod json;
mod point;
mod remote_write;
#[cfg(test)]
mod sample;
mod series;
mod store;

pub use encoding::{Message, RequestEncoding};
pub use fault::Fault;
pub use remote_write::{RemoteSeries, RemoteWriteStore, SeriesLabels};
pub use store::Store;

/// The body of a response with the status of a [`Fault`].
pub const FAULT_TEXT: &str = "a fault, as asked";

/// The declared length of a truncated response.
const TRUNCATED_BYTES: usize = 4096;

/// A running sink; dropping it closes its port.
#[derive(Debug)]
pub struct Sink {
    server: HttpServer,
    state: Arc<Mutex<State>>,
}

/// One request as it arrived.
#[derive(Debug, Clone)]
pub struct Received {
    /// The time at which the body was complete.
    pub at: Instant,
    /// The path and query.
    pub path: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The size of the body on the wire, in bytes.
    pub wire_bytes: usize,
    /// The encoding; `None` if the headers name no known encoding.
    pub encoding: Option<RequestEncoding>,
    /// The content; `None` if it could not be decoded.
    pub message: Option<Message>,
    /// The status of the response; `None` if the connection was closed or left hanging on purpose.
    pub answered: Option<u16>,
}

#[derive(Debug, Default)]
struct State {
    store: Store,
    received: Vec<Received>,
    problems: Vec<String>,
    next_faults: VecDeque<Fault>,
    standing_fault: Option<Fault>,
}

impl Sink {
    /// Listens on `127.0.0.1:port` (any free port if 0) and accepts requests on every path.
    pub async fn start(port: u16) -> Result<Self> {
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let server = HttpServer::start(port, move |request| respond(request, Arc::clone(&shared))).await?;
        Ok(Self { server, state })
    }

    /// Accepts deltas with gaps between their times. A service that was restarted after a trap leaves such
    /// gaps.
    #[must_use]
    pub fn allowing_gaps(self) -> Self {
        self.lock().store = Store::with_gaps();
        self
    }

    /// Returns the address on which the server listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Returns the port on which the server listens.
    pub fn port(&self) -> u16 {
        self.address().port()
    }

    /// Returns a copy of the store.
    pub fn store(&self) -> Store {
        self.lock().store.clone()
    }

    /// Sums the values of all series of the metric `name` with the attributes `wanted`; 0 if there are no
    /// such series.
    pub fn sum(&self, name: &str, wanted: &[(&str, &str)]) -> u64 {
        self.lock().store.sum(name, wanted)
    }

    /// Sums the counts of all series of the histogram `name`.
    pub fn total_count(&self, name: &str) -> u64 {
        self.lock().store.count(name, &[])
    }

    /// Returns every series of the histogram `name`.
    pub fn histogram_points(&self, name: &str) -> Vec<HistogramPoint> {
        self.lock().store.histogram_points(name)
    }

    /// Returns a copy of all requests so far, in order of arrival, including requests that met a fault.
    pub fn received(&self) -> Vec<Received> {
        self.lock().received.clone()
    }

    /// Returns the errors of all invalid requests; empty for a correct exporter, also with a [`Fault`].
    pub fn problems(&self) -> Vec<String> {
        self.lock().problems.clone()
    }

    /// Responds to the next `times` requests with `fault`, after the faults that are already queued.
    pub fn fail_next(&self, times: usize, fault: &Fault) {
        self.lock().next_faults.extend(std::iter::repeat_n(fault.clone(), times));
    }

    /// Responds to every request with `fault` until [`Sink::heal`].
    pub fn fail_always(&self, fault: Fault) {
        self.lock().standing_fault = Some(fault);
    }

    /// Removes all faults.
    pub fn heal(&self) {
        let mut state = self.lock();
        state.standing_fault = None;
        state.next_faults.clear();
    }

    /// Waits until `probe` is ready for the store. The error contains `what`, which names the awaited
    /// state, and the problems of rejected requests.
    pub async fn wait_until<T>(
        &self,
        what: &str,
        limit: Duration,
        mut probe: impl FnMut(&Store) -> Seen<T>,
    ) -> Result<T> {
        let ready = poll::until(what, limit, async || Ok(probe(&self.lock().store))).await;
        ready.with_context(|| {
            let state = self.lock();
            let (requests, metrics) = (state.received.len(), state.store.metrics());
            format!("the sink has {requests} requests, series {metrics:?}, problems {:?}", state.problems)
        })
    }

    /// Waits until `value` returns `expected` for the store. The error contains `what`, which names the
    /// value.
    pub async fn wait_until_equal<T: Debug + PartialEq>(
        &self,
        what: &str,
        expected: T,
        value: impl Fn(&Store) -> T,
    ) -> Result<()> {
        let probe = |store: &Store| {
            let value = value(store);
            Seen::when(value == expected, value)
        };
        self.wait_until(&format!("{what} to be {expected:?}"), LIMIT, probe).await.map(drop)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

async fn respond(
    request: Request<Incoming>,
    state: Arc<Mutex<State>>,
) -> Result<Response<ResponseBody>, CloseConnection> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| CloseConnection)?.to_bytes();
    let encoding = check(&head.method).and_then(|()| RequestEncoding::of(&head.headers));
    let (encoding, decoded) = match encoding {
        Ok(encoding) => {
            let message = encoding.decode(&head.headers, &body);
            (Some(encoding), message.map(|message| (encoding, message)))
        }
        Err(error) => (None, Err(error)),
    };
    let mut received = Received {
        at: Instant::now(),
        path: head.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        headers: head.headers,
        wire_bytes: body.len(),
        encoding,
        message: None,
        answered: None,
    };
    let answer = {
        let mut state = lock(&state);
        let answer = match decoded {
            Ok((encoding, message)) => state.respond(encoding, received.message.insert(message)),
            Err(error) => SinkResponse::Now(state.reject(&error)),
        };
        if let SinkResponse::Now(response) | SinkResponse::Later(_, response) = &answer {
            received.answered = Some(response.status().as_u16());
        }
        state.received.push(received);
        answer
    };
    match answer {
        SinkResponse::Now(response) => Ok(response),
        SinkResponse::Later(delay, response) => {
            tokio::time::sleep(delay).await;
            Ok(response)
        }
        SinkResponse::Never => std::future::pending().await,
        SinkResponse::Close => Err(CloseConnection),
    }
}

enum SinkResponse {
    Now(Response<ResponseBody>),
    Later(Duration, Response<ResponseBody>),
    Never,
    Close,
}

impl State {
    fn respond(&mut self, encoding: RequestEncoding, message: &Message) -> SinkResponse {
        let fault = self.next_faults.pop_front().or_else(|| self.standing_fault.clone());
        let (mut delay, mut is_garbage) = (None, false);
        let partial_success = match fault {
            Some(Fault::Status { status, headers }) => {
                return SinkResponse::Now(fault::rejection(status, headers, FAULT_TEXT));
            }
            Some(Fault::Hang) => return SinkResponse::Never,
            Some(Fault::Close) => return SinkResponse::Close,
            Some(Fault::Truncate) => {
                return SinkResponse::Now(Response::new(ResponseBody::truncated(vec![
                    b'.';
                    TRUNCATED_BYTES
                ])));
            }
            Some(Fault::Flood { bytes }) => {
                return SinkResponse::Now(Response::new(ResponseBody::whole(vec![b'.'; bytes])));
            }
            Some(Fault::Slow { delay: asked }) => {
                delay = Some(asked);
                None
            }
            Some(Fault::Garbage) => {
                is_garbage = true;
                None
            }
            Some(Fault::PartialSuccess { rejected, message }) => {
                Some(ExportMetricsPartialSuccess { rejected_data_points: rejected, error_message: message })
            }
            None => None,
        };
        let mut response = match self.store.take(message) {
            Ok(()) => encoding.success(partial_success),
            Err(error) => self.reject(&error),
        };
        if is_garbage {
            *response.body_mut() = ResponseBody::whole(fault::GARBAGE);
        }
        match delay {
            Some(delay) => SinkResponse::Later(delay, response),
            None => SinkResponse::Now(response),
        }
    }

    fn reject(&mut self, error: &anyhow::Error) -> Response<ResponseBody> {
        let text = format!("{error:#}");
        let response = fault::rejection(StatusCode::BAD_REQUEST, HeaderMap::new(), &text);
        self.problems.push(text);
        response
    }
}

fn check(method: &Method) -> Result<()> {
    ensure!(method == Method::POST, "the method is {method}, not POST");
    Ok(())
}

#[cfg(test)]
mod tests;
