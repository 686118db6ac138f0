//! The simulation: random steps, and the invariants that hold after each.

use fastrand::Rng;
use serde_json::Value;
use tributary_host::fake::main_thread::{self, stat};
use tributary_host::{Status, fake};
use tributary_proto::{batch::Batch, limits::QUEUE_HTTP, shutdown_log};
use tributary_tests::scene::DURATION;

use crate::collector::{CollectorFault, SimulatedCollector};
use crate::events::{Event, EventCounts};
use crate::ledger::{self, Account, QueueLedger};
use crate::service::{SLOW_NS, ServiceVm};
use crate::worker::{self, SimulatedWorker, WorkerOptions};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;
const HOUR: u64 = 3_600 * SECOND;
/// The initial Unix time in nanoseconds; the clock can go back by hours from here.
const START: u64 = 1_700_000_000 * SECOND;
const WORKERS_MAX: usize = 4;
/// More batches than the queue may hold before workers stop flushing.
const BURST: u64 = 600;
/// Items are decoded after each step if the queue has fewer items than this.
const READ_MAX: usize = 20;
/// The maximum number of rounds until everything settles: longer than the longest wait for a lost answer.
const ROUNDS_MAX: u32 = 1_000;

/// One simulated Envoy with its collectors, and the expected counts.
pub(crate) struct Simulation {
    random: Rng,
    options: WorkerOptions,
    workers: Vec<SimulatedWorker>,
    service: Option<ServiceVm>,
    collectors: [SimulatedCollector; 3],
    ledger: QueueLedger,
    /// The monotonic time, for the host's timers and the network.
    elapsed_ns: u64,
    /// The number of steps for which the main thread still hangs.
    hang_steps: u32,
    /// Requests that workers observed.
    seen: u64,
    /// Observed requests that a worker lost because it trapped before a flush.
    lost: u64,
    /// Observed requests that a trapped worker had not yet added to the shared counter.
    uncounted: u64,
    /// Items that an untrusted plugin took from the queue.
    stolen: Vec<Vec<u8>>,
    /// Whether an untrusted plugin ever took an item.
    has_stolen_items: bool,
    /// Whether the service ever trapped.
    has_trapped: bool,
    events: EventCounts,
}

impl Simulation {
    pub(crate) fn new(seed: u64) -> Self {
        fake::reset();
        fake::with(|host| host.now_unix_nano = START);
        let mut random = Rng::with_seed(seed);
        let collectors = [("cumulative", true), ("delta", false), ("json", true)];
        let service = random.bool().then(|| ServiceVm::begin(0));
        let options = WorkerOptions { counts: random.bool(), flushes_each: false };
        Self {
            workers: (0..random.usize(1..=3)).map(|_| SimulatedWorker::begin(options, 0)).collect(),
            random,
            options,
            service,
            collectors: collectors
                .map(|(cluster, is_cumulative)| SimulatedCollector::new(cluster, is_cumulative)),
            ledger: QueueLedger::default(),
            elapsed_ns: 0,
            hang_steps: 0,
            seen: 0,
            lost: 0,
            uncounted: 0,
            stolen: Vec::new(),
            has_stolen_items: false,
            has_trapped: false,
            events: EventCounts::default(),
        }
    }

    /// Draws one event, lets time pass, runs everything that is due, and checks the invariants.
    pub(crate) fn step(&mut self) {
        match self.random.u32(0..100) {
            0..50 => self.requests(),
            50..68 => {
                let at = self.random.usize(0..self.collectors.len());
                self.collectors[at].fault_mode = CollectorFault::draw(&mut self.random);
            }
            68..72 => {
                let rejected = [None, Some(Status::BadArgument), Some(Status::InternalFailure)];
                let rejected = self.random.choice(rejected).unwrap();
                fake::with(|host| host.reject_calls = rejected);
            }
            72..77 => self.replace_worker(),
            77..82 => self.untrusted_plugin(),
            82..85 => {
                if let Some(service) = &mut self.service {
                    service.is_slow = self.random.bool();
                }
            }
            85..87 => self.hang_steps = self.random.u32(1..60),
            87..90 => self.pass(5 * SECOND),
            90..91 if self.random.bool() => self.clock_jumps_forward(),
            90..91 => self.clock_goes_back(),
            91..92 => self.burst(),
            92..96 if self.service.is_none() => {
                self.service = Some(ServiceVm::begin(self.elapsed_ns));
            }
            96 => self.service_traps(),
            _ => {}
        }
        self.pass(400 * MS);
        self.run();
        self.check();
    }

