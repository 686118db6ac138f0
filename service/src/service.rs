//! The service: the work of each callback, in order.

use std::time::Duration;

use log::{Level, log, warn};
use tributary_host::http_call::Call;
use tributary_host::logging::RateLimit;
use tributary_host::queue::Queue;
use tributary_host::shared_data::{HostSharedData, SharedData, Version};
use tributary_host::{attributes, clock, counter, memory, random};
use tributary_proto::config::quoted;
use tributary_proto::console::FLUSH_KEY;
use tributary_proto::duration::as_ns;
use tributary_proto::exports::{self, Export};
use tributary_proto::heartbeat;
use tributary_proto::limits::{QUEUE_HTTP, QUEUE_TCP};

use crate::aggregate::{DestinationId, STEP_NS, Table, TableLimits};
use crate::budget::Budget;
use crate::checkpoint::{self, Instance};
use crate::config::ServiceConfig;
use crate::export::snapshot::Snapshots;
use crate::export::{CycleStart, ExportContext, Exporter, Resource, Temporality, self_metrics, shutdown};
use crate::http_calls::HttpCalls;
use crate::intake::Intake;
use crate::intake::vanished::VanishedBatches;
use crate::stats::{DropReason, ServiceStats};
use crate::values::SharedValues;

/// The tick period without a backlog. Ticks check queues and deliveries, because notifications can get
/// lost. A destination with a shorter interval makes the period shorter.
pub const TICK: Duration = Duration::from_millis(200);

/// The tick period while there is a backlog: it leaves Envoy time for other work in between.
const TICK_BUSY: Duration = Duration::from_millis(1);

/// The least time between two rounds of maintenance while ticks are frequent.
const MAINTENANCE: Duration = Duration::from_millis(100);

/// The minimum time between two log lines about batches that do not arrive.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The number of rows that one round of maintenance checks for idle series: 100,000 in ten seconds.
const SWEEP_ROWS: usize = 2_000;

/// The state of the service.
#[derive(Debug)]
pub struct Service {
    queues: Vec<Queue>,
    intake: Intake,
    table: Table,
    instance: Instance,
    /// The time at which this service started, or the latest exported time if that is later. The process
    /// may have started earlier.
    start_unix_nano: u64,
    /// Whether the first callback has run. Before it, this may be a canary VM, which Envoy discards.
    is_started: bool,
    resource: Resource,
    exporters: Vec<Exporter>,
    snapshots: Snapshots,
    values: SharedValues,
    /// The index of the exporter that runs first if there is not enough time for all exporters.
    first_exporter: usize,
    stats: ServiceStats,
    self_metrics: bool,
    backlog: Backlog,
    vanished: VanishedBatches,
    vanished_log: RateLimit,
    /// The last published state of the exports, and the fault of the queue.
    published_exports: (Vec<Export>, &'static str),
    /// The period of ticks without a backlog.
    idle_tick: Duration,
    /// The current period of ticks.
    tick_period: Duration,
    maintenance_unix_nano: u64,
    heartbeat_unix_nano: u64,
}

/// Which work the last callbacks left to the next callback.
#[derive(Clone, Copy, Debug, Default)]
struct Backlog {
    queues: bool,
    exports: bool,
    snapshot: bool,
}

impl Service {
    /// Creates a service, and registers its queues.
    ///
    /// # Errors
    /// Envoy does not register a queue.
    pub fn new(config: ServiceConfig) -> Result<Self, tributary_host::Status> {
        let queues = [QUEUE_HTTP, QUEUE_TCP].into_iter().map(Queue::register).collect::<Result<_, _>>()?;
        let now = clock::now_unix_nano();
        // The clock may have been set back since the times were saved.
        let exported = checkpoint::export_time();
        let instance = Instance::of_process(now, exported);
        let exported = if checkpoint::is_plausible(exported, now) { exported } else { 0 };
        let start_unix_nano = now.max(instance.started_unix_nano).max(exported);
        let node =
            |path: &[u8]| Some(String::from_utf8_lossy(&attributes::property(path).ok()?).into_owned());
        let resource = Resource::of_process(&config.resource, &instance.id, node);

        let intervals = config.destinations.iter().map(|destination| destination.interval);
        let idle_tick = intervals.fold(TICK, Duration::min);
        let (destinations, mut deltas) = (config.destinations.len(), 0_usize);
        let mut exporters = Vec::with_capacity(destinations);
        for (number, destination) in config.destinations.into_iter().enumerate() {
            let delta = (destination.temporality == Temporality::Delta).then_some(deltas);
            deltas = delta.map_or(deltas, |delta| delta.saturating_add(1));
            exporters.push(Exporter::new(destination, DestinationId { number, delta }, &resource, now));
        }
        let idle_ns = config.idle.map(as_ns);
        let limits =
            TableLimits { series_max: config.series_max, idle_ns, destinations, deltas, step_ns: STEP_NS };
        Ok(Self {
            queues,
            intake: Intake::default(),
            table: Table::new(limits, start_unix_nano, random::hasher()),
            instance,
            start_unix_nano,
            is_started: false,
            snapshots: Snapshots::new(&resource),
            resource,
            exporters,
            values: SharedValues::new(config.values, now),
            first_exporter: 0,
            stats: ServiceStats::define(),
            self_metrics: config.self_metrics,
            backlog: Backlog::default(),
            vanished: VanishedBatches::default(),
            vanished_log: RateLimit::new(LOG_INTERVAL),
            published_exports: (Vec::new(), ""),
            idle_tick,
            tick_period: TICK,
            maintenance_unix_nano: 0,
            heartbeat_unix_nano: 0,
        })
    }

