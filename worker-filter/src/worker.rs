//! One worker: everything between the end of a stream and a batch in the queue.
//!
//! When a stream ends, the pipeline of the main metrics reads its values and adds them to its fold as one
//! observation. If the plan has metrics of gRPC calls and the request may be a call, a second pipeline does
//! the same with the values of the call. Counters and statistics are updated, too. On a tick, or after
//! `flush.max_requests` requests, the folds are flushed through their outboxes. If backpressure blocks a
//! flush, `faults` logs it.

use std::hash::BuildHasher;
use std::time::Duration;

use hashbrown::HashSet;
use log::info;
use proxy_wasm::types::{Action, BufferType, MapType};
use tributary_host::shared_data::HostSharedData;
use tributary_host::stats::Counter;
use tributary_host::stream::ContextId;
use tributary_host::{attributes, clock};
use tributary_proto::batch::BatchWriter;
use tributary_proto::limits::{BATCHES_DEQUEUED, QUEUE_HTTP, QUEUE_TCP};
use tributary_proto::metric::Metric;

use crate::backpressure::{BATCHES_BETWEEN_TICKS_MAX, BATCHES_MAX, Backpressure};
use crate::connections::{Connection, Connections};
use crate::counters::{AddFailure, Counters};
use crate::faults::Faults;
use crate::headers::Headers;
use crate::in_flight::{self, InFlight};
use crate::observation::{Observation, Phase, Progress};
use crate::outbox::{FlushBlocked, FlushOutcome, Outbox};
use crate::pipeline::{GrpcPipeline, Pipeline, is_internal_redirect};
use crate::reading::{BadExpression, ReadMode};
use crate::stats::Stats;
use crate::tap::Tap;
use tributary_plan::IS_FULL;
use tributary_plan::config::WorkerConfig;
use tributary_plan::plan::{GrpcCalls, MetricGroup, Streams, When};
use tributary_plan::source::Source;

/// The maximum number of streams that the worker remembers as counted at their response. Further streams
/// are counted when they end, and their responses get no counter headers.
const COUNTED_AT_RESPONSE_MAX: usize = 1 << 20;

/// The number of times that a worker that shuts down tries to add its pending counts to the counters. All
/// workers of a listener shut down at once. An attempt can fail only because a worker on another core has
/// added its counts at the same time, and that worker is then done.
const LAST_ATTEMPTS: usize = 64;

/// The state of one worker.
#[derive(Debug)]
pub struct Worker<S> {
    streams: Streams,
    main: Pipeline<S>,
    grpc: Option<GrpcPipeline<S>>,
    in_flight: Option<InFlight>,
    counters: Counters,
    /// Streams that were counted when the headers of their response arrived.
    counted_at_response: HashSet<ContextId, S>,
    /// Whether Envoy has written an access log entry. The first entry shows whether HTTP or TCP streams are
    /// logged.
    has_logged: bool,
    /// Only in `worker_filter_full.wasm`, like the tap.
    headers: Option<Headers>,
    tap: Option<Tap<S>>,
    connections: Connections,
    report_interval: Duration,
    max_requests: Option<u64>,
    backpressure: Backpressure,
    totals: Totals,
    stats: Stats,
    faults: Faults,
}

/// The observations of this worker, and how many of them are in the statistics, which are sums over all
/// workers.
#[derive(Debug, Default)]
struct Totals {
    /// The number of streams that have ended.
    observed: u64,
    observed_in_stats: u64,
    enqueued_in_stats: u64,
    /// Whether the statistic of observations is updated after each stream instead of at the next flush.
    updates_each: bool,
}

