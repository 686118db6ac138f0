//! One worker: everything between a stream that ended and a batch in the queue.

use std::hash::BuildHasher;
use std::time::Duration;

use hashbrown::HashSet;
use log::info;
use proxy_wasm::types::{Action, BufferType, MapType};
use tributary_host::counter::AddError;
use tributary_host::shared_data::HostSharedData;
use tributary_host::stats::Counter;
use tributary_host::stream::ContextId;
use tributary_host::{attributes, clock};
use tributary_proto::batch::BatchWriter;
use tributary_proto::limits::{BATCHES_TAKEN, QUEUE_HTTP, QUEUE_TCP};
use tributary_proto::metric::Metric;

use crate::connections::{Connection, Connections};
use crate::counters::Counters;
use crate::credit::{Credit, Standing};
use crate::faults::Faults;
use crate::headers::Headers;
use crate::in_flight::{self, InFlight};
use crate::observation::{Moment, Observation};
use crate::outbox::{HandedOver, HeldBack, Outbox};
use crate::pipe::{BadExpression, Calls, Pipe};
use crate::reading::Way;
use crate::stats::Stats;
use crate::tap::Tap;
use tributary_plan::IS_FULL;
use tributary_plan::config::WorkerConfig;
use tributary_plan::plan::{Part, Streams, When};
use tributary_plan::source::Source;

/// Streams whose response was counted before they ended; the ones past it are counted when they have, and their response
/// carries no count.
const TOLD_MAX: usize = 1 << 20;

/// How often a worker that ends tries to add to counters that others add to: as many as have a core of their own, and each who
/// outruns it has ended then.
const LAST_TRIES: usize = 64;

/// One worker's state: told of streams, and of ticks.
#[derive(Debug)]
pub struct Worker<S> {
    streams: Streams,
    main: Pipe<S>,
    calls: Option<Calls<S>>,
    in_flight: Option<InFlight>,
    counters: Counters,
    /// Streams whose response was counted when its headers came.
    told: HashSet<ContextId, S>,
    /// Whether an access log has told of a stream: the first one shows which kind is logged.
    has_logged: bool,
    /// Only in `worker_filter_full.wasm`, like the tap.
    headers: Option<Headers>,
    tap: Option<Tap<S>>,
    connections: Connections,
    report_interval: Duration,
    max_requests: Option<u64>,
    credit: Credit,
    ledger: Ledger,
    stats: Stats,
    faults: Faults,
}

/// What this worker has told of itself in the statistics, which count over all workers.
#[derive(Debug, Default)]
struct Ledger {
    /// Streams that ended.
    observed: u64,
    observed_told: u64,
    handed_over_told: u64,
    /// Whether each stream is told at once, and not with the next flush.
    each: bool,
}

impl<S: BuildHasher + Clone> Worker<S> {
    /// A worker as configured. `producers` are random, one for each part, `hasher` is randomly seeded. Compiles the plan's
    /// expressions in the current root context.
    ///
    /// # Errors
    /// Envoy refuses one of them.
    pub fn new(config: WorkerConfig, producers: [u64; 3], hasher: S) -> Result<Self, BadExpression> {
        let plan = config.plan;
        let counters = Counters::new(&plan.counters);
        let keys = plan.counters.iter().map(|counter| counter.key.clone()).collect();
        let queue = match plan.streams {
            Streams::Http => QUEUE_HTTP,
            Streams::Tcp => QUEUE_TCP,
        };
        let [main, calls, in_flight] = producers;
        let outbox = |producer, keys, metrics: &[Metric]| {
            let writer = BatchWriter::new(producer, keys, metrics);
            Outbox::new(config.service_vm_id.clone(), queue, writer)
        };
        let pipe = |part: Part, producer, keys, observes| {
            let outbox = outbox(producer, keys, &part.metrics());
            Pipe::new(part, outbox, observes, config.series_max, hasher.clone())
        };
        let in_flight =
            plan.in_flight.then(|| InFlight::new(outbox(in_flight, Vec::new(), &[in_flight::metric()])));
        let main = pipe(plan.main, main, keys, true)?;
        let calls = match plan.calls {
            Some(plan) => {
                let pipe = pipe(plan.part, calls, Vec::new(), false)?;
                Some(Calls { pipe, method: plan.method, status: plan.status, proof: plan.proof })
            }
            None => None,
        };
        let tap = match plan.tap.filter(|_| IS_FULL) {
            Some(tap) => {
                let source = Source::expression(&tap.condition);
                Some(Tap::new(tap, hasher.clone()).map_err(|status| BadExpression { source, status })?)
            }
            None => None,
        };
        if !main.reader.has_lists() {
            info!("this host compiles no CEL list: attributes are read one by one, at a higher cost");
        }
        let (stats, is_heard) = (Stats::define(), config.service_vm_id.is_empty());
        Ok(Self {
            streams: plan.streams,
            main,
            calls,
            in_flight,
            counters,
            told: HashSet::with_hasher(hasher),
            has_logged: false,
            headers: IS_FULL.then(|| Headers::new(plan.rules)),
            tap,
            connections: Connections::default(),
            report_interval: config.report_interval,
            max_requests: config.flush.max_requests,
            credit: Credit::new(is_heard, stats.batches_enqueued, Counter::define(BATCHES_TAKEN)),
            ledger: Ledger { each: plan.observed == When::Request, ..Ledger::default() },
            stats,
            faults: Faults::default(),
        })
    }

