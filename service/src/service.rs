//! The service: everything between a notice from a queue and a request to a collector.

use std::time::Duration;

use log::{Level, log, warn};
use tributary_host::counter;
use tributary_host::http_call::Call;
use tributary_host::queue::Queue;
use tributary_host::shared_data::{HostSharedData, SharedData, Version};
use tributary_host::{attributes, clock, memory, random};
use tributary_proto::config::quoted;
use tributary_proto::console::FLUSH_KEY;
use tributary_proto::duration::as_ns;
use tributary_proto::limits::{QUEUE_HTTP, QUEUE_TCP};
use tributary_proto::{exports, heartbeat};

use crate::budget::Budget;
use crate::config::ServiceConfig;
use crate::exporter::Exporter;
use crate::instance::{self, Instance};
use crate::intake::Intake;
use crate::points::Temporality;
use crate::resource::{self, Resource};
use crate::self_metrics;
use crate::snapshot::Snapshots;
use crate::stats::{Reason, Stats};
use crate::table::{STEP_NS, Table, TableLimits, Viewer};
use crate::told;
use crate::values::Values;

/// How often queues are looked into without a notice, and deliveries for what is due. Notices can be lost.
pub const TICK: Duration = Duration::from_millis(100);

/// The same while something is left to do: the time that Envoy has for other things in between.
const TICK_BUSY: Duration = Duration::from_millis(1);

/// Rows that one tick looks at for idle ones: 100,000 within ten seconds.
const SWEEP_ROWS: usize = 1_000;

/// The state of the service. [`drain`](Self::drain) on notices, [`tick`](Self::tick) on ticks, [`answered`](Self::answered)
/// on answers.
#[derive(Debug)]
pub struct Service {
    queues: Vec<Queue>,
    intake: Intake,
    table: Table,
    instance: Instance,
    /// When this service began: not the first of its process if one before it failed. Nothing was told of a later time.
    began_unix_nano: u64,
    /// Whether it is at work. Before that it may be one that Envoy only tries.
    has_begun: bool,
    resource: Resource,
    exporters: Vec<Exporter>,
    snapshots: Snapshots,
    values: Values,
    /// Which of them comes first when there is not time for all.
    turn: usize,
    stats: Stats,
    /// Whether it exports metrics about itself.
    self_metrics: bool,
    /// Whether the queues have more than there was time for, and the exporters.
    has_backlog: bool,
    is_exporting: bool,
    /// Whether a snapshot is being written.
    is_snapshotting: bool,
    /// What was last told of the exports.
    exports_told: Option<Vec<u8>>,
    /// From one tick to the next.
    pace: Duration,
    round_unix_nano: u64,
    beat_unix_nano: u64,
}

impl Service {
    /// A service as configured, which takes over the queues.
    pub fn new(config: ServiceConfig) -> Result<Self, tributary_host::Status> {
        let queues = [QUEUE_HTTP, QUEUE_TCP].into_iter().map(Queue::register).collect::<Result<_, _>>()?;
        let now = clock::now_unix_nano();
        // The clock may have gone back since.
        let told = told::recall_time(&mut HostSharedData);
        let instance = Instance::of_process(&mut HostSharedData, now, told);
        let told = if instance::may_go_on_from(told, now) { told } else { 0 };
        let began_unix_nano = now.max(instance.began_unix_nano).max(told);
        let node =
            |path: &[u8]| Some(String::from_utf8_lossy(&attributes::property(path).ok()?).into_owned());
        let resource = resource::resource(&config.resource, &instance.id, node);

        let (destinations, mut deltas) = (config.destinations.len(), 0_usize);
        let mut exporters = Vec::with_capacity(destinations);
        for (number, destination) in config.destinations.into_iter().enumerate() {
            let delta = (destination.temporality == Temporality::Delta).then_some(deltas);
            deltas = delta.map_or(deltas, |delta| delta.saturating_add(1));
            exporters.push(Exporter::new(destination, Viewer { number, delta }, &resource, now));
        }
        let idle_ns = config.idle.map(as_ns);
        let limits =
            TableLimits { series_max: config.series_max, idle_ns, destinations, deltas, step_ns: STEP_NS };
        Ok(Self {
            queues,
            intake: Intake::default(),
            table: Table::new(limits, began_unix_nano, random::hasher()),
            instance,
            began_unix_nano,
            has_begun: false,
            snapshots: Snapshots::new(&resource),
            resource,
            exporters,
            values: Values::new(config.values, now),
            turn: 0,
            stats: Stats::define(),
            self_metrics: config.self_metrics,
            has_backlog: false,
            is_exporting: false,
            is_snapshotting: false,
            exports_told: None,
            pace: TICK,
            // The first tick is one of a round.
            round_unix_nano: 0,
            beat_unix_nano: 0,
        })
    }