    /// Takes items out of the queues, as far as the budget of the callback allows.
    ///
    /// Envoy sends one notification per item, and delivers all pending notifications in a row. So if one of
    /// these callbacks leaves a backlog, the others do nothing, and the next tick continues.
    pub fn on_queue_ready(&mut self) {
        self.start();
        if !self.backlog.queues {
            self.drain(Budget::start());
            self.publish_ledgers();
            self.adjust_tick_period();
        }
    }

    /// Takes items out of the queues whose notification was lost or left a backlog, and exports what is due.
    pub fn on_tick(&mut self, calls: &dyn HttpCalls) {
        let is_first = self.start();
        let budget = Budget::start();
        let is_written = self.write_heartbeat(budget.started_unix_nano);
        let enqueued = (is_first || is_written).then(|| self.stats.batches_enqueued.value());
        self.drain(budget);
        if let Some(enqueued) = enqueued {
            self.reconcile(enqueued);
        }
        let now = clock::now_unix_nano();
        self.maintain(calls, now);
        self.flush_if_asked(now);
        let starts_cycle = self.exporters.iter_mut().any(|exporter| exporter.starts_cycle(now));
        if self.snapshots.start_if_asked(now) || starts_cycle {
            self.read_counters(now);
            if self.self_metrics {
                let (table, start) = (&mut self.table, self.start_unix_nano);
                self_metrics::write(table, &self.stats, &self.exporters, start, now);
            }
        }
        self.export(calls, budget, now);
        self.publish_ledgers();
        self.backlog.snapshot = self.snapshots.write(&self.table, &self.resource, budget);
        self.publish_exports();
        self.adjust_tick_period();
    }

    /// Handles the response to a call. `has_headers` is false if the response ended before its headers.
    pub fn on_http_call_response(&mut self, calls: &dyn HttpCalls, call: Call, has_headers: bool) {
        if self.values.handle_response(call, has_headers) {
            return;
        }
        let budget = Budget::start();
        let Self { exporters, table, resource, stats, .. } = self;
        for exporter in exporters {
            if exporter.handle_response(call, has_headers, table, stats) {
                // Continues with the next slice of the same cycle; the next cycle starts with a tick.
                let mut context = ExportContext { calls, table, resource, stats };
                self.backlog.exports |= exporter.export(&mut context, budget, CycleStart::Deferred);
                break;
            }
        }
        self.publish_ledgers();
        self.publish_exports();
        self.adjust_tick_period();
    }