    /// A stream has ended that an access log tells of.
    pub fn log_entry(&mut self) {
        if !std::mem::replace(&mut self.has_logged, true)
            && attributes::is_http().is_ok_and(|is_http| is_http != (self.streams == Streams::Http))
        {
            self.faults.misattached(self.streams);
        }
        self.observe(true, true, false, &mut []);
    }

    /// A request has ended of which a log has recorded this.
    pub fn recorded(&mut self, observation: &Observation<'_>) {
        let now_unix_nano = if self.main.needs_time { clock::now_unix_nano() } else { 0 };
        self.main.fold.record(observation, Moment::only(now_unix_nano));
        self.counters.count(observation, false);
        self.observed(true);
    }

    /// A stream of a filter begins.
    pub fn stream_created(&mut self) {
        if let Some(in_flight) = &mut self.in_flight {
            in_flight.began();
        }
    }

    /// The headers of a request came.
    pub fn request_headers(&mut self, stream: ContextId) -> Action {
        if let Some(tap) = &mut self.tap {
            tap.headers(stream, MapType::HttpRequestHeaders);
        }
        self.headers.as_ref().map_or(Action::Continue, Headers::request)
    }

    /// The headers of a response came.
    pub fn response_headers(&mut self, stream: ContextId) {
        // A response may have informational ones before it; it counts once.
        if self.counters.are_told() && self.told.len() < TOLD_MAX && self.told.insert(stream) {
            let told = self.counters.tell(&mut HostSharedData);
            self.report_counters(told);
        }
        if let Some(headers) = &self.headers {
            headers.response();
        }
        if let Some(tap) = &mut self.tap {
            tap.headers(stream, MapType::HttpResponseHeaders);
        }
    }

    /// Bytes of a stream came.
    pub fn data(&mut self, stream: ContextId, buffer: BufferType) {
        if let Some(tap) = &mut self.tap {
            tap.data(stream, buffer);
        }
    }

    /// A stream of a filter has ended. `is_connection` is false for an HTTP stream.
    pub fn stream_ended(&mut self, stream: ContextId, is_connection: bool) {
        if !is_connection && self.streams == Streams::Tcp {
            self.faults.misattached(self.streams);
        }
        if let Some(in_flight) = &mut self.in_flight {
            in_flight.ended();
        }
        if IS_FULL && let Some(tap) = &mut self.tap {
            tap.ended(stream);
        }
        if self.streams == Streams::Http {
            // Nearly always empty: hashing the number would be for nothing.
            let told = IS_FULL && !self.told.is_empty() && self.told.remove(&stream);
            return self.observe(true, true, told, &mut []);
        }
        let mut connection = self.connections.ended(stream, self.main.measures);
        self.observe(!connection.observed, true, false, &mut connection.taken);
    }

    /// A TCP connection was opened.
    pub fn connection_opened(&mut self, stream: ContextId) {
        if self.streams == Streams::Http {
            return self.faults.misattached(self.streams);
        }
        let now = clock::now_unix_nano();
        self.connections.opened(stream, self.main.measures, self.report_interval, now);
    }

    /// Observes connections that have been open for long, hands over everything folded and adds what is pending to the
    /// counters.
    pub fn tick(&mut self) {
        if IS_FULL && let Some(headers) = &mut self.headers {
            headers.refresh();
        }
        self.credit.refresh(&mut HostSharedData, clock::now_unix_nano());
        self.report_connections();
        self.flush();
        self.main.reader.tune();
        if let Some(calls) = &mut self.calls {
            calls.pipe.reader.tune();
        }
    }

    /// Hands over everything folded and adds what is pending to the counters.
    pub fn flush(&mut self) {
        let flushed = self.counters.flush(&mut HostSharedData);
        self.report_counters(flushed);
        self.hand_over();
    }

    /// The same for the last time: what the worker would keep now would be lost.
    pub fn finish(&mut self) {
        self.credit.waive();
        // Where a listener goes, all its workers end at once, and add to the same counters.
        let _ = (1..LAST_TRIES).find(|_| self.counters.flush(&mut HostSharedData).is_ok());
        self.flush();
    }