impl<S: BuildHasher + Clone> Worker<S> {
    /// Creates a worker as configured, and compiles the plan's expressions in the current root context.
    ///
    /// `producers` are random numbers, one for each outbox; `hasher` has a random seed.
    ///
    /// # Errors
    /// Envoy rejects an expression.
    pub fn new(config: WorkerConfig, producers: [u64; 3], hasher: S) -> Result<Self, BadExpression> {
        let plan = config.plan;
        let keys = plan.counters.iter().map(|counter| counter.key.clone()).collect();
        let counters = Counters::new(plan.counters);
        let queue = match plan.streams {
            Streams::Http => QUEUE_HTTP,
            Streams::Tcp => QUEUE_TCP,
        };
        let [main, grpc, in_flight] = producers;
        let outbox = |producer, keys, metrics: &[Metric]| {
            let writer = BatchWriter::new(producer, keys, metrics);
            Outbox::new(config.service_vm_id.clone(), queue, writer)
        };
        let pipeline = |group: MetricGroup, producer, keys, reports_observations| {
            let outbox = outbox(producer, keys, &group.metrics());
            Pipeline::new(group, outbox, reports_observations, config.series_max, hasher.clone())
        };
        let in_flight =
            plan.in_flight.then(|| InFlight::new(outbox(in_flight, Vec::new(), &[in_flight::metric()])));
        let main = pipeline(plan.main, main, keys, true)?;
        let grpc = plan.calls.map(|GrpcCalls { group, method, status, indicator }| {
            let pipeline = pipeline(group, grpc, Vec::new(), false);
            pipeline.map(|pipeline| GrpcPipeline { pipeline, method, status, indicator })
        });
        let grpc = grpc.transpose()?;
        let tap = plan.tap.filter(|_| IS_FULL).map(|tap| {
            let source = Source::expression(&tap.condition);
            Tap::new(tap, hasher.clone()).map_err(|status| BadExpression { source, status })
        });
        let tap = tap.transpose()?;
        if !main.reader.has_lists() {
            info!(
                "Envoy cannot compile CEL lists, so attributes are read one by one: each request costs more"
            );
        }
        let (stats, has_heartbeat) = (Stats::define(), config.service_vm_id.is_empty());
        let dequeued = Counter::define(BATCHES_DEQUEUED);
        Ok(Self {
            streams: plan.streams,
            main,
            grpc,
            in_flight,
            counters,
            counted_at_response: HashSet::with_hasher(hasher),
            has_logged: false,
            headers: IS_FULL.then(|| Headers::new(plan.rules)),
            tap,
            connections: Connections::default(),
            report_interval: config.report_interval,
            max_requests: config.flush.max_requests,
            backpressure: Backpressure::new(has_heartbeat, stats.batches_enqueued, dequeued),
            totals: Totals { updates_each: plan.observed == When::Request, ..Totals::default() },
            stats,
            faults: Faults::default(),
        })
    }

    /// Observes a stream for which Envoy writes an access log entry.
    pub fn log_entry(&mut self) {
        if !std::mem::replace(&mut self.has_logged, true)
            && attributes::is_http().is_ok_and(|is_http| is_http != (self.streams == Streams::Http))
        {
            self.faults.misattached(self.streams);
        }
        self.observe(Phase::Whole, false, &mut []);
    }

    /// Counts a request whose values were read from a log stream.
    pub fn recorded(&mut self, observation: &Observation<'_>) {
        let now_unix_nano = if self.main.needs_time { clock::now_unix_nano() } else { 0 };
        self.main.fold.record(observation, Progress::whole(now_unix_nano));
        self.counters.count(observation, false);
        self.after_observation();
    }

    /// Counts the start of a filter's stream.
    pub fn stream_created(&mut self) {
        if let Some(in_flight) = &mut self.in_flight {
            in_flight.start();
        }
    }

    /// Logs and changes the headers of a request, or responds to it.
    pub fn request_headers(&mut self, stream: ContextId) -> Action {
        if let Some(tap) = &mut self.tap {
            tap.headers(stream, MapType::HttpRequestHeaders);
        }
        self.headers.as_ref().map_or(Action::Continue, Headers::request)
    }

