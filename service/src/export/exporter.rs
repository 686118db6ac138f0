//! The exporter of one destination: writes requests from the table, sends them, and handles the responses.
//!
//! On a tick, the delivery decides whether a slice is due. The request for it grows by [`PART_ROWS`] rows
//! at a time, within the budget of the callback, and is sent when it is complete. The response confirms the
//! slice, discards it or schedules it again. [`status`] counts and logs each result; [`totals`] counts
//! results by error type.

pub mod status;
pub mod totals;

use std::time::Duration;

use tributary_host::http_call::{self, Call};
use tributary_host::{clock, random};
use tributary_proto::config::quoted;

use self::status::{Consequence, ExporterStatus};
use super::delivery::Delivery;
use super::destination::{AmbiguousAction, DestinationConfig};
use super::encode::SizeHint;
use super::ledger::Ledger;
use super::request::ExportRequest;
use super::resource::Resource;
use super::response::{BODY_BYTES_MAX, CollectorResponse, Receipt, ResponseClass};
use super::slice::{SliceLimits, slice};
use crate::aggregate::{Cursor, DestinationId, Table};
use crate::budget::Budget;
use crate::checkpoint::{CounterBaselines, ExportCheckpoint, save_export_time};
use crate::http_calls::HttpCalls;
use crate::stats::{DropReason, ServiceStats};

/// The maximum number of rows that are encoded in one step, before the budget is checked.
pub const PART_ROWS: usize = 100;

/// A header that Envoy's router adds to the responses of servers, but not to the responses that it
/// generates itself (1.36.4, 1.40.0).
const FROM_SERVER: &str = "x-envoy-upstream-service-time";

/// The exporter of one destination.
#[derive(Debug)]
pub struct Exporter {
    /// The destination, with all headers of its requests and their compression.
    pub destination: DestinationConfig,
    pub(super) id: DestinationId,
    size: SizeHint,
    delivery: Delivery,
    /// The request that is being written.
    request: Option<ExportRequest>,
    in_flight: Option<InFlight>,
    /// The results of its exports.
    pub status: ExporterStatus,
    flush: Flush,
    /// The numbers of exported, dropped and waiting observations.
    pub ledger: Ledger,
    /// The confirmed values of counters; `None` unless the destination has delta temporality.
    checkpoint: Option<ExportCheckpoint>,
}

/// The parts of the service that an export uses.
pub struct ExportContext<'a> {
    /// The permission to send.
    pub calls: &'a dyn HttpCalls,
    /// The table that is exported.
    pub table: &'a mut Table,
    /// The resource of the process that exports.
    pub resource: &'a Resource,
    /// The statistics in which results are counted.
    pub stats: &'a ServiceStats,
}

/// Whether an export may start a cycle. Before that, the service writes its own metrics and the shared
/// counters into the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CycleStart {
    /// A new cycle may start.
    Allowed,
    /// No new cycle may start, but the current cycle may continue.
    Deferred,
}

/// A request that was sent.
#[derive(Clone, Copy, Debug)]
struct InFlight {
    call: Call,
    points: u64,
    start: Cursor,
    next: Option<Cursor>,
    sent_unix_nano: u64,
}

/// A response that does not confirm its request, or a response that got lost.
#[derive(Clone, Copy, Debug)]
struct Unconfirmed<'a> {
    status: Option<&'a [u8]>,
    /// The time that the collector asks the service to wait before a retry.
    after: Option<Duration>,
    receipt: Receipt,
}

/// The numbers of two flushes: the last flush that was requested, and the flush that the current cycle
/// serves.
#[derive(Clone, Copy, Debug, Default)]
struct Flush {
    /// The number of the last flush that the console requested.
    requested: u64,
    /// The number of the last flush that was requested before the current cycle started.
    in_cycle: u64,
    /// Whether a request of the current cycle was rejected or dropped.
    is_incomplete: bool,
}

impl Exporter {
    /// Creates an exporter whose first cycle starts one interval from now.
    pub fn new(
        mut destination: DestinationConfig,
        id: DestinationId,
        resource: &Resource,
        now_unix_nano: u64,
    ) -> Self {
        destination.compression = destination.encoding.compression(destination.compression);
        destination.headers = destination.request_headers();
        let (interval, timeout, backoff) = (destination.interval, destination.timeout, destination.backoff);
        Self {
            id,
            size: SizeHint::new(destination.encoding, resource),
            delivery: Delivery::new(interval, timeout, backoff, now_unix_nano),
            request: None,
            in_flight: None,
            status: ExporterStatus::new(&destination, now_unix_nano),
            flush: Flush::default(),
            ledger: Ledger::load(&destination.name),
            checkpoint: id.delta.map(|_| ExportCheckpoint::new(&destination.name)),
            destination,
        }
    }