    /// Aggregates everything in the queues, and logs what was not exported. Requests cannot be sent at this
    /// point.
    pub fn shut_down(&mut self) {
        self.start();
        for queue in &self.queues {
            self.intake.drain(*queue, &mut self.table, &self.stats, None);
        }
        self.publish_ledgers();
        self.read_counters(clock::now_unix_nano());
        let points = self.exporters.iter().map(|exporter| {
            let now = clock::now_unix_nano();
            shutdown::log_unexported(exporter, &self.table, &self.resource, &self.instance.id, now)
        });
        let points = points.fold(0, u64::saturating_add);
        let level = if points == 0 { Level::Info } else { Level::Warn };
        let observations = self.stats.observations_aggregated.since_start();
        log!(
            level,
            "the service shuts down: {observations} observations aggregated, {points} points not exported"
        );
    }

    /// On the first callback, recovers the state of a service that trapped: Envoy restarts the service of
    /// a stat sink. The table of that service is lost, with everything that the destinations had not
    /// confirmed. Returns whether this is the first callback.
    fn start(&mut self) -> bool {
        if std::mem::replace(&mut self.is_started, true) {
            return false;
        }
        let is_first_of_process = !HostSharedData.get(heartbeat::KEY).is_ok_and(|beat| beat.is_some());
        self.write_heartbeat(clock::now_unix_nano());
        if is_first_of_process {
            return true;
        }
        self.intake.resume();
        let started = self.instance.started_unix_nano;
        for (destination, baselines) in self.exporters.iter().filter_map(Exporter::load_checkpoint) {
            self.intake.counters.resume(&mut self.table, destination, &baselines, started);
        }
        let aggregated = self.stats.observations_aggregated.of_process();
        for exporter in &mut self.exporters {
            let name = quoted(&exporter.status.state.name);
            let lost = exporter.ledger.waiting(aggregated);
            exporter.ledger.drop(DropReason::Trap, lost);
            warn!(
                "the service was restarted after a trap: {lost} observations are lost for destination {name}; report \
                 the log lines before this one"
            );
        }
        true
    }

    fn drain(&mut self, budget: Budget) {
        self.backlog.queues = false;
        for queue in &self.queues {
            self.backlog.queues |= self.intake.drain(*queue, &mut self.table, &self.stats, Some(budget));
        }
    }

    /// Counts batches as dequeued if they were enqueued but are in no queue, because workers would wait for
    /// such batches for ever. There are such batches after a hot restart, which passes on the statistics
    /// but not the queues, and because of items that are not valid batches. Runs with each heartbeat, which
    /// shows workers that the service runs.
    fn reconcile(&mut self, enqueued: u64) {
        if self.backlog.queues {
            return;
        }
        let gone = enqueued.saturating_sub(self.stats.batches_dequeued.value());
        self.stats.batches_dequeued.add(gone);
        self.vanished.check(gone, self.intake.batches_in_order);
        let fault = self.vanished.fault();
        if gone > 0
            && !fault.is_empty()
            && let Some(suppressed) = self.vanished_log.permit(clock::now_unix_nano())
        {
            warn!("{fault} ({suppressed} similar lines suppressed)");
        }
    }

    /// Fetches values and ends idle series, at most once per [`MAINTENANCE`].
    fn maintain(&mut self, calls: &dyn HttpCalls, now: u64) {
        let since = now.checked_sub(self.maintenance_unix_nano);
        if since.is_some_and(|since_ns| since_ns < as_ns(MAINTENANCE)) {
            return;
        }
        self.maintenance_unix_nano = now;
        self.values.tick(calls);
        self.table.sweep(SWEEP_ROWS, now);
        self.stats.series.set(u64::try_from(self.table.series()).unwrap_or(u64::MAX));
        self.stats.memory_bytes.set(memory::bytes());
    }