    /// Takes over what the queues hold, as far as there is time.
    ///
    /// There is a notice for each item, and Envoy gives all notices that wait without doing anything between them: so where
    /// one left something, the others leave it too, to the next tick.
    pub fn drain(&mut self) {
        self.begin();
        if !self.has_backlog {
            self.take_over(Budget::begin());
            self.tell_ledger();
            self.keep_pace();
        }
    }

    /// Takes over everything, writes into the log what destinations do not have, and sends nothing: the last thing a service
    /// does.
    pub fn finish(&mut self) {
        self.begin();
        for queue in &self.queues {
            self.intake.drain(*queue, &mut self.table, &self.stats, None);
        }
        self.tell_ledger();
        self.read_counters(clock::now_unix_nano());
        let mut unexported: u64 = 0;
        for exporter in &mut self.exporters {
            unexported = unexported.saturating_add(exporter.farewell(&mut self.table, &self.resource));
        }
        log!(
            if unexported == 0 { Level::Info } else { Level::Warn },
            "the service ends: {} requests taken over in all, {unexported} points not exported",
            self.intake.observations()
        );
    }

    /// Takes over what came without a notice or was left, and sends what is due.
    pub fn tick(&mut self) {
        self.begin();
        self.beat();
        let budget = Budget::begin();
        let enqueued = self.stats.batches_enqueued.value();
        self.take_over(budget);
        self.settle(enqueued);
        let now = clock::now_unix_nano();
        self.go_round(now);
        self.flush(now);
        let begins = self.exporters.iter_mut().any(|exporter| exporter.begins_cycle(now));
        if self.snapshots.begins(now) || begins {
            self.read_counters(now);
            if self.self_metrics {
                self_metrics::put(
                    &mut self.table,
                    &self.stats,
                    &mut self.exporters,
                    self.began_unix_nano,
                    now,
                );
            }
        }
        self.export(budget, now);
        self.tell_ledger();
        self.is_snapshotting = self.snapshots.write(&mut self.table, &self.resource, budget);
        self.tell_exports();
        self.keep_pace();
    }

    /// An answer came. `with_headers` is false where it broke off.
    pub fn answered(&mut self, call: Call, with_headers: bool) {
        if self.values.answered(call, with_headers) {
            return;
        }
        let budget = Budget::begin();
        for exporter in &mut self.exporters {
            if exporter.answered(call, with_headers, &mut self.table, &self.stats) {
                // The next slice of the same cycle, if there is one; the next cycle begins with a tick.
                let more = exporter.export(&mut self.table, &self.resource, &self.stats, budget, false);
                self.is_exporting = self.is_exporting || more;
                break;
            }
        }
        self.tell_ledger();
        self.tell_exports();
        self.keep_pace();
    }

    /// Goes on, before anything else, where a service before it failed: Envoy makes that of a stat sink anew. Its table is lost, and
    /// with it what no destination has yet.
    fn begin(&mut self) {
        if std::mem::replace(&mut self.has_begun, true) {
            return;
        }
        let is_first = !HostSharedData.get(heartbeat::KEY).is_ok_and(|beat| beat.is_some());
        self.beat();
        if is_first {
            return;
        }
        self.intake.resume();
        let counters = self.intake.counters();
        for exporter in &self.exporters {
            exporter.resume(counters, &mut self.table, self.instance.began_unix_nano);
        }
        let aggregated = self.stats.observations_aggregated.ever();
        for exporter in &mut self.exporters {
            let name = quoted(&exporter.state().name);
            let lost = exporter.ledger().waiting(aggregated);
            exporter.ledger().drop(Reason::Trap, lost);
            warn!("the service failed and is there again; destination {name} will never get {lost} requests");
        }
    }

