//! The console in one worker: responds to the requests of its listener with data that the service writes
//! to shared data.
//!
//! A request for a snapshot or a flush waits until a later tick sends its response.

use std::time::Duration;

use log::error;
use proxy_wasm::types::Action;
use tributary_host::shared_data::{HostSharedData, SharedData, Version};
use tributary_host::stream::ContextId;
use tributary_host::{clock, headers};
use tributary_proto::console::{ASKED_KEY, SNAPSHOT_INTERVAL_NS, SNAPSHOT_KEY, SNAPSHOT_TIME_KEY};

use crate::flush::Flush;
use crate::ledger::LedgerCounters;
use crate::prometheus::ExpositionFormat;
use crate::request::{ConsoleRequest, Path};
use crate::snapshot::Snapshot;
use crate::{health, json, prometheus};

/// The page, without external assets.
const PAGE: &[u8] = include_bytes!("page.html");

/// The content security policy of the page: only its own code, and requests to the console.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
                           connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The maximum number of requests that wait in one worker.
const WAITING_MAX: usize = 64;

/// How long a request waits for a snapshot. The service checks every 200 ms whether one is requested.
const SNAPSHOT_TIMEOUT_NS: u64 = 5_000_000_000;

/// The tick period while requests wait.
const TICK: Duration = Duration::from_millis(50);

/// The tick period while no request waits.
const TICK_IDLE: Duration = Duration::from_secs(60);

/// The time to the first tick. No request may wait before the first tick.
const FIRST_TICK: Duration = Duration::from_millis(1);

/// The console in one worker.
#[derive(Debug)]
pub(crate) struct Console {
    flush_interval_ns: u64,
    ledger: LedgerCounters,
    waiting: Vec<Waiting>,
    /// Whether a tick has run. Without ticks, waiting requests would never get a response.
    has_ticked: bool,
    is_misattachment_logged: bool,
}

/// A request that waits for its response.
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
    Prometheus(ExpositionFormat),
    Json,
}

/// A response of the console.
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
            ledger: LedgerCounters::define(),
            waiting: Vec::new(),
            has_ticked: false,
            is_misattachment_logged: false,
        }
    }

    /// Responds to a request, or makes it wait for a later tick.
    pub(crate) fn request(&mut self, stream: ContextId) -> Action {
        let now = clock::now_unix_nano();
        match self.start(stream, now) {
            Err(response) => response.send(),
            Ok(waiting) => {
                if self.waiting.is_empty() {
                    let _ = clock::tick_every(TICK);
                }
                self.waiting.push(waiting);
                Action::Pause
            }
        }
    }

    /// Reads the current request. `Ok` is a request that waits; `Err` is the response to send immediately.
    fn start(&self, stream: ContextId, now: u64) -> Result<Waiting, Response> {
        let request = ConsoleRequest::read();
        let (resource, timeout_ns) = match request.path {
            path if !request.is_allowed() => return Err(Response::not_allowed(path)),
            Path::Page => return Err(Response::page()),
            Path::Health => return Err(health(now)),
            Path::Unknown => return Err(Response::text(404, NOT_FOUND)),
            Path::Flush if request.is_cross_site => return Err(Response::text(403, CROSS_SITE)),
            Path::Flush => {
                if let Some(fault) = health::service_fault(now) {
                    return Err(Response::text(503, &format!("nothing can be flushed: {fault}\n")));
                }
                (Pending::Flush(Flush::start(now, self.flush_interval_ns)), request.timeout_ns)
            }
            Path::Metrics => {
                let format = ExpositionFormat::accepted(&request.accept);
                (Pending::Snapshot(View::Prometheus(format)), SNAPSHOT_TIMEOUT_NS)
            }
            Path::Snapshot => (Pending::Snapshot(View::Json), SNAPSHOT_TIMEOUT_NS),
        };
        if let Pending::Snapshot(view) = resource
            && let Some(response) = self.show(view, now, now)
        {
            return Err(response);
        }
        if self.waiting.len() >= WAITING_MAX {
            return Err(Response::unavailable("too many requests are waiting"));
        }
        // Without ticks, the request would wait until its client disconnects.
        if !self.has_ticked {
            return Err(Response::unavailable(TICKLESS));
        }
        let until_unix_nano = now.saturating_add(timeout_ns);
        Ok(Waiting { stream, since_unix_nano: now, until_unix_nano, resource })
    }

    /// Responds to each waiting request whose resource is available or whose time is over.
    pub(crate) fn tick(&mut self) {
        self.has_ticked = true;
        let now = clock::now_unix_nano();
        for mut waiting in std::mem::take(&mut self.waiting) {
            match self.advance(&mut waiting, now) {
                None => self.waiting.push(waiting),
                // A stream that Envoy no longer knows needs no response.
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
                "console: not attached as an HTTP filter, so no request arrives: attach it as \
                 envoy.filters.http.wasm to a listener of its own (logged once)"
            );
        }
    }

    /// Removes a waiting request: its client disconnected, or got its response.
    pub(crate) fn stream_ended(&mut self, stream: ContextId) {
        self.waiting.retain(|waiting| waiting.stream != stream);
    }

    /// Returns the response to a waiting request; `None` while it has to wait.
    fn advance(&self, waiting: &mut Waiting, now: u64) -> Option<Response> {
        // If the clock was set back, the request would wait too long, so it ends now.
        let is_over = now >= waiting.until_unix_nano || now < waiting.since_unix_nano;
        match &mut waiting.resource {
            Pending::Snapshot(view) => self.show(*view, waiting.since_unix_nano, now).or_else(|| {
                is_over.then(|| Response::unavailable("the service did not write a snapshot in time"))
            }),
            Pending::Flush(flush) => {
                let lines = flush.advance(now, self.flush_interval_ns, &self.ledger);
                if lines.is_empty() {
                    return Some(Response::text(200, FLUSHED));
                }
                is_over.then(|| Response::text(202, &format!("still waiting for\n{}\n", lines.join("\n"))))
            }
        }
    }

    /// Returns a response with the snapshot if it is recent enough for a request at `asked_unix_nano`.
    /// Otherwise requests a snapshot, and returns `None` if the service will write it.
    fn show(&self, view: View, asked_unix_nano: u64, now: u64) -> Option<Response> {
        let time = HostSharedData.get(SNAPSHOT_TIME_KEY).ok().flatten();
        let time = time.and_then(|(bytes, _)| Some(u64::from_le_bytes(bytes.try_into().ok()?)));
        let is_fresh = time.is_some_and(|time| time.saturating_add(SNAPSHOT_INTERVAL_NS) >= asked_unix_nano);
        if !is_fresh {
            let fault = health::service_fault(now);
            if fault.is_none() {
                let _ = HostSharedData.set(ASKED_KEY, &now.to_le_bytes(), Version::ANY);
            }
            return fault.map(|fault| Response::unavailable(&fault));
        }
        let bytes = HostSharedData.get(SNAPSHOT_KEY).ok().flatten().map(|(bytes, _)| bytes);
        let snapshot = Snapshot::read(bytes.unwrap_or_default());
        let exports = health::exports();
        let (content_type, body) = match view {
            View::Prometheus(format) => {
                (format.content_type(), prometheus::text(format, &snapshot, &self.ledger, &exports))
            }
            View::Json => ("application/json", json::text(&snapshot, &self.ledger, &exports, now)),
        };
        Some(Response { content_type, ..Response::of(body) })
    }
}