    fn report_connections(&mut self) {
        if self.streams == Streams::Http || !self.main.reports {
            return;
        }
        let now_unix_nano = clock::now_unix_nano();
        let Pipe { reader, fold, .. } = &mut self.main;
        for (stream, connection) in self.connections.due(self.report_interval, now_unix_nano) {
            // One that the host does not know any more is about to end.
            if stream.enter().is_ok() {
                let Connection { observed, taken, .. } = connection;
                let opened = !std::mem::replace(observed, true);
                let moment = Moment { opened, ended: false, now_unix_nano, taken };
                reader.read_entered(|observation| fold.record(observation, moment));
            }
        }
    }

    /// Reads the current stream and folds what was seen.
    fn observe(&mut self, opened: bool, ended: bool, told: bool, taken: &mut [u64]) {
        let now_unix_nano = if self.main.needs_time { clock::now_unix_nano() } else { 0 };
        let moment = Moment { opened, ended, now_unix_nano, taken };
        let (fold, counters) = (&mut self.main.fold, &mut self.counters);
        let calls = self.calls.as_ref();
        let (way, may_be_call) = self.main.reader.read(|observation, way| {
            fold.record(observation, moment);
            if ended {
                counters.count(observation, told);
            }
            (way, calls.is_some_and(|calls| calls.may_be_one(observation)))
        });
        let mut one_by_one = way == Way::OneByOne;
        if may_be_call && let Some(Calls { pipe, proof, .. }) = &mut self.calls {
            let fold = &mut pipe.fold;
            pipe.reader.read(|observation, way| {
                one_by_one |= way == Way::OneByOne;
                if !observation.bytes(*proof).is_empty() {
                    fold.record(observation, Moment::only(now_unix_nano));
                }
            });
        }
        if one_by_one {
            self.stats.read_one_by_one.add(1);
        }
        self.observed(ended);
    }

    /// What an observation changes besides the fold. Not inlined into both of its callers, for size.
    #[inline(never)]
    fn observed(&mut self, ended: bool) {
        self.ledger.observed = self.ledger.observed.saturating_add(u64::from(ended));
        if self.ledger.each {
            self.tell_observed();
        }
        let counted = self.counters.request(&mut HostSharedData);
        self.report_counters(counted);
        let due = self.max_requests.is_some_and(|most| self.main.fold.observations() >= most);
        // Without a service each request would look for it in vain; ticks do that.
        if due && self.main.outbox.is_open() {
            self.hand_over();
        }
    }

    fn hand_over(&mut self) {
        self.tell_observed();
        if self.credit.is_spent() {
            self.credit.refresh_between(&mut HostSharedData, clock::now_unix_nano());
        }
        let mut held_back = match self.credit.standing() {
            Standing::Good => None,
            Standing::Behind => Some(HeldBack::Behind),
            Standing::Silent => Some(HeldBack::Silent),
        };
        if held_back.is_none() {
            held_back = self.hand_over_pipes();
        }
        if let Some(handed_over) = self.main.outbox.handed_over() {
            let more = handed_over.saturating_sub(self.ledger.handed_over_told);
            self.stats.handed_over.add(more);
            self.ledger.handed_over_told = handed_over;
        }
        if let Some(reason) = held_back {
            self.stats.handovers_held_back.add(1);
            self.faults.held_back(reason, self.main.fold.observations(), self.main.outbox.queue_name());
        }
    }

    /// Adds what was observed to the statistics, before it is handed over: what is in the queue was observed.
    fn tell_observed(&mut self) {
        let told = std::mem::replace(&mut self.ledger.observed_told, self.ledger.observed);
        self.stats.observed.add(self.ledger.observed.saturating_sub(told));
    }

    fn hand_over_pipes(&mut self) -> Option<HeldBack> {
        let calls = self.calls.as_mut().map(|calls| &mut calls.pipe);
        let (mut batches, mut held_back): (u64, _) = (0, None);
        let mut sum_up = |handed_over: HandedOver| {
            batches = batches.saturating_add(handed_over.batches);
            held_back = held_back.or(handed_over.held_back);
        };
        for pipe in [&mut self.main].into_iter().chain(calls) {
            self.stats.values_mistyped.add(pipe.fold.take_mistyped());
            sum_up(pipe.hand_over());
        }
        if let Some(in_flight) = &mut self.in_flight {
            sum_up(in_flight.hand_over());
        }
        self.stats.batches_enqueued.add(batches);
        self.credit.spend(batches);
        held_back
    }

    fn report_counters(&mut self, result: Result<(), AddError>) {
        if let Err(error) = result {
            self.stats.counters_held_back.add(1);
            self.faults.counter(error);
        }
    }
}

#[cfg(test)]
mod tests;
