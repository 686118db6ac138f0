//! The console in one worker: responds to the requests of its listener, from what the service writes into
//! shared data.
//!
//! A request for a snapshot or a flush waits, and gets its response on a later tick.

use std::time::Duration;

use log::error;
use proxy_wasm::types::Action;
use tributary_host::shared_data::{HostSharedData, SharedData, Version};
use tributary_host::stream::ContextId;
use tributary_host::{clock, headers};
use tributary_proto::console::{ASKED_KEY, SNAPSHOT_INTERVAL_NS, SNAPSHOT_KEY, SNAPSHOT_TIME_KEY};

use crate::flush::{Flush, Progress};
use crate::ledger::Ledger;
use crate::prometheus::Format;
use crate::request::{Path, Request};
use crate::snapshot::Snapshot;
use crate::{health, json, prometheus};

/// The page, without external assets.
const PAGE: &[u8] = include_bytes!("page.html");

/// The content security policy of the page: only its own code, and requests to the console.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; \
                           base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The maximum number of requests that wait in one worker.
const WAITING_MAX: usize = 64;

/// How long a request waits for a snapshot. The service checks ten times a second whether one is requested.
const SNAPSHOT_TIMEOUT_NS: u64 = 5_000_000_000;

/// The tick period while requests wait.
const TICK: Duration = Duration::from_millis(50);

/// The tick period while no request waits.
const TICK_IDLE: Duration = Duration::from_secs(60);

/// The time to the first tick. Until then no request may wait.
const FIRST_TICK: Duration = Duration::from_millis(1);

/// The console in one worker.
#[derive(Debug)]
pub(crate) struct Console {
    flush_interval_ns: u64,
    ledger: Ledger,
    waiting: Vec<Waiting>,
    /// Whether Envoy has called a tick, so that waiting requests get their response.
    has_ticked: bool,
    is_misattachment_logged: bool,
}

/// A request that waits.
#[derive(Debug)]
struct Waiting {
    stream: ContextId,
    since_unix_nano: u64,
    until_unix_nano: u64,
    resource: Pending,
}

/// What a request waits for.
#[derive(Clone, Copy, Debug)]
enum Pending {
    Snapshot(View),
    Flush(Flush),
}

/// The format of a snapshot.
#[derive(Clone, Copy, Debug)]
enum View {
    Prometheus(Format),
    Json,
}

/// The reaction to a request.
enum Reply {
    Now(Response),
    /// Responds when the resource is available, or when the time is over.
    Later {
        resource: Pending,
        timeout_ns: u64,
    },
}

/// A response.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Response {
    status: u16,
    content_type: &'static str,
    /// One additional header.
    header: Option<(&'static str, &'static str)>,
    body: Vec<u8>,
}

impl Console {
    /// Creates a console for workers with this flush interval.
    pub(crate) fn new(flush_interval: Duration) -> Self {
        let flush_interval_ns = u64::try_from(flush_interval.as_nanos()).unwrap_or(u64::MAX);
        // `root.rs` has checked that Envoy allows this call.
        let _ = clock::tick_every(FIRST_TICK);
        Self {
            flush_interval_ns,
            ledger: Ledger::define(),
            waiting: Vec::new(),
            has_ticked: false,
            is_misattachment_logged: false,
        }
    }

    /// Responds to a request, or lets it wait.
    pub(crate) fn request(&mut self, stream: ContextId) -> Action {
        let now = clock::now_unix_nano();
        let request = Request::read();
        let reply = match request.path {
            path if !request.is_allowed() => Reply::Now(Response::not_allowed(path)),
            Path::Page => Reply::Now(Response::page()),
            Path::Health => Reply::Now(health(now)),
            Path::Metrics => self.show(View::Prometheus(Format::accepted(&request.accept)), now, now),
            Path::Snapshot => self.show(View::Json, now, now),
            Path::Flush if request.is_cross_site => Reply::Now(Response::text(
                403,
                "requests from pages of other sites are rejected\n".to_owned(),
            )),
            Path::Flush => match health::service_fault(now) {
                Some(fault) => Reply::Now(Response::text(503, format!("nothing can be flushed: {fault}\n"))),
                None => Reply::Later {
                    resource: Pending::Flush(Flush::start(now, self.flush_interval_ns)),
                    timeout_ns: request.timeout_ns,
                },
            },
            Path::Unknown => Reply::Now(Response::text(404, NOT_FOUND.to_owned())),
        };
        match reply {
            Reply::Now(response) => response.send(),
            Reply::Later { .. } if self.waiting.len() >= WAITING_MAX => {
                Response::unavailable("too many requests are waiting").send()
            }
            // Without ticks it would wait until its client disconnects.
            Reply::Later { .. } if !self.has_ticked => Response::unavailable(TICKLESS).send(),
            Reply::Later { resource, timeout_ns } => {
                let until_unix_nano = now.saturating_add(timeout_ns);
                if self.waiting.is_empty() {
                    let _ = clock::tick_every(TICK);
                }
                self.waiting.push(Waiting { stream, since_unix_nano: now, until_unix_nano, resource });
                Action::Pause
            }
        }
    }