    /// Ends all faults and waits until every request has reached every collector or is known to be lost.
    pub(crate) fn end(mut self) -> EventCounts {
        self.collectors.iter_mut().for_each(|collector| collector.fault_mode = CollectorFault::Healthy);
        fake::with(|host| host.reject_calls = None);
        self.hang_steps = 0;
        self.service.get_or_insert_with(|| ServiceVm::begin(self.elapsed_ns)).is_slow = false;
        for item in std::mem::take(&mut self.stolen) {
            ledger::forge(&item);
        }
        if self.random.u32(0..4) == 0 {
            self.shut_down();
        } else {
            let settles = (0..ROUNDS_MAX).any(|_| {
                self.pass(300 * MS);
                self.run();
                self.check();
                self.has_settled() && self.collectors.iter().all(|it| Account::of(it.cluster).waiting == 0)
            });
            assert!(settles, "{}", self.state());
        }
        for collector in &self.collectors {
            let account = Account::of(collector.cluster);
            assert!(collector.lost <= account.dropped_by("trap"), "{account:?}, {} lost", collector.lost);
            self.events.add(Event::Dropped, account.dropped_by("trap") + account.dropped_by("collector"));
            self.events.add(Event::SeriesEnded, collector.store.ended(DURATION, &[]) as u64);
            let overflow = collector.store.count(DURATION, &[("otel.metric.overflow", "true")]);
            self.events.add(Event::Overflow, overflow);
        }
        for (event, name) in [
            (Event::FlushBlocked, "flushes_blocked"),
            (Event::Missing, "observations_missing"),
            (Event::Export, "exports_succeeded"),
            (Event::ExportFailed, "exports_failed"),
            (Event::Duplicate, "batches_duplicate"),
            (Event::Invalid, "batches_invalid"),
        ] {
            self.events.add(event, stat(name));
        }
        self.events
    }

    fn requests(&mut self) {
        let Some(worker) = self.random.choice(&mut self.workers) else { return };
        for _ in 0..self.random.u32(1..20) {
            // A few routes. Each is idle at times.
            let routes = self.random.u32(1..9);
            let route = format!("route-{}", self.random.u32(0..routes));
            worker.request(&route, self.random.i64(0..10_000_000_000), &mut self.ledger);
            self.seen += 1;
            self.events.add(Event::Request, 1);
        }
    }

    /// Sends many requests through a new worker that flushes after each.
    fn burst(&mut self) {
        let mut worker =
            SimulatedWorker::begin(WorkerOptions { flushes_each: true, ..self.options }, self.elapsed_ns);
        for _ in 0..BURST {
            worker.request("burst", 1, &mut self.ledger);
            self.seen += 1;
        }
        self.workers.push(worker);
    }

    /// Starts a worker, or ends one by a shutdown or a trap.
    fn replace_worker(&mut self) {
        if self.workers.len() < WORKERS_MAX && self.random.bool() {
            self.workers.push(SimulatedWorker::begin(self.options, self.elapsed_ns));
        } else if !self.workers.is_empty() {
            let worker = self.workers.swap_remove(self.random.usize(0..self.workers.len()));
            let traps = self.random.u32(0..3) == 0;
            let gone = if traps {
                self.events.add(Event::WorkerTrapped, 1);
                worker
            } else {
                self.events.add(Event::WorkerEnded, 1);
                let gone = worker.end(&mut self.ledger);
                let has_queue = fake::with(|host| host.queues.resolve(QUEUE_HTTP)).is_ok();
                let pending = gone.pending();
                assert!(pending == 0 || !has_queue, "the worker lost {pending} observations at its end");
                gone
            };
            self.lost += gone.pending();
            self.uncounted += gone.seen - gone.counted;
        }
    }