const NOT_FOUND: &str = "known paths: / /metrics /snapshot.json /healthz, and /flush for POST\n";
const CROSS_SITE: &str = "requests from pages of other sites are rejected\n";
const TICKLESS: &str =
    "the console has just started; if this lasts, allow proxy_on_tick in capability_restriction_config";
const FLUSHED: &str = "every destination has confirmed everything that was observed before this request\n";

fn health(now_unix_nano: u64) -> Response {
    let faults = health::faults(now_unix_nano);
    if faults.is_empty() {
        return Response::text(200, "ok\n");
    }
    Response::text(503, &format!("{}\n", faults.join("\n")))
}

impl Response {
    fn of(body: Vec<u8>) -> Self {
        Self { status: 200, content_type: "text/plain; charset=utf-8", header: None, body }
    }

    fn text(status: u16, body: &str) -> Self {
        Self { status, ..Self::of(body.as_bytes().to_vec()) }
    }

    fn page() -> Self {
        let header = Some(("content-security-policy", PAGE_POLICY));
        Self { content_type: "text/html; charset=utf-8", header, ..Self::of(PAGE.to_vec()) }
    }

    /// Returns a response with status 503 that asks the client to retry.
    fn unavailable(reason: &str) -> Self {
        Self { header: Some(("retry-after", "1")), ..Self::text(503, &format!("{reason}\n")) }
    }

    fn not_allowed(path: Path) -> Self {
        let allow = path.allow();
        Self { header: Some(("allow", allow)), ..Self::text(405, &format!("allowed here: {allow}\n")) }
    }

    /// Sends this response to the current request.
    fn send(self) -> Action {
        let mut headers = vec![
            ("content-type", self.content_type),
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
        ];
        headers.extend(self.header);
        match headers::respond(self.status, &headers, &self.body, "tributary_console") {
            Ok(()) => Action::Pause,
            // If Envoy rejects the response, the routes of the listener respond instead.
            Err(_) => Action::Continue,
        }
    }
}

#[cfg(test)]
mod tests;