    /// Returns what the destination had confirmed of the counters in shared data when the previous
    /// service trapped; `None` unless the destination has delta temporality.
    pub fn load_checkpoint(&self) -> Option<(DestinationId, CounterBaselines)> {
        self.checkpoint.as_ref().map(|checkpoint| (self.id, checkpoint.load()))
    }

    /// Publishes the ledger in the statistics and in the state that other plugins can read.
    pub fn publish_ledger(&mut self, stats: &ServiceStats) {
        self.ledger.publish(stats.observations_aggregated.of_process(), &mut self.status.state);
    }

    /// Returns the number of points in the request that has no response yet.
    pub fn points_in_flight(&self) -> u64 {
        self.in_flight.map_or(0, |in_flight| in_flight.points)
    }

    /// Returns whether a new cycle starts now.
    pub fn starts_cycle(&mut self, now_unix_nano: u64) -> bool {
        self.request.is_none() && self.delivery.due(now_unix_nano) == Some(Cursor::default())
    }

    /// Returns whether an export is due now, or a response is overdue.
    pub fn is_due(&mut self, now_unix_nano: u64) -> bool {
        self.delivery.due(now_unix_nano).is_some()
    }

    /// Schedules an export now if the flush with this number is new. A cycle that starts after this call
    /// exports everything in the table.
    pub fn flush(&mut self, number: u64, now_unix_nano: u64) {
        if number > self.flush.requested {
            self.flush.requested = number;
            self.delivery.schedule_now(now_unix_nano);
        }
    }

    /// Writes at least one part of the request that is due, and more parts as far as `budget` allows. Sends
    /// the request when it is complete. Returns whether work is left that is due now.
    pub fn export(
        &mut self,
        context: &mut ExportContext<'_>,
        budget: Budget,
        cycle_start: CycleStart,
    ) -> bool {
        loop {
            let now = clock::now_unix_nano();
            let Some(from) = self.delivery.due(now) else { return false };
            if cycle_start == CycleStart::Deferred && self.starts_cycle(now) {
                return true;
            }
            if let Some(in_flight) = self.in_flight.take() {
                // Envoy has lost the response.
                let lost = Unconfirmed { status: None, after: None, receipt: Receipt::Unknown };
                self.not_confirmed(&in_flight, lost, context.table, context.stats, now);
                continue;
            }
            if self.request.is_none() && from == Cursor::default() {
                (self.flush.in_cycle, self.flush.is_incomplete) = (self.flush.requested, false);
                self.ledger.cycle_started(context.stats.observations_aggregated.of_process());
            }
            let DestinationConfig { encoding, compression, .. } = self.destination;
            let new = || ExportRequest::new(encoding, compression, from);
            let mut request = self.request.take().unwrap_or_else(new);
            match self.write(&mut request, context, now) {
                (next, true) => self.send(request, next, context, now),
                (_, false) => self.request = Some(request),
            }
            if budget.is_spent() {
                return self.is_due(now);
            }
        }
    }

    /// Handles the response to `call`, if this destination sent it. `has_headers` is false if the
    /// response ended before its headers.
    pub fn handle_response(
        &mut self,
        call: Call,
        has_headers: bool,
        table: &mut Table,
        stats: &ServiceStats,
    ) -> bool {
        let Some(in_flight) = self.in_flight.take_if(|in_flight| in_flight.call == call) else {
            return false;
        };
        let header = |name| if has_headers { http_call::response_header(name) } else { None };
        let response = CollectorResponse {
            status: header(":status"),
            content_type: header("content-type"),
            retry_after: header("retry-after"),
            is_from_server: header(FROM_SERVER).is_some(),
            body: if has_headers { http_call::response_body(BODY_BYTES_MAX) } else { Vec::new() },
        };
        let (now, status) = (clock::now_unix_nano(), response.status.as_deref());
        let InFlight { start, next, .. } = in_flight;
        match response.classify(self.destination.encoding, now) {
            ResponseClass::Retryable { after, receipt } => {
                self.not_confirmed(&in_flight, Unconfirmed { status, after, receipt }, table, stats, now);
                return true;
            }
            ResponseClass::Accepted { rejected, message } => {
                let failures = self.delivery.accepted(now, next);
                self.status.record_accepted(&in_flight, (rejected, &message), failures, stats, now);
                self.ledger.export(table.confirm(self.id, start, next));
            }
            ResponseClass::Rejected { status: code } => {
                self.delivery.proceed(now, next);
                self.status.record_rejected(&in_flight, (code, status), stats, now);
                self.flush.is_incomplete = true;
                self.ledger.drop(DropReason::Collector, table.discard(self.id, start, next));
            }
        }
        self.save_checkpoint(table);
        self.slice_done(now, next);
        true
    }