    /// Makes the service trap: its calls are never answered, and a later service recovers its state.
    fn service_traps(&mut self) {
        if self.service.take().is_some() {
            for collector in &mut self.collectors {
                collector.cut_off();
                let (requests, counter) = collector.counts();
                collector.lost = self.ledger.aggregated - requests;
                let is_shared = !collector.is_cumulative && counter > 0;
                self.events.add(Event::CounterOutlivedService, is_shared.into());
            }
            self.events.add(Event::ServiceTrapped, 1);
            self.has_trapped = true;
        }
    }

    /// Reads or writes the queue as an untrusted plugin.
    fn untrusted_plugin(&mut self) {
        match self.random.u32(0..5) {
            0 => {
                if let Ok(item) = main_thread::dequeue(QUEUE_HTTP) {
                    self.stolen.push(item);
                    self.has_stolen_items = true;
                }
            }
            1 => {
                if let Some(item) = self.stolen.pop() {
                    ledger::forge(&item);
                }
            }
            2 => drop(self.stolen.pop()),
            3 => {
                if let Some(item) = ledger::items(0).first() {
                    ledger::forge(item);
                }
            }
            _ => {
                let garbage: Vec<u8> = (0..self.random.usize(1..40)).map(|_| self.random.u8(..)).collect();
                if Batch::decode(garbage.clone()).is_err() {
                    ledger::forge(&garbage);
                }
            }
        }
    }

    fn pass(&mut self, longest_ns: u64) {
        let ns = self.random.u64(MS..longest_ns);
        self.elapsed_ns += ns;
        fake::with(|host| host.now_unix_nano += ns);
    }

    fn clock_goes_back(&mut self) {
        let longest = if self.random.bool() { SECOND } else { HOUR };
        let back = self.random.u64(0..longest);
        fake::with(|host| host.now_unix_nano -= back);
        self.events.add(Event::ClockWentBack, 1);
        let is_without = self.has_trapped && self.service.is_none();
        self.events.add(Event::ClockWentBackWithoutService, is_without.into());
    }

    fn clock_jumps_forward(&mut self) {
        let forward = self.random.u64(60 * SECOND..HOUR);
        fake::with(|host| host.now_unix_nano += forward);
        self.events.add(Event::ClockJumpedForward, 1);
    }

    /// Runs everything that is due.
    fn run(&mut self) {
        for worker in &mut self.workers {
            if self.elapsed_ns >= worker.next_tick {
                worker.tick(self.elapsed_ns, &mut self.ledger);
            }
        }
        self.hang_steps = self.hang_steps.saturating_sub(1);
        if self.hang_steps > 0 {
            return;
        }
        let Some(service) = &mut self.service else { return };
        // Delivers answers first: Envoy answers a call that timed out before the service could give up.
        let mut has_run = false;
        fake::with(|host| host.clock_step_ns = if service.is_slow { SLOW_NS } else { 0 });
        self.ledger.observe(service.is_restarted, || {
            loop {
                while let Some(post) = main_thread::next_post() {
                    let collector = self.collectors.iter_mut().find(|it| it.cluster == post.cluster).unwrap();
                    collector.arrived(post, self.elapsed_ns, &mut self.random);
                }
                let answer =
                    self.collectors.iter_mut().find_map(|collector| collector.respond(self.elapsed_ns));
                if let Some((call, answer)) = answer {
                    service.vm.respond(call, answer);
                } else if has_run {
                    return;
                } else {
                    service.run(self.elapsed_ns);
                    has_run = true;
                }
            }
        });
        fake::with(|host| host.clock_step_ns = 0);
    }

