//! The console: answers the requests of a listener of its own, from what the service puts into shared data.
//!
//! What takes a while, a snapshot or a flush, is answered on a later tick: the request waits until then.

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

/// The page, as it is sent.
const PAGE: &[u8] = include_bytes!("page.html");

/// What the page may do: nothing but what is in it, and ask where it came from.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; \
                           base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Requests that wait in one worker. More than that is not somebody who looks.
const WAITING_MAX: usize = 64;

/// How long a request waits for a snapshot: the service looks for who asks ten times a second.
const SNAPSHOT_TIMEOUT_NS: u64 = 5_000_000_000;

/// How often is looked at what requests wait for.
const TICK: Duration = Duration::from_millis(50);

/// The same while none waits, and there is nothing to do.
const TICK_IDLE: Duration = Duration::from_secs(60);

/// When the first tick comes: until then nobody waits.
const FIRST_TICK: Duration = Duration::from_millis(1);

/// The console in one worker.
#[derive(Debug)]
pub struct Console {
    handover_interval_ns: u64,
    ledger: Ledger,
    waiting: Vec<Waiting>,
    /// Whether a tick has come, so that others will.
    has_ticked: bool,
    said_misattached: bool,
}

/// A request that waits.
#[derive(Debug)]
struct Waiting {
    stream: ContextId,
    since_unix_nano: u64,
    until_unix_nano: u64,
    wish: Wish,
}

/// What for.
#[derive(Clone, Copy, Debug)]
enum Wish {
    Snapshot(View),
    Flush(Flush),
}

/// How a snapshot is shown.
#[derive(Clone, Copy, Debug)]
enum View {
    Prometheus(Format),
    Json,
}

/// What a request is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    content_type: &'static str,
    /// One header more.
    header: Option<(&'static str, &'static str)>,
    body: Vec<u8>,
}

impl Console {
    /// A console of workers that hand over so often.
    pub fn new(handover_interval: Duration) -> Self {
        let handover_interval_ns = u64::try_from(handover_interval.as_nanos()).unwrap_or(u64::MAX);
        // A host that refuses was found out before.
        let _ = clock::tick_every(FIRST_TICK);
        Self {
            handover_interval_ns,
            ledger: Ledger::define(),
            waiting: Vec::new(),
            has_ticked: false,
            said_misattached: false,
        }
    }

    /// Answers a request, or lets it wait.
    pub fn request(&mut self, stream: ContextId) -> Action {
        let now = clock::now_unix_nano();
        let request = Request::read();
        let answer = match &request.path {
            _ if !request.is_allowed() => Answer::not_allowed(&request.path),
            Path::Page => Ok(Answer::page()),
            Path::Health => Ok(health(now)),
            Path::Metrics => self.show(View::Prometheus(Format::accepted(&request.accept)), now, now),
            Path::Snapshot => self.show(View::Json, now, now),
            Path::Flush if request.is_foreign => Ok(Answer::text(403, "not from another site\n".to_owned())),
            Path::Flush => match health::service_fault(now) {
                Some(fault) => Ok(Answer::text(503, format!("nothing can be flushed: {fault}\n"))),
                None => Err((Wish::Flush(Flush::begin(now, self.handover_interval_ns)), request.timeout_ns)),
            },
            Path::Unknown => Ok(Answer::text(404, NOT_FOUND.to_owned())),
        };
        match answer {
            Ok(answer) => answer.send(),
            Err(_) if self.waiting.len() >= WAITING_MAX => {
                Answer::unavailable("too many requests wait").send()
            }
            // It would wait until its client goes.
            Err(_) if !self.has_ticked => Answer::unavailable(TICKLESS).send(),
            Err((wish, timeout_ns)) => {
                let until_unix_nano = now.saturating_add(timeout_ns);
                if self.waiting.is_empty() {
                    // Without ticks it would wait until its client goes; there is nobody to tell.
                    let _ = clock::tick_every(TICK);
                }
                self.waiting.push(Waiting { stream, since_unix_nano: now, until_unix_nano, wish });
                Action::Pause
            }
        }
    }

    /// Answers those that wait for what is there now.
    pub fn tick(&mut self) {
        self.has_ticked = true;
        let now = clock::now_unix_nano();
        for mut waiting in std::mem::take(&mut self.waiting) {
            match self.advance(&mut waiting, now) {
                None => self.waiting.push(waiting),
                // A stream that the host does not know any more needs no answer.
                Some(answer) => {
                    if waiting.stream.enter().is_ok() {
                        answer.send();
                    }
                }
            }
        }
        if self.waiting.is_empty() {
            let _ = clock::tick_every(TICK_IDLE);
        }
    }