    /// Schedules all exports now if the console has requested a flush. The console requests it only when
    /// all flushed batches are in the table.
    fn flush_if_asked(&mut self, now: u64) {
        let number = counter::read(&mut HostSharedData, FLUSH_KEY).ok().flatten().unwrap_or(0);
        for exporter in &mut self.exporters {
            exporter.flush(number, now);
        }
    }

    /// Makes all exports that are due, as far as `budget` allows. At least one destination makes progress.
    /// While work is left, the next call starts with another destination.
    fn export(&mut self, calls: &dyn HttpCalls, budget: Budget, now: u64) {
        let at = self.first_exporter.checked_rem(self.exporters.len()).unwrap_or(0);
        let (last, first) = self.exporters.split_at_mut(at);
        let (table, resource, stats) = (&mut self.table, &self.resource, &self.stats);
        let mut context = ExportContext { calls, table, resource, stats };
        self.backlog.exports = false;
        for (number, exporter) in first.iter_mut().chain(last).enumerate() {
            let is_unfinished = if number > 0 && budget.is_spent() {
                exporter.is_due(now)
            } else {
                exporter.export(&mut context, budget, CycleStart::Allowed)
            };
            self.backlog.exports |= is_unfinished;
        }
        if self.backlog.exports {
            self.first_exporter = self.first_exporter.wrapping_add(1);
        }
    }

    /// Writes a heartbeat to shared data if it is due, and returns whether it was due. If heartbeats stop,
    /// workers keep their counts instead of sending them.
    fn write_heartbeat(&mut self, now: u64) -> bool {
        let since = now.checked_sub(self.heartbeat_unix_nano);
        let is_due = since.is_none_or(|since| since >= heartbeat::INTERVAL_NS);
        if is_due {
            // A failed write is retried with the next tick.
            let written = HostSharedData.set(heartbeat::KEY, &heartbeat::encode(now), Version::ANY);
            self.heartbeat_unix_nano = if written.is_ok() { now } else { 0 };
        }
        is_due
    }

    /// Publishes the ledgers. Each callback that may have changed them calls this, so they always add up.
    fn publish_ledgers(&mut self) {
        let dropped = std::mem::take(&mut self.intake.observations_dropped);
        let unmeasured = std::mem::take(&mut self.intake.observations_unmeasured);
        self.stats.observations_aggregated.publish();
        for exporter in &mut self.exporters {
            exporter.ledger.drop(DropReason::Table, dropped);
            // Unmeasured observations have nothing to export, so they count as exported.
            exporter.ledger.export(unmeasured);
            exporter.publish_ledger(&self.stats);
        }
    }

    /// Publishes the state of the exports in shared data, if it changed.
    fn publish_exports(&mut self) {
        let states = self.exporters.iter().map(|exporter| &exporter.status.state);
        let (published, published_fault) = &self.published_exports;
        let fault = self.vanished.fault();
        if (states.clone().ne(published) || fault != *published_fault)
            && HostSharedData.set(exports::KEY, &exports::encode(states.clone(), fault), Version::ANY).is_ok()
        {
            self.published_exports = (states.cloned().collect(), fault);
        }
    }

    /// Sets the tick period: short while there is a backlog, otherwise the period of idle ticks.
    fn adjust_tick_period(&mut self) {
        let Backlog { queues, exports, snapshot } = self.backlog;
        let period = if queues || exports || snapshot { TICK_BUSY } else { self.idle_tick };
        if period != self.tick_period && clock::tick_every(period).is_ok() {
            self.tick_period = period;
        }
    }

    fn read_counters(&mut self, now_unix_nano: u64) {
        let started = self.instance.started_unix_nano;
        self.intake.counters.read(&mut self.table, &self.stats, started, now_unix_nano);
    }
}

#[cfg(test)]
mod tests;