    /// Counts a response if a counter is written into its headers; then changes and logs the headers.
    pub fn response_headers(&mut self, stream: ContextId) {
        // Counts each stream only once: informational responses may arrive before the final response.
        if self.counters.count_responses()
            && self.counted_at_response.len() < COUNTED_AT_RESPONSE_MAX
            && self.counted_at_response.insert(stream)
        {
            let counted = self.counters.response(&mut HostSharedData);
            self.report_counters(counted);
        }
        if let Some(headers) = &self.headers {
            headers.response();
        }
        if let Some(tap) = &mut self.tap {
            tap.headers(stream, MapType::HttpResponseHeaders);
        }
    }

    /// Logs the bytes of a stream with the tap.
    pub fn data(&mut self, stream: ContextId, buffer: BufferType) {
        if let Some(tap) = &mut self.tap {
            tap.data(stream, buffer);
        }
    }

    /// Observes a filter's stream that has ended. `is_connection` is false for an HTTP stream.
    pub fn stream_ended(&mut self, stream: ContextId, is_connection: bool) {
        if !is_connection && self.streams == Streams::Tcp {
            self.faults.misattached(self.streams);
        }
        if let Some(in_flight) = &mut self.in_flight {
            in_flight.end();
        }
        if IS_FULL && let Some(tap) = &mut self.tap {
            tap.ended(stream);
        }
        if self.streams == Streams::Http {
            // The set is nearly always empty. Then the number of the stream need not be hashed.
            let is_counted =
                IS_FULL && !self.counted_at_response.is_empty() && self.counted_at_response.remove(&stream);
            return self.observe(Phase::Whole, is_counted, &mut []);
        }
        let mut connection = self.connections.ended(stream, self.main.measures);
        let phase = if connection.observed { Phase::Last } else { Phase::Whole };
        self.observe(phase, false, &mut connection.counted);
    }

    /// Registers a TCP connection that was opened.
    pub fn connection_opened(&mut self, stream: ContextId) {
        if self.streams == Streams::Http {
            return self.faults.misattached(self.streams);
        }
        let now = clock::now_unix_nano();
        self.connections.opened(stream, self.main.measures, self.report_interval, now);
    }

    /// Observes open connections that are due, flushes the folds and adds pending counts to the counters.
    pub fn tick(&mut self) {
        if IS_FULL && let Some(headers) = &mut self.headers {
            headers.refresh();
        }
        self.backpressure.check(&mut HostSharedData, clock::now_unix_nano(), BATCHES_MAX);
        self.observe_open_connections();
        self.flush();
        self.main.reader.adapt_guards();
        if let Some(grpc) = &mut self.grpc {
            grpc.pipeline.reader.adapt_guards();
        }
    }

    /// Flushes the folds and adds pending counts to the counters.
    pub fn flush(&mut self) {
        let flushed = self.counters.flush(&mut HostSharedData);
        self.report_counters(flushed);
        self.flush_folds();
    }

    /// Flushes for the last time, even if the service is behind, because the data that the worker keeps would
    /// be lost.
    pub fn finish(&mut self) {
        self.backpressure.bypass();
        let _ = (1..LAST_ATTEMPTS).find(|_| self.counters.flush(&mut HostSharedData).is_ok());
        self.flush();
    }

    fn observe_open_connections(&mut self) {
        if self.streams == Streams::Http || !self.main.observes_open {
            return;
        }
        let now_unix_nano = clock::now_unix_nano();
        let Pipeline { reader, fold, .. } = &mut self.main;
        for (stream, connection) in self.connections.due(self.report_interval, now_unix_nano) {
            // Entering fails if the connection is about to end, because Envoy then no longer knows it.
            if stream.enter().is_ok() {
                let Connection { observed, counted, .. } = connection;
                let phase = if std::mem::replace(observed, true) { Phase::Next } else { Phase::First };
                let progress = Progress { phase, now_unix_nano, counted };
                reader.read_entered(|observation| fold.record(observation, progress));
            }
        }
    }

