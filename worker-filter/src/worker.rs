//! One worker: everything between a stream that ended and a batch in the queue.

use std::hash::BuildHasher;
use std::time::Duration;

use hashbrown::HashSet;
use log::{info, warn};
use tributary_host::clock;
use tributary_host::counter::AddError;
use tributary_host::headers::Side;
use tributary_host::logging::RateLimit;
use tributary_host::shared_data::HostSharedData;
use tributary_host::stats::Counter;
use tributary_host::stream::{Bytes, StreamId, Verdict};
use tributary_proto::batch::BatchWriter;
use tributary_proto::limits::{QUEUE_HTTP, QUEUE_TCP};
use tributary_proto::metric::Metric;

use crate::connections::{Connection, Connections};
use crate::counters::Counters;
use crate::fold::Fold;
use crate::headers::Headers;
use crate::in_flight::{self, InFlight};
use crate::observation::{Moment, Observation};
use crate::outbox::{HandedOver, HeldBack, Outbox};
use crate::reading::{Reader, Way};
use crate::tap::Tap;
use tributary_plan::config::WorkerConfig;
use tributary_plan::plan::{Measure, Part, Streams, Value};
use tributary_plan::source::Source;

/// How often a fault that lasts is logged.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Streams whose response was counted before they ended; the ones past it are counted when they have, and their response
/// carries no count.
const TOLD_MAX: usize = 1 << 20;

/// One worker's state: told of streams, and of ticks.
#[derive(Debug)]
pub struct Worker<S> {
    streams: Streams,
    main: Pipe<S>,
    calls: Option<Calls<S>>,
    in_flight: Option<InFlight>,
    counters: Counters,
    /// Streams whose response was counted when its headers came.
    told: HashSet<StreamId, S>,
    headers: Headers,
    tap: Option<Tap<S>>,
    connections: Connections,
    report_interval: Duration,
    max_requests: Option<u64>,
    stats: Stats,
    no_service: RateLimit,
    no_counter: RateLimit,
    misattached: RateLimit,
}

/// A part of the plan at work.
#[derive(Debug)]
struct Pipe<S> {
    reader: Reader,
    fold: Fold<S>,
    outbox: Outbox,
    /// Whether its streams are told as observations: each stream is one of a single pipe.
    observes: bool,
    /// How many measures there are.
    measures: usize,
    /// Whether one of them needs to know the time.
    needs_time: bool,
    /// Whether connections can be observed while they are open.
    reports: bool,
}

/// The part for gRPC calls at work, and how to tell them.
#[derive(Debug)]
struct Calls<S> {
    pipe: Pipe<S>,
    method: usize,
    status: usize,
    proof: usize,
}

/// Statistics of all workers together, in Envoy's own.
#[derive(Debug)]
struct Stats {
    /// Observations that took one host call for each value.
    read_one_by_one: Counter,
    /// Values that were of another type than configured.
    values_mistyped: Counter,
    batches_enqueued: Counter,
    /// Hand-overs that had to wait.
    handovers_held_back: Counter,
    /// Additions to shared data that had to wait.
    counters_held_back: Counter,
}