    /// Checks the invariants that hold at every moment.
    fn check(&self) {
        self.ledger.check();
        let pending: u64 = self.workers.iter().map(SimulatedWorker::pending).sum();
        assert_eq!(self.seen, pending + self.lost + self.ledger.enqueued, "seen");
        if !self.has_stolen_items && fake::with(|host| host.queues.len(QUEUE_HTTP)) < READ_MAX {
            let in_queue: u64 = ledger::items(0).iter().map(|item| observations(item)).sum();
            // The queue may contain a batch more than once.
            assert!(self.ledger.unknown() <= in_queue, "{} of {in_queue}", self.ledger.unknown());
        }
        let observed = stat("observations_total");
        assert!(
            self.ledger.enqueued <= observed && observed <= self.seen,
            "{observed} observed of {}",
            self.seen
        );
        for collector in &self.collectors {
            let (requests, _) = collector.counts();
            assert!(requests <= self.ledger.aggregated, "{}", self.state());
            if self.service.is_some() {
                let account = Account::of(collector.cluster);
                assert_eq!(account.sum(), self.ledger.aggregated, "{account:?} of {}", collector.cluster);
                // A collector may have more observations than it has confirmed, but not fewer.
                assert!(
                    account.exported <= requests,
                    "{account:?}, but {} has {requests}",
                    collector.cluster
                );
            }
        }
    }

    /// Whether every request has reached every collector or is known to be lost.
    fn has_settled(&self) -> bool {
        let counter = if self.options.counts { self.seen - self.uncounted } else { 0 };
        // The service learns the names of the counters from batches.
        let exported = if self.ledger.aggregated == 0 { 0 } else { counter };
        self.workers.iter().all(|worker| worker.pending() == 0)
            && ledger::items(0).is_empty()
            && worker::counter() == counter
            && self.collectors.iter().all(|it| {
                // The received observations include the rejected ones.
                it.counts() == (self.ledger.aggregated - it.lost, exported)
                    && Account::of(it.cluster).dropped_by("collector") == it.rejected
            })
    }

    /// Shuts down as on SIGTERM: the workers, then the service. Replays the metrics that the service logged
    /// as unexported.
    fn shut_down(&mut self) {
        for worker in std::mem::take(&mut self.workers) {
            let gone = worker.end(&mut self.ledger);
            assert_eq!(gone.pending(), 0, "the worker lost observations at its end");
            self.uncounted += gone.seen - gone.counted;
        }
        for collector in &mut self.collectors {
            collector.cut_off();
        }
        if let Some(service) = self.service.take() {
            self.ledger.observe(service.is_restarted, || service.vm.delete());
        }
        self.check();
        let log = fake::with(|host| std::mem::take(&mut host.log));
        for (_, line) in log {
            let message = line.strip_prefix("tributary: ").unwrap_or(&line);
            let Some((record, _)) = shutdown_log::decode(message) else { continue };
            let record: Value = serde_json::from_str(record).unwrap();
            let Some(request) = record.get("request") else { continue };
            let mut collectors = self.collectors.iter_mut();
            collectors.find(|it| record["destination"] == it.cluster).unwrap().replay(&request.to_string());
            self.events.add(Event::LoggedAtShutdown, 1);
        }
        assert!(self.has_settled(), "{}", self.state());
    }

    fn state(&self) -> String {
        let of = |c: &SimulatedCollector| (c.cluster, c.counts(), c.rejected, c.lost, Account::of(c.cluster));
        let counts: Vec<_> = self.collectors.iter().map(of).collect();
        let pending: u64 = self.workers.iter().map(SimulatedWorker::pending).sum();
        let Self { seen, lost, uncounted, .. } = self;
        let (counter, queued) = (worker::counter(), ledger::items(0).len());
        format!(
            "{seen} seen, {pending} pending, {lost} lost, {uncounted} not counted, {counter} in shared data, \
             {queued} batches in the queue, {} aggregated, collectors with (requests, counter), rejected and \
             lost: {counts:?}",
            self.ledger.aggregated,
        )
    }
}

fn observations(item: &[u8]) -> u64 {
    Batch::decode(item.to_vec()).map_or(0, |batch| batch.observations())
}
