//! One destination: makes requests of the table for it, sends them, and reads what comes back.

mod flush;
mod identity;
mod in_flight;
pub mod tally;

use std::time::Duration;

use log::{info, warn};
use tributary_host::http_call::{self, Call};
use tributary_host::logging::RateLimit;
use tributary_host::shared_data::HostSharedData;
use tributary_host::{clock, random};
use tributary_proto::attributes::clip;
use tributary_proto::config::quoted;
use tributary_proto::duration;
use tributary_proto::exports::{Export, FAULT_BYTES_MAX};
use tributary_proto::otlp::KeyValue;

use self::flush::Flush;
use self::in_flight::InFlight;
use self::tally::{End, NO_ANSWER, Tally, end};
use crate::answer::{self, Answer, Verdict};
use crate::budget::Budget;
use crate::compress::{Compression, Compressor};
use crate::config::Destination;
use crate::counters::Counters;
use crate::delivery::{Delivery, Outcome};
use crate::encode::SizeHint;
use crate::farewell;
use crate::ledger::Ledger;
use crate::points::Temporality;
use crate::request::Request;
use crate::resource::Resource;
use crate::stats::{Reason, Stats};
use crate::table::{Cursor, SliceLimits, Table, Viewer};
use crate::told::{self, Told};

/// Rows of one part of a request, which is written in one go.
pub const PART_ROWS: usize = 100;
/// Cycles that may fail one after the other, before somebody should look.
const PATIENCE_INTERVALS: u32 = 3;
/// How often a fault that lasts is logged.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// One destination and how far it is.
#[derive(Debug)]
pub struct Exporter {
    destination: Destination,
    viewer: Viewer,
    /// The destination's headers and our own.
    headers: Vec<(String, String)>,
    compression: Compression,
    size: SizeHint,
    delivery: Delivery,
    /// What is being written.
    request: Option<Request>,
    in_flight: Option<InFlight>,
    /// What others are told of it.
    state: Export,
    flush: Flush,
    tally: Tally,
    ledger: Ledger,
    /// If it takes deltas.
    told: Option<Told>,
    faults: RateLimit,
}