    /// Schedules the slice of a request again. Drops it instead if the collector may have it and the
    /// destination is configured to drop such data.
    fn not_confirmed(
        &mut self,
        in_flight: &InFlight,
        Unconfirmed { status, after, receipt }: Unconfirmed<'_>,
        table: &mut Table,
        stats: &ServiceStats,
        now: u64,
    ) {
        let jitter = random::number().unwrap_or(0);
        let (consequence, retry) = match (receipt, self.id.delta, self.destination.on_ambiguous) {
            (Receipt::Unknown, Some(_), AmbiguousAction::Drop) => {
                let InFlight { start, next, .. } = *in_flight;
                self.flush.is_incomplete = true;
                self.ledger.drop(DropReason::Ambiguous, table.discard(self.id, start, next));
                self.save_checkpoint(table);
                let retry = self.delivery.dropped(now, next, after, jitter);
                self.slice_done(now, next);
                (Consequence::Dropped, retry)
            }
            (Receipt::Unknown, Some(_), AmbiguousAction::Retry) => {
                (Consequence::PossiblyDuplicated, self.delivery.failed(now, after, jitter))
            }
            _ => (Consequence::NothingLost, self.delivery.failed(now, after, jitter)),
        };
        self.status.record_unconfirmed(in_flight, status, retry, consequence, stats, now);
    }

    fn save_checkpoint(&mut self, table: &Table) {
        if let Some(checkpoint) = &mut self.checkpoint {
            checkpoint.save(table.baselines(self.id));
        }
    }

    /// Appends a part to a request. Returns the position in the table at which the next part starts (`None`
    /// after the last part of a cycle), and whether the request is complete.
    fn write(
        &self,
        request: &mut ExportRequest,
        context: &mut ExportContext<'_>,
        now: u64,
    ) -> (Option<Cursor>, bool) {
        let ExportContext { table, resource, stats, .. } = context;
        let (from, request_bytes_max) = (request.end, self.destination.max_bytes);
        let bytes_max = request_bytes_max.saturating_sub(request.bytes());
        let limits = SliceLimits { rows_max: PART_ROWS, bytes_max, size: &self.size, skips_confirmed: false };
        let time_unix_nano = table.export_time(self.id, from, now);
        let slice = slice(table, self.id, from, &limits, time_unix_nano);
        let (next, is_full) = (slice.next, slice.is_full);
        let left_out = request.push(resource, &slice, next.unwrap_or(from));
        stats.drop_points(DropReason::Encoding, left_out);
        table.mark_sent(self.id, from, next, time_unix_nano);
        (next, next.is_none() || is_full || request.bytes() >= request_bytes_max)
    }

    /// Sends a request, or skips an empty one.
    fn send(
        &mut self,
        request: ExportRequest,
        next: Option<Cursor>,
        context: &mut ExportContext<'_>,
        now: u64,
    ) {
        let ExportRequest { points, start, .. } = request;
        if points == 0 {
            self.ledger.export(context.table.confirm(self.id, start, next));
            self.delivery.proceed(now, next);
            return self.slice_done(now, next);
        }
        save_export_time(context.table.last_export_unix_nano());
        let DestinationConfig { cluster, path, authority, headers, timeout, .. } = &self.destination;
        let sent = context.calls.send(&http_call::Request {
            cluster,
            method: "POST",
            path,
            authority,
            headers,
            body: &request.finish(),
            timeout: *timeout,
        });
        match sent {
            Ok(call) => {
                self.delivery.sent(now);
                self.in_flight = Some(InFlight { call, points, start, next, sent_unix_nano: now });
            }
            Err(error) => {
                self.delivery.failed(now, None, random::number().unwrap_or(0));
                let cluster = quoted(&self.destination.cluster);
                let reason = format!("{error}: check cluster {cluster}");
                self.status.record_unsent(&reason, context.stats, now);
            }
        }
    }

    /// Finishes a slice. The last slice completes the cycle, unless a request was rejected or dropped.
    fn slice_done(&mut self, now_unix_nano: u64, next: Option<Cursor>) {
        if next.is_some() {
            return;
        }
        if !self.flush.is_incomplete {
            if self.id.delta.is_none() {
                self.ledger.cycle_accepted();
            }
            let state = &mut self.status.state;
            (state.complete_unix_nano, state.flushed) = (now_unix_nano, self.flush.in_cycle);
        }
        if self.flush.in_cycle < self.flush.requested {
            self.delivery.schedule_now(now_unix_nano);
        }
    }
}

impl InFlight {
    fn duration_ns(&self, now_unix_nano: u64) -> u64 {
        now_unix_nano.saturating_sub(self.sent_unix_nano)
    }
}

#[cfg(test)]
mod tests;