    /// Logs that no request can be answered here: the plugin is a network filter or an access logger.
    pub fn misattached(&mut self) {
        if !std::mem::replace(&mut self.said_misattached, true) {
            error!(
                "the console answers requests of an HTTP filter, and this is no HTTP filter: make it one (said once)"
            );
        }
    }

    /// The client has gone, or was answered.
    pub fn stream_ended(&mut self, stream: ContextId) {
        self.waiting.retain(|waiting| waiting.stream != stream);
    }

    /// The answer to one that waits, if it can be given now.
    fn advance(&self, waiting: &mut Waiting, now: u64) -> Option<Answer> {
        // A clock that went backwards would keep it for ever.
        let is_over = now >= waiting.until_unix_nano || now < waiting.since_unix_nano;
        match &mut waiting.wish {
            Wish::Snapshot(view) => match self.show(*view, waiting.since_unix_nano, now) {
                Ok(answer) => Some(answer),
                Err(_) if is_over => Some(Answer::unavailable("no snapshot came")),
                Err(_) => None,
            },
            Wish::Flush(flush) => match flush.advance(now, self.handover_interval_ns, &self.ledger) {
                Progress::Done => Some(Answer::text(200, FLUSHED.to_owned())),
                Progress::Waits(lines) if is_over => {
                    Some(Answer::text(202, format!("still waiting for\n{}\n", lines.join("\n"))))
                }
                Progress::Waits(_) => None,
            },
        }
    }

    /// The snapshot, if there is one that is not older than it may be for who asked then; otherwise one is asked for.
    fn show(&self, view: View, asked_unix_nano: u64, now: u64) -> Result<Answer, (Wish, u64)> {
        let time = HostSharedData.get(SNAPSHOT_TIME_KEY).ok().flatten();
        let time = time.and_then(|(bytes, _)| Some(u64::from_le_bytes(bytes.try_into().ok()?)));
        let is_fresh = time.is_some_and(|time| time.saturating_add(SNAPSHOT_INTERVAL_NS) >= asked_unix_nano);
        if !is_fresh {
            if let Some(fault) = health::service_fault(now) {
                return Ok(Answer::unavailable(&fault));
            }
            let _ = HostSharedData.set(ASKED_KEY, &now.to_le_bytes(), Version::ANY);
            return Err((Wish::Snapshot(view), SNAPSHOT_TIMEOUT_NS));
        }
        let bytes = HostSharedData.get(SNAPSHOT_KEY).ok().flatten().map(|(bytes, _)| bytes);
        let snapshot = Snapshot::read(bytes.unwrap_or_default());
        let exports = health::exports();
        Ok(match view {
            View::Prometheus(format) => Answer {
                content_type: format.content_type(),
                ..Answer::of(prometheus::text(format, &snapshot, &self.ledger, &exports))
            },
            View::Json => Answer {
                content_type: "application/json",
                ..Answer::of(json::text(&snapshot, &self.ledger, &exports, now))
            },
        })
    }
}

const NOT_FOUND: &str = "there is / /metrics /snapshot.json /healthz and, to POST, /flush\n";
const TICKLESS: &str =
    "the console has just started; if this lasts, allow proxy_on_tick in capability_restriction_config";
const FLUSHED: &str = "every destination has everything that was seen before\n";

fn health(now_unix_nano: u64) -> Answer {
    let faults = health::faults(now_unix_nano);
    if faults.is_empty() {
        return Answer::text(200, "ok\n".to_owned());
    }
    Answer::text(503, format!("{}\n", faults.join("\n")))
}

impl Answer {
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

    /// For now: it is worth asking again.
    fn unavailable(reason: &str) -> Self {
        Self { header: Some(("retry-after", "1")), ..Self::text(503, format!("{reason}\n")) }
    }

    #[expect(clippy::unnecessary_wraps, reason = "as every way to an answer")]
    fn not_allowed(path: &Path) -> Result<Self, (Wish, u64)> {
        let allow = path.allow();
        Ok(Self { header: Some(("allow", allow)), ..Self::text(405, format!("allowed here: {allow}\n")) })
    }

    /// Answers the current request with it.
    fn send(self) -> Action {
        let mut headers = vec![
            ("content-type", self.content_type),
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
        ];
        headers.extend(self.header);
        match headers::respond(self.status, &headers, &self.body, "tributary_console") {
            Ok(()) => Action::Pause,
            // Then the listener's routes say what becomes of it.
            Err(_) => Action::Continue,
        }
    }
}

#[cfg(test)]
mod tests;