impl Exporter {
    /// An exporter whose first cycle begins one interval from now.
    pub fn new(destination: Destination, viewer: Viewer, resource: &Resource, now_unix_nano: u64) -> Self {
        let encoding = destination.encoding;
        let compression = encoding.compression(destination.compression);
        let headers = identity::headers(&destination, compression);
        let (interval, timeout, backoff) = (destination.interval, destination.timeout, destination.backoff);
        let patience = interval.saturating_mul(PATIENCE_INTERVALS).saturating_add(timeout);
        let state = Export {
            name: destination.name.clone(),
            complete_unix_nano: now_unix_nano,
            patience_ns: u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX),
            ..Export::default()
        };
        Self {
            viewer,
            headers,
            compression,
            size: SizeHint::new(encoding, resource),
            delivery: Delivery::new(interval, timeout, backoff, now_unix_nano),
            request: None,
            in_flight: None,
            state,
            flush: Flush::default(),
            tally: Tally::default(),
            ledger: Ledger::define(&destination.name),
            told: viewer.delta.map(|_| Told::of(&destination.name)),
            faults: RateLimit::new(LOG_INTERVAL),
            destination,
        }
    }

    /// Goes on with the counters where a service before this one ended.
    pub fn resume(&self, counters: &Counters, table: &mut Table, began_unix_nano: u64) {
        if let Some(told) = &self.told {
            counters.resume(table, self.viewer, &told.recall(&mut HostSharedData), began_unix_nano);
        }
    }

    /// What it is called in metrics about it (OpenTelemetry semantic conventions, `otel.component.*`).
    pub fn component(&self) -> Vec<KeyValue> {
        identity::component(&self.destination)
    }

    /// What became of what was sent.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Where the observations are, and how to say what becomes of them.
    pub fn ledger(&mut self) -> &mut Ledger {
        &mut self.ledger
    }

    /// Says where the observations are.
    pub fn tell_ledger(&mut self, stats: &Stats) {
        self.ledger.tell(stats.observations_aggregated.ever(), &mut self.state);
    }

    /// Points in the request that has no answer yet.
    pub fn points_in_flight(&self) -> u64 {
        self.in_flight.map_or(0, |in_flight| in_flight.points)
    }

    /// Whether a new cycle begins now.
    pub fn begins_cycle(&mut self, now_unix_nano: u64) -> bool {
        self.request.is_none() && self.delivery.due(now_unix_nano) == Some(Cursor::default())
    }

    /// Whether there is something to send now.
    pub fn is_due(&mut self, now_unix_nano: u64) -> bool {
        self.delivery.due(now_unix_nano).is_some()
    }

    /// How it goes.
    pub fn state(&self) -> &Export {
        &self.state
    }

    /// Exports at once, if this flush was not seen yet: what is in the table now is told in a cycle of its own.
    pub fn flush(&mut self, number: u64, now_unix_nano: u64) {
        if number > self.flush.wanted {
            self.flush.wanted = number;
            self.delivery.hasten(now_unix_nano);
        }
    }

    /// Writes what is due, as far as `budget` allows but one part at least, and sends it once it is whole. True if there is
    /// more to do at once. A cycle begins only if it `may`: what the table does not learn from workers is put into it before.
    pub fn export(
        &mut self,
        table: &mut Table,
        resource: &Resource,
        stats: &Stats,
        budget: Budget,
        may_begin: bool,
    ) -> bool {
        loop {
            let now = clock::now_unix_nano();
            let Some(from) = self.delivery.due(now) else { return false };
            if !may_begin && self.begins_cycle(now) {
                return true;
            }
            if let Some(in_flight) = self.in_flight.take() {
                self.failed(stats);
                self.tally.call_ended(Some(NO_ANSWER.into()), in_flight.duration_ns(now));
                self.report(now, "no answer ever came");
            }
            if self.request.is_none() && from == Cursor::default() {
                (self.flush.begun, self.flush.is_refused) = (self.flush.wanted, false);
                self.ledger.cycle_began(stats.observations_aggregated.ever());
            }
            let (encoding, compression) = (self.destination.encoding, self.compression);
            let begin = || Request::new(encoding, Compressor::new(compression), from);
            let mut request = self.request.take().unwrap_or_else(begin);
            match self.write(&mut request, table, resource, stats, now) {
                Some(next) => self.complete(request, next, table, stats, now),
                None => self.request = Some(request),
            }
            if budget.is_spent() {
                return self.is_due(now);
            }
        }
    }

    /// Appends a part to a request. If it is whole then, gives where the next one begins.
    fn write(
        &self,
        request: &mut Request,
        table: &mut Table,
        resource: &Resource,
        stats: &Stats,
        now: u64,
    ) -> Option<Option<Cursor>> {
        let bytes_max = self.destination.max_bytes;
        let bytes_left = bytes_max.saturating_sub(request.bytes());
        let (rows_max, size) = (PART_ROWS, &self.size);
        let limits = SliceLimits { rows_max, bytes_max: bytes_left, size, only_news: false };
        let slice = table.collect(self.viewer, request.at(), &limits, now);
        let next = slice.next;
        let left_out = request.push(resource, &slice, next.unwrap_or(request.at()));
        stats.drop_points(Reason::Encoding, left_out);
        (next.is_none() || request.bytes() >= bytes_max || slice.is_cut).then_some(next)
    }

    /// Sends a request, or passes over what is nothing new.
    fn complete(
        &mut self,
        request: Request,
        next: Option<Cursor>,
        table: &mut Table,
        stats: &Stats,
        now: u64,
    ) {
        let (from, points) = (request.from(), request.points());
        if points > 0 {
            told::remember_time(&mut HostSharedData, table.told_unix_nano());
            self.send(now, &request.finish(), points, from, next, stats);
        } else {
            self.ledger.export(table.arrived(self.viewer, from, next));
            self.delivery.skipped(now, next);
            self.went_on(now, next);
        }
    }

    /// Writes into the log what this destination does not have: the last thing that is done for it. Gives how many points.
    pub fn farewell(&mut self, table: &mut Table, resource: &Resource) -> u64 {
        farewell::tell(table, self.viewer, &self.destination.name, resource, clock::now_unix_nano())
    }

    /// Takes the answer to `call`, if it is to a call of this destination. `with_headers` is false where it broke off.
    pub fn answered(&mut self, call: Call, with_headers: bool, table: &mut Table, stats: &Stats) -> bool {
        let Some(in_flight) = self.in_flight.filter(|in_flight| in_flight.call == call) else { return false };
        self.in_flight = None;
        let header = |name| if with_headers { http_call::answer_header(name) } else { None };
        let (status, content_type, retry_after) =
            (header(":status"), header("content-type"), header("retry-after"));
        let body = if with_headers { http_call::answer_body(answer::BODY_BYTES_MAX) } else { Vec::new() };
        let (now, jitter) = (clock::now_unix_nano(), random::number().unwrap_or(0));
        let answer = Answer {
            status: status.as_deref(),
            content_type: content_type.as_deref(),
            retry_after: retry_after.as_deref(),
            body: &body,
        };
        let verdict = answer.judge(self.destination.encoding, now);
        let Some(outcome) = self.delivery.answered(now, &verdict, jitter) else { return true };
        let end = end(&verdict, status.as_deref());
        self.tally.call_ended(end.clone(), in_flight.duration_ns(now));
        self.count(&verdict, end, in_flight.points, stats);
        self.tell(&verdict, &outcome, status.as_deref(), now);
        let InFlight { from, next, .. } = in_flight;
        match outcome {
            Outcome::Again { .. } => return true,
            Outcome::Taken { .. } => self.ledger.export(table.arrived(self.viewer, from, next)),
            Outcome::GivenUp { .. } => {
                self.ledger.drop(Reason::Collector, table.refused(self.viewer, from, next));
            }
        }
        if let Some(told) = &mut self.told {
            told.remember(&mut HostSharedData, table.bases(self.viewer));
        }
        self.went_on(now, next);
        true
    }

    /// A slice is done with. With the last one, a cycle is: everything in it was taken, or a part was refused.
    fn went_on(&mut self, now_unix_nano: u64, next: Option<Cursor>) {
        if next.is_some() {
            return;
        }
        if !self.flush.is_refused {
            if self.viewer.delta.is_none() {
                self.ledger.cycle_taken();
            }
            self.state.complete_unix_nano = now_unix_nano;
            self.state.flushed = self.flush.begun;
        }
        if self.flush.begun < self.flush.wanted {
            self.delivery.hasten(now_unix_nano);
        }
    }

    fn failed(&mut self, stats: &Stats) {
        stats.exports_failed.add(1);
        self.state.failed = self.state.failed.saturating_add(1);
        self.state.failures = self.state.failures.saturating_add(1);
    }

    fn send(
        &mut self,
        now: u64,
        body: &[u8],
        points: u64,
        from: Cursor,
        next: Option<Cursor>,
        stats: &Stats,
    ) {
        let sent = http_call::send(&http_call::Request {
            cluster: &self.destination.cluster,
            method: "POST",
            path: &self.destination.path,
            authority: &self.destination.authority,
            headers: &self.headers,
            body,
            timeout: self.destination.timeout,
        });
        match sent {
            Ok(call) => {
                self.delivery.sent(now, next);
                self.in_flight = Some(InFlight { call, points, from, next, sent_unix_nano: now });
            }
            Err(status) => {
                self.delivery.unsendable(now, random::number().unwrap_or(0));
                self.failed(stats);
                let cluster = quoted(&self.destination.cluster);
                let reason =
                    format!("Envoy refuses the call ({status:?}): is there a cluster {cluster} with a host?");
                self.report(now, &reason);
            }
        }
    }

    fn count(&mut self, verdict: &Verdict, end: End, points: u64, stats: &Stats) {
        match verdict {
            Verdict::Taken { rejected, .. } => {
                let rejected = points.min(*rejected);
                let taken = points.saturating_sub(rejected);
                stats.exports_succeeded.add(1);
                stats.points_rejected.add(rejected);
                stats.points_exported.add(taken);
                self.tally.points_ended(end, rejected);
                self.tally.points_ended(None, taken);
                self.state.succeeded = self.state.succeeded.saturating_add(1);
                self.state.failures = 0;
                self.state.fault.clear();
            }
            // They go again.
            Verdict::Retry { .. } => self.failed(stats),
            Verdict::Refused { .. } => {
                self.failed(stats);
                stats.drop_points(Reason::Collector, points);
                self.tally.points_ended(end, points);
                self.flush.is_refused = true;
            }
        }
    }

    fn tell(&mut self, verdict: &Verdict, outcome: &Outcome, status: Option<&[u8]>, now_unix_nano: u64) {
        if let Verdict::Taken { rejected, message } = verdict
            && (*rejected > 0 || !message.is_empty())
        {
            self.report(
                now_unix_nano,
                &format!("the collector rejected {rejected} points: {}", quoted(message)),
            );
        }
        match outcome {
            Outcome::Taken { failures: 0 } => {}
            Outcome::Taken { failures } => {
                let name = quoted(&self.destination.name);
                info!("destination {name} takes again, after {failures} failures");
            }
            Outcome::Again { failures, wait } => {
                let status = status.map_or("none".into(), String::from_utf8_lossy);
                let reason = format!(
                    "status {status}, failure {failures} in a row, next try in {}",
                    duration::format(*wait)
                );
                self.report(now_unix_nano, &reason);
            }
            Outcome::GivenUp { status } => {
                self.report(now_unix_nano, &format!("status {status}, which is not to be tried again"));
            }
        }
    }

    /// Says what is wrong, at a bounded rate, and what becomes of what was not taken.
    fn report(&mut self, now_unix_nano: u64, reason: &str) {
        clip(reason, FAULT_BYTES_MAX).clone_into(&mut self.state.fault);
        if let Some(suppressed) = self.faults.permit(now_unix_nano) {
            let name = quoted(&self.destination.name);
            let rest = match self.destination.temporality {
                Temporality::Cumulative => "The sums stay and go with the next export",
                Temporality::Delta => "What can be sent again is kept",
            };
            warn!("destination {name}: {reason}. {rest} ({suppressed} more since)");
        }
    }
}