    /// Reads and folds the current stream, which has ended, unless its request continues in another stream.
    fn observe(&mut self, phase: Phase, counted_at_response: bool, counted: &mut [u64]) {
        let now_unix_nano = if self.main.needs_time { clock::now_unix_nano() } else { 0 };
        let progress = Progress { phase, now_unix_nano, counted };
        let (fold, counters) = (&mut self.main.fold, &mut self.counters);
        let (grpc, status, is_http) = (self.grpc.as_ref(), self.main.status, self.streams == Streams::Http);
        let ended = self.main.reader.read(|observation, mode| {
            if is_http && is_internal_redirect(observation, status) {
                return None;
            }
            fold.record(observation, progress);
            counters.count(observation, counted_at_response);
            Some((mode, grpc.is_some_and(|grpc| grpc.may_be_call(observation))))
        });
        let Some((mode, may_be_call)) = ended else { return };
        let mut one_by_one = mode == ReadMode::OneByOne;
        if may_be_call && let Some(GrpcPipeline { pipeline, indicator, .. }) = &mut self.grpc {
            let fold = &mut pipeline.fold;
            pipeline.reader.read(|observation, mode| {
                one_by_one |= mode == ReadMode::OneByOne;
                if !observation.bytes(*indicator).is_empty() {
                    fold.record(observation, Progress::whole(now_unix_nano));
                }
            });
        }
        if one_by_one {
            self.stats.read_one_by_one.add(1);
        }
        self.after_observation();
    }

    /// Updates statistics and counters after a stream has ended, and flushes the folds if `max_requests` is
    /// reached.
    // Not inlined, to keep the module small: the function has two callers.
    #[inline(never)]
    fn after_observation(&mut self) {
        self.totals.observed = self.totals.observed.saturating_add(1);
        if self.totals.updates_each {
            self.update_observed();
        }
        let counted = self.counters.request(&mut HostSharedData);
        self.report_counters(counted);
        let is_due = self.max_requests.is_some_and(|max| self.main.fold.observations() >= max);
        // Only if the queue is resolved: otherwise each request would try to resolve it, which ticks do.
        if is_due && self.main.outbox.is_open() {
            self.flush_folds();
        }
    }

    fn flush_folds(&mut self) {
        // Updated before the flush, because the queue must not have more observations than the statistics.
        self.update_observed();
        if self.backpressure.is_outdated() {
            let now_unix_nano = clock::now_unix_nano();
            self.backpressure.check(&mut HostSharedData, now_unix_nano, BATCHES_BETWEEN_TICKS_MAX);
        }
        let blocked = self.backpressure.blocked.or_else(|| self.flush_pipelines());
        if let Some(enqueued) = self.main.outbox.observations() {
            let before = std::mem::replace(&mut self.totals.enqueued_in_stats, enqueued);
            self.stats.enqueued.add(enqueued.saturating_sub(before));
        }
        if let Some(reason) = blocked {
            self.stats.flushes_blocked.add(1);
            self.faults.flush_blocked(reason, self.main.fold.observations(), self.main.outbox.queue_name);
        }
    }

    fn update_observed(&mut self) {
        let before = std::mem::replace(&mut self.totals.observed_in_stats, self.totals.observed);
        self.stats.observed.add(self.totals.observed.saturating_sub(before));
    }

    fn flush_pipelines(&mut self) -> Option<FlushBlocked> {
        let grpc = self.grpc.as_mut().map(|grpc| &mut grpc.pipeline);
        let (mut batches, mut blocked): (u64, _) = (0, None);
        let mut add = |outcome: FlushOutcome| {
            batches = batches.saturating_add(outcome.batches);
            blocked = blocked.or(outcome.blocked);
        };
        for pipeline in [&mut self.main].into_iter().chain(grpc) {
            self.stats.values_mistyped.add(pipeline.fold.take_mistyped());
            add(pipeline.flush());
        }
        if let Some(in_flight) = &mut self.in_flight {
            add(in_flight.flush());
        }
        self.stats.batches_enqueued.add(batches);
        self.backpressure.record_enqueued(batches);
        blocked
    }

    fn report_counters(&mut self, result: Result<(), AddFailure>) {
        if let Err(failure) = result {
            self.stats.counter_updates_delayed.add(1);
            self.faults.counter(self.counters.key(failure), failure.error);
        }
    }
}

#[cfg(test)]
mod tests;
