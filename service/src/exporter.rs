//! One destination: makes requests of the table for it, sends them, and reads what comes back.

mod flush;
mod identity;
mod in_flight;
mod report;
pub mod tally;

use tributary_host::http_call::{self, Call};
use tributary_host::shared_data::HostSharedData;
use tributary_host::{clock, random};
use tributary_proto::config::quoted;
use tributary_proto::exports::Export;
use tributary_proto::otlp::KeyValue;

use self::flush::Flush;
use self::in_flight::InFlight;
use self::report::Report;
use self::tally::Tally;
use crate::answer::{self, Answer};
use crate::budget::Budget;
use crate::compress::{Compression, Compressor};
use crate::config::Destination;
use crate::counters::Counters;
use crate::delivery::{Delivery, Outcome};
use crate::encode::SizeHint;
use crate::farewell;
use crate::ledger::Ledger;
use crate::request::Request;
use crate::resource::Resource;
use crate::stats::{Reason, Stats};
use crate::table::{Cursor, SliceLimits, Table, Viewer};
use crate::told::{self, Told};

/// Rows of one part of a request, which is written in one go.
pub const PART_ROWS: usize = 100;

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
    report: Report,
    flush: Flush,
    ledger: Ledger,
    /// If it takes deltas.
    told: Option<Told>,
}

impl Exporter {
    /// An exporter whose first cycle begins one interval from now.
    pub fn new(destination: Destination, viewer: Viewer, resource: &Resource, now_unix_nano: u64) -> Self {
        let encoding = destination.encoding;
        let compression = encoding.compression(destination.compression);
        let headers = identity::headers(&destination, compression);
        let (interval, timeout, backoff) = (destination.interval, destination.timeout, destination.backoff);
        Self {
            viewer,
            headers,
            compression,
            size: SizeHint::new(encoding, resource),
            delivery: Delivery::new(interval, timeout, backoff, now_unix_nano),
            request: None,
            in_flight: None,
            report: Report::new(&destination, now_unix_nano),
            flush: Flush::default(),
            ledger: Ledger::define(&destination.name),
            told: viewer.delta.map(|_| Told::of(&destination.name)),
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
        self.report.tally()
    }

    /// Where the observations are, and how to say what becomes of them.
    pub fn ledger(&mut self) -> &mut Ledger {
        &mut self.ledger
    }

    /// Says where the observations are.
    pub fn tell_ledger(&mut self, stats: &Stats) {
        self.ledger.tell(stats.observations_aggregated.ever(), self.report.state_mut());
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
        self.report.state()
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
                self.report.unanswered(in_flight.duration_ns(now), stats, now);
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
        self.report.answered(&in_flight, &verdict, &outcome, status.as_deref(), stats, now);
        let InFlight { from, next, .. } = in_flight;
        match outcome {
            Outcome::Again { .. } => return true,
            Outcome::Taken { .. } => self.ledger.export(table.arrived(self.viewer, from, next)),
            Outcome::GivenUp { .. } => {
                self.flush.is_refused = true;
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
            self.report.complete(now_unix_nano, self.flush.begun);
        }
        if self.flush.begun < self.flush.wanted {
            self.delivery.hasten(now_unix_nano);
        }
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
                let cluster = quoted(&self.destination.cluster);
                let reason =
                    format!("Envoy refuses the call ({status:?}): is there a cluster {cluster} with a host?");
                self.report.unsent(&reason, stats, now);
            }
        }
    }
}