    /// Responds to each waiting request whose resource is available or whose time is over.
    pub(crate) fn tick(&mut self) {
        self.has_ticked = true;
        let now = clock::now_unix_nano();
        for mut waiting in std::mem::take(&mut self.waiting) {
            match self.advance(&mut waiting, now) {
                None => self.waiting.push(waiting),
                // A stream that Envoy does not know any more needs no response.
                Some(response) => {
                    if waiting.stream.enter().is_ok() {
                        response.send();
                    }
                }
            }
        }
        if self.waiting.is_empty() {
            let _ = clock::tick_every(TICK_IDLE);
        }
    }

    /// Logs once that no request arrives here, because the plugin is a network filter or an access logger.
    pub(crate) fn misattached(&mut self) {
        if !std::mem::replace(&mut self.is_misattachment_logged, true) {
            error!(
                "console: this is no HTTP filter, so no request arrives here: attach it as envoy.filters.http.wasm to a \
                 listener of its own (logged once)"
            );
        }
    }

    /// Forgets a request whose client disconnected or got its response.
    pub(crate) fn stream_ended(&mut self, stream: ContextId) {
        self.waiting.retain(|waiting| waiting.stream != stream);
    }

    /// Returns the response to a waiting request; `None` while it has to wait.
    fn advance(&self, waiting: &mut Waiting, now: u64) -> Option<Response> {
        // A clock that was set back would keep it waiting.
        let is_over = now >= waiting.until_unix_nano || now < waiting.since_unix_nano;
        match &mut waiting.resource {
            Pending::Snapshot(view) => match self.show(*view, waiting.since_unix_nano, now) {
                Reply::Now(response) => Some(response),
                Reply::Later { .. } if is_over => {
                    Some(Response::unavailable("the service did not write a snapshot in time"))
                }
                Reply::Later { .. } => None,
            },
            Pending::Flush(flush) => match flush.advance(now, self.flush_interval_ns, &self.ledger) {
                Progress::Done => Some(Response::text(200, FLUSHED.to_owned())),
                Progress::Waiting(lines) if is_over => {
                    Some(Response::text(202, format!("still waiting for\n{}\n", lines.join("\n"))))
                }
                Progress::Waiting(_) => None,
            },
        }
    }

    /// Returns the snapshot if it is recent enough for a request at `asked_unix_nano`; otherwise requests
    /// one.
    fn show(&self, view: View, asked_unix_nano: u64, now: u64) -> Reply {
        let time = HostSharedData.get(SNAPSHOT_TIME_KEY).ok().flatten();
        let time = time.and_then(|(bytes, _)| Some(u64::from_le_bytes(bytes.try_into().ok()?)));
        let is_fresh = time.is_some_and(|time| time.saturating_add(SNAPSHOT_INTERVAL_NS) >= asked_unix_nano);
        if !is_fresh {
            if let Some(fault) = health::service_fault(now) {
                return Reply::Now(Response::unavailable(&fault));
            }
            let _ = HostSharedData.set(ASKED_KEY, &now.to_le_bytes(), Version::ANY);
            return Reply::Later { resource: Pending::Snapshot(view), timeout_ns: SNAPSHOT_TIMEOUT_NS };
        }
        let bytes = HostSharedData.get(SNAPSHOT_KEY).ok().flatten().map(|(bytes, _)| bytes);
        let snapshot = Snapshot::read(bytes.unwrap_or_default());
        let exports = health::exports();
        Reply::Now(match view {
            View::Prometheus(format) => Response {
                content_type: format.content_type(),
                ..Response::of(prometheus::text(format, &snapshot, &self.ledger, &exports))
            },
            View::Json => Response {
                content_type: "application/json",
                ..Response::of(json::text(&snapshot, &self.ledger, &exports, now))
            },
        })
    }
}

const NOT_FOUND: &str = "known paths: / /metrics /snapshot.json /healthz, and /flush for POST\n";
const TICKLESS: &str =
    "the console has just started; if this lasts, allow proxy_on_tick in capability_restriction_config";
const FLUSHED: &str = "every destination has confirmed everything that was observed before this request\n";

fn health(now_unix_nano: u64) -> Response {
    let faults = health::faults(now_unix_nano);
    if faults.is_empty() {
        return Response::text(200, "ok\n".to_owned());
    }
    Response::text(503, format!("{}\n", faults.join("\n")))
}

impl Response {
    fn of(body: Vec<u8>) -> Self {
        Self { status: 200, content_type: "text/plain; charset=utf-8", header: None, body }
    }

    fn text(status: u16, body: String) -> Self {
        Self { status, ..Self::of(body.into_bytes()) }
    }

    fn page() -> Self {
        let header = Some(("content-security-policy", PAGE_POLICY));
        Self { content_type: "text/html; charset=utf-8", header, ..Self::of(PAGE.to_vec()) }
    }

    /// Returns a 503 that asks the client to retry.
    fn unavailable(reason: &str) -> Self {
        Self { header: Some(("retry-after", "1")), ..Self::text(503, format!("{reason}\n")) }
    }

    fn not_allowed(path: Path) -> Self {
        let allow = path.allow();
        Self { header: Some(("allow", allow)), ..Self::text(405, format!("allowed here: {allow}\n")) }
    }

    /// Sends it as the response to the current request.
    fn send(self) -> Action {
        let mut headers = vec![
            ("content-type", self.content_type),
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
        ];
        headers.extend(self.header);
        match headers::respond(self.status, &headers, &self.body, "tributary_console") {
            Ok(()) => Action::Pause,
            // The routes of the listener then respond.
            Err(_) => Action::Continue,
        }
    }
}

#[cfg(test)]
mod tests;