    /// Says where the observations are: after each callback that may have changed it, so that it always adds up.
    fn tell_ledger(&mut self) {
        let (dropped, bare) = (self.intake.take_dropped(), self.intake.take_bare());
        for exporter in &mut self.exporters {
            exporter.ledger().drop(Reason::Table, dropped);
            // Of these there is nothing that it does not have.
            exporter.ledger().export(bare);
            exporter.tell_ledger(&self.stats);
        }
    }

    /// Says that it is alive, in shared data: workers keep what they have while it does not.
    fn beat(&mut self) {
        let now = clock::now_unix_nano();
        let since = now.checked_sub(self.beat_unix_nano);
        if since.is_none_or(|since| since >= heartbeat::INTERVAL_NS) {
            // One that cannot be written is tried again with the next tick.
            let written = HostSharedData.set(heartbeat::KEY, &heartbeat::encode(now), Version::ANY);
            self.beat_unix_nano = if written.is_ok() { now } else { 0 };
        }
    }

    /// Has everything exported at once, if somebody asked for it. By then everything that was seen is in the table: the one
    /// who asks waits for that.
    fn flush(&mut self, now: u64) {
        let number = counter::read(&mut HostSharedData, FLUSH_KEY).ok().flatten().unwrap_or(0);
        for exporter in &mut self.exporters {
            exporter.flush(number, now);
        }
    }

    /// Says how the exports go, when that has changed.
    fn tell_exports(&mut self) {
        let exports = exports::encode(self.exporters.iter().map(Exporter::state));
        if self.exports_told.as_ref() != Some(&exports)
            && HostSharedData.set(exports::KEY, &exports, Version::ANY).is_ok()
        {
            self.exports_told = Some(exports);
        }
    }

    fn take_over(&mut self, budget: Budget) {
        self.has_backlog = false;
        for queue in &self.queues {
            let more = self.intake.drain(*queue, &mut self.table, &self.stats, Some(budget));
            self.has_backlog = self.has_backlog || more;
        }
    }

    /// Counts as taken what is not in the queue and was not taken either: `enqueued` batches were put in before all was taken
    /// out. A queue is gone with its process, but a hot restart hands the statistics on; an item may also be none that this
    /// service can read. Workers would take them for waiting for ever.
    fn settle(&self, enqueued: u64) {
        if !self.has_backlog {
            let gone = enqueued.saturating_sub(self.stats.batches_taken.value());
            self.stats.batches_taken.add(gone);
        }
    }

    /// Does what is to be done now and then, however often it is called: fetches values, looks for idle rows.
    fn go_round(&mut self, now: u64) {
        let since = now.checked_sub(self.round_unix_nano);
        if since.is_some_and(|since_ns| since_ns < as_ns(TICK)) {
            return;
        }
        self.round_unix_nano = now;
        self.values.tick();
        self.table.sweep(SWEEP_ROWS, now);
        self.stats.series.set(u64::try_from(self.table.series()).unwrap_or(u64::MAX));
        self.stats.memory_bytes.set(memory::bytes());
    }

    /// Writes and sends what is due. One destination gets on in any case, each time another one.
    fn export(&mut self, budget: Budget, now: u64) {
        self.is_exporting = false;
        let turn = self.turn.checked_rem(self.exporters.len()).unwrap_or(0);
        let (last, first) = self.exporters.split_at_mut(turn);
        for (number, exporter) in first.iter_mut().chain(last).enumerate() {
            let more = if number > 0 && budget.is_spent() {
                exporter.is_due(now)
            } else {
                exporter.export(&mut self.table, &self.resource, &self.stats, budget, true)
            };
            self.is_exporting = self.is_exporting || more;
        }
        if self.is_exporting {
            self.turn = self.turn.wrapping_add(1);
        }
    }

    /// Asks for ticks as often as there is something to do.
    fn keep_pace(&mut self) {
        let is_busy = self.has_backlog || self.is_exporting || self.is_snapshotting;
        let pace = if is_busy { TICK_BUSY } else { TICK };
        if pace != self.pace && clock::tick_every(pace).is_ok() {
            self.pace = pace;
        }
    }

    fn read_counters(&mut self, now_unix_nano: u64) {
        let (counters, began) = (self.intake.counters(), self.instance.began_unix_nano);
        counters.read(&mut self.table, &self.stats, began, now_unix_nano);
    }
}

#[cfg(test)]
mod tests;