/// An expression that Envoy refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadExpression {
    /// The source with it.
    pub source: Source,
    /// What Envoy said.
    pub status: tributary_host::Status,
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
        let tap = match plan.tap {
            Some(tap) => {
                let source = Source::expression(&tap.condition);
                Some(Tap::new(tap, hasher.clone()).map_err(|status| BadExpression { source, status })?)
            }
            None => None,
        };
        if !main.reader.has_lists() {
            info!("this host compiles no CEL list: attributes are read one by one, at a higher cost");
        }
        Ok(Self {
            streams: plan.streams,
            main,
            calls,
            in_flight,
            counters,
            told: HashSet::with_hasher(hasher),
            headers: Headers::new(plan.rules),
            tap,
            connections: Connections::default(),
            report_interval: config.report_interval,
            max_requests: config.flush.max_requests,
            stats: Stats::define(),
            no_service: RateLimit::new(LOG_INTERVAL),
            no_counter: RateLimit::new(LOG_INTERVAL),
            misattached: RateLimit::new(LOG_INTERVAL),
        })
    }

    /// A stream has ended that an access log tells of.
    pub fn log_entry(&mut self) {
        self.observe(true, true, false, &mut []);
    }

    /// A stream of a filter begins.
    pub fn stream_created(&mut self) {
        if let Some(in_flight) = &mut self.in_flight {
            in_flight.began();
        }
    }

    /// The headers of a request came.
    pub fn request_headers(&mut self, stream: StreamId) -> Verdict {
        if let Some(tap) = &mut self.tap {
            tap.headers(stream, Side::Request);
        }
        self.headers.request()
    }

    /// The headers of a response came.
    pub fn response_headers(&mut self, stream: StreamId) {
        // A response may have informational ones before it; it counts once.
        if self.counters.are_told() && self.told.len() < TOLD_MAX && self.told.insert(stream) {
            let told = self.counters.tell(&mut HostSharedData);
            self.report_counters(told);
        }
        self.headers.response();
        if let Some(tap) = &mut self.tap {
            tap.headers(stream, Side::Response);
        }
    }

    /// Bytes of a stream came.
    pub fn bytes(&mut self, stream: StreamId, bytes: Bytes) {
        if let Some(tap) = &mut self.tap {
            tap.bytes(stream, bytes);
        }
    }

    /// A stream of a filter has ended.
    pub fn stream_ended(&mut self, stream: StreamId) {
        if let Some(in_flight) = &mut self.in_flight {
            in_flight.ended();
        }
        if let Some(tap) = &mut self.tap {
            tap.ended(stream);
        }
        if self.streams == Streams::Http {
            let told = self.told.remove(&stream);
            return self.observe(true, true, told, &mut []);
        }
        let mut connection = self.connections.ended(stream, self.main.measures);
        self.observe(!connection.observed, true, false, &mut connection.taken);
    }

    /// A TCP connection was opened.
    pub fn connection_opened(&mut self, stream: StreamId) {
        let now = clock::now_unix_nano();
        if self.streams == Streams::Http {
            if let Some(suppressed) = self.misattached.permit(now) {
                warn!(
                    "this is a network filter, but its configuration is for HTTP streams: set preset to \"tcp\" \
                     ({suppressed} more since)"
                );
            }
            return;
        }
        self.connections.opened(stream, self.main.measures, self.report_interval, now);
    }

    /// Observes connections that have been open for long, hands over everything folded and adds what is pending to the
    /// counters.
    pub fn tick(&mut self) {
        self.headers.refresh();
        self.report_connections();
        self.flush();
    }

    /// Hands over everything folded and adds what is pending to the counters.
    pub fn flush(&mut self) {
        let flushed = self.counters.flush(&mut HostSharedData);
        self.report_counters(flushed);
        self.hand_over();
    }

    fn report_connections(&mut self) {
        if self.streams == Streams::Http || !self.main.reports {
            return;
        }
        let now_unix_nano = clock::now_unix_nano();
        let Pipe { reader, fold, .. } = &mut self.main;
        for (stream, connection) in self.connections.due(self.report_interval, now_unix_nano) {
            // One that the host does not know any more is about to end.
            if stream.enter() {
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
        if way == Way::OneByOne {
            self.stats.read_one_by_one.add(1);
        }
        if may_be_call && let Some(Calls { pipe, proof, .. }) = &mut self.calls {
            let fold = &mut pipe.fold;
            pipe.reader.read(|observation, _| {
                if !observation.bytes(*proof).is_empty() {
                    fold.record(observation, Moment::only(now_unix_nano));
                }
            });
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
        let calls = self.calls.as_mut().map(|calls| &mut calls.pipe);
        let mut held_back = None;
        for pipe in [&mut self.main].into_iter().chain(calls) {
            self.stats.values_mistyped.add(pipe.fold.take_mistyped());
            let handed_over = pipe.hand_over();
            self.stats.batches_enqueued.add(handed_over.batches);
            held_back = held_back.or(handed_over.held_back);
        }
        if let Some(in_flight) = &mut self.in_flight {
            let handed_over = in_flight.hand_over();
            self.stats.batches_enqueued.add(handed_over.batches);
            held_back = held_back.or(handed_over.held_back);
        }
        let Some(reason) = held_back else { return };
        self.stats.handovers_held_back.add(1);
        if let Some(suppressed) = self.no_service.permit(clock::now_unix_nano()) {
            let (waiting, queue) = (self.main.fold.observations(), self.main.outbox.queue_name());
            match reason {
                HeldBack::NoService => warn!(
                    "no service has registered the queue \"{queue}\": {waiting} requests wait in this worker, none is \
                     lost. Is service.wasm a bootstrap extension with the same vm_id? ({suppressed} more since)"
                ),
                HeldBack::Host(status) => warn!(
                    "the host refused a batch ({status:?}): {waiting} requests wait in this worker, none is lost \
                     ({suppressed} more since)"
                ),
            }
        }
    }

    fn report_counters(&mut self, result: Result<(), AddError>) {
        let Err(error) = result else { return };
        self.stats.counters_held_back.add(1);
        // Contention passes by itself, with the next flush.
        if error != AddError::Contended
            && let Some(suppressed) = self.no_counter.permit(clock::now_unix_nano())
        {
            warn!(
                "a counter in shared data cannot be written ({error:?}); its additions wait ({suppressed} more since)"
            );
        }
    }
}

impl<S: BuildHasher + Clone> Pipe<S> {
    fn new(
        part: Part,
        mut outbox: Outbox,
        observes: bool,
        series_max: usize,
        hasher: S,
    ) -> Result<Self, BadExpression> {
        let reader = match Reader::new(&part.sources) {
            Ok(reader) => reader,
            Err(refused) => {
                let source = part.sources.get(refused.source).cloned();
                let source = source.unwrap_or_else(|| Source::expression(""));
                return Err(BadExpression { source, status: refused.status });
            }
        };
        // On a worker the service is there by now; on the main thread, where no stream ever ends, it may not be (Envoy 1.40).
        // Whoever is too early finds it on a tick.
        let _ = outbox.open();
        let is_since = |measure: &Measure| matches!(measure.value, Value::Since(_));
        let needs_time = part.trace.is_some() || part.measures.iter().any(is_since);
        let measures = part.measures.len();
        let reports = part.is_placed_by_properties();
        let fold = Fold::new(part, series_max, hasher);
        Ok(Self { reader, fold, outbox, observes, measures, needs_time, reports })
    }

    fn hand_over(&mut self) -> HandedOver {
        let (fold, observes) = (&mut self.fold, self.observes);
        self.outbox.hand_over(!fold.is_empty(), |writer, batches| {
            fold.take(|attributes, observations, points, exemplars| {
                let observations = if observes { observations } else { 0 };
                batches.extend(writer.push(attributes, observations, points, exemplars));
            });
        })
    }
}

impl<S> Calls<S> {
    /// Whether a stream may be a gRPC call: each is a POST, and its answer, if there is one, has status 200 (gRPC,
    /// `doc/PROTOCOL-HTTP2.md`).
    fn may_be_one(&self, observation: &Observation<'_>) -> bool {
        observation.bytes(self.method) == b"POST"
            && observation.integer(self.status).is_none_or(|status| status <= 0 || status == 200)
    }
}

impl Stats {
    fn define() -> Self {
        Self {
            read_one_by_one: Counter::define("tributary_read_one_by_one"),
            values_mistyped: Counter::define("tributary_values_mistyped"),
            batches_enqueued: Counter::define("tributary_batches_enqueued"),
            handovers_held_back: Counter::define("tributary_handovers_held_back"),
            counters_held_back: Counter::define("tributary_counters_held_back"),
        }
    }
}

#[cfg(test)]
mod tests;
