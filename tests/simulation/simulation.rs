//! All of it together: what happens by chance, and what holds whatever happens.

use fastrand::Rng;
use tributary_host::{Status, fake};
use tributary_proto::limits::QUEUE_HTTP;

use crate::collector::{Collector, FaultMode};
use crate::events::{Event, EventCounts};
use crate::ledger::{self, Account, Ledger, stat};
use crate::service::ServiceVm;
use crate::worker::{self, Kind, Worker};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;
const HOUR: u64 = 3_600 * SECOND;
/// Any time at which a clock can go back for hours.
const BEGINNING: u64 = 1_700_000_000 * SECOND;
const WORKERS_MAX: usize = 4;
/// More batches than workers may have wait before they keep theirs.
const BURST: u64 = 600;
/// Batches of a queue that are read after each step.
const READ_MAX: usize = 20;
/// Rounds after which everything has settled if it ever does: longer than the longest wait for an answer that never comes.
const ROUNDS_MAX: u32 = 1_000;

/// One Envoy, its collectors, and what is true of them.
pub(crate) struct Simulation {
    random: Rng,
    kind: Kind,
    workers: Vec<Worker>,
    service: Option<ServiceVm>,
    collectors: [Collector; 3],
    ledger: Ledger,
    /// Calls of the service that were seen.
    posts: usize,
    /// The time by a clock that never goes back: of the host's timers, and of the network.
    elapsed_ns: u64,
    /// Steps for which the main thread does nothing.
    hangs: u32,
    /// Requests that workers saw, and of those that are gone what they had: it was never handed over, or not counted.
    seen: u64,
    lost: u64,
    uncounted: u64,
    /// Batches in the hands of a stranger.
    stolen: Vec<Vec<u8>>,
    /// Whether a stranger ever kept one.
    was_robbed: bool,
    /// Whether a service ever failed.
    has_failed: bool,
    happened: EventCounts,
}

impl Simulation {
    pub(crate) fn new(seed: u64) -> Self {
        fake::reset();
        fake::with(|host| host.now_unix_nano = BEGINNING);
        let mut random = Rng::with_seed(seed);
        let collectors = [("cumulative", true), ("delta", false), ("json", true)];
        let service = random.bool().then(|| ServiceVm::begin(0));
        let kind = Kind { counts: random.bool(), sends_each: false };
        Self {
            workers: (0..random.usize(1..=3)).map(|_| Worker::begin(kind, 0)).collect(),
            random,
            kind,
            service,
            collectors: collectors.map(|(cluster, is_cumulative)| Collector::new(cluster, is_cumulative)),
            ledger: Ledger::default(),
            posts: 0,
            elapsed_ns: 0,
            hangs: 0,
            seen: 0,
            lost: 0,
            uncounted: 0,
            stolen: Vec::new(),
            was_robbed: false,
            has_failed: false,
            happened: EventCounts::default(),
        }
    }

    /// Something happens, time passes, everybody does what is due.
    pub(crate) fn step(&mut self) {
        match self.random.u32(0..100) {
            0..50 => self.requests(),
            50..68 => {
                let at = self.random.usize(0..self.collectors.len());
                self.collectors[at].fault_mode = FaultMode::draw(&mut self.random);
            }
            68..72 => {
                let refused = [None, Some(Status::BadArgument), Some(Status::InternalFailure)];
                let refused = self.random.choice(refused).unwrap();
                fake::with(|host| host.refuse_calls = refused);
            }
            72..77 => self.replace_worker(),
            77..82 => self.stranger(),
            82..85 => {
                if let Some(service) = &mut self.service {
                    service.is_slow = self.random.bool();
                }
            }
            85..87 => self.hangs = self.random.u32(1..60),
            87..90 => self.pass(5 * SECOND),
            90..91 if self.random.bool() => self.clock_leaps_forward(),
            90..91 => self.clock_goes_back(),
            91..92 => self.burst(),
            92..96 if self.service.is_none() => {
                self.service = Some(ServiceVm::begin(self.elapsed_ns));
            }
            96 => self.service_dies(),
            _ => {}
        }
        self.pass(400 * MS);
        self.run();
        self.check();
    }

    /// Everything heals; in the end each request is with every collector, or where it got lost is known.
    pub(crate) fn end(mut self) -> EventCounts {
        self.collectors.iter_mut().for_each(|collector| collector.fault_mode = FaultMode::Healthy);
        fake::with(|host| host.refuse_calls = None);
        self.hangs = 0;
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
            self.happened.add(Event::Dropped, account.dropped_by("trap") + account.dropped_by("collector"));
        }
        for (event, name) in [
            (Event::HeldBack, "handovers_held_back"),
            (Event::Missing, "observations_missing"),
            (Event::Export, "exports_succeeded"),
            (Event::ExportFailed, "exports_failed"),
            (Event::Duplicate, "batches_duplicate"),
            (Event::Refused, "batches_refused"),
        ] {
            self.happened.add(event, stat(name));
        }
        let ended = |collector: &Collector| collector.store.ended(tributary_tests::scene::DURATION, &[]);
        self.happened.add(Event::SeriesEnded, self.collectors.iter().map(|it| ended(it) as u64).sum());
        let overflow = [("otel.metric.overflow", "true")];
        let overflowed = |it: &Collector| it.store.count(tributary_tests::scene::DURATION, &overflow);
        self.happened.add(Event::Overflow, self.collectors.iter().map(overflowed).sum());
        self.happened
    }

    fn requests(&mut self) {
        let Some(worker) = self.random.choice(&mut self.workers) else { return };
        for _ in 0..self.random.u32(1..20) {
            // A few routes, of which each is idle for a while now and then.
            let routes = self.random.u32(1..9);
            let route = format!("route-{}", self.random.u32(0..routes));
            worker.request(&route, self.random.i64(0..10_000_000_000), &mut self.ledger);
            self.seen += 1;
            self.happened.add(Event::Request, 1);
        }
    }

    /// Many requests, each a message of its own.
    fn burst(&mut self) {
        let mut worker = Worker::begin(Kind { sends_each: true, ..self.kind }, self.elapsed_ns);
        for _ in 0..BURST {
            worker.request("burst", 1, &mut self.ledger);
            self.seen += 1;
        }
        self.workers.push(worker);
    }

    /// A worker goes, by itself or by a trap, or one comes.
    fn replace_worker(&mut self) {
        if self.workers.len() < WORKERS_MAX && self.random.bool() {
            self.workers.push(Worker::begin(self.kind, self.elapsed_ns));
        } else if !self.workers.is_empty() {
            let worker = self.workers.swap_remove(self.random.usize(0..self.workers.len()));
            let traps = self.random.u32(0..3) == 0;
            let gone = if traps {
                self.happened.add(Event::WorkerTrapped, 1);
                worker
            } else {
                self.happened.add(Event::WorkerEnded, 1);
                let gone = worker.end(&mut self.ledger);
                let has_queue = fake::with(|host| host.queues.resolve(QUEUE_HTTP)).is_ok();
                assert!(
                    gone.pending() == 0 || !has_queue,
                    "{} observations ended with their worker",
                    gone.pending()
                );
                gone
            };
            self.lost += gone.pending();
            self.uncounted += gone.seen - gone.counted;
        }
    }

    /// The service's VM fails; another one comes later, and finds what was written down. Nobody answers its calls any more.
    fn service_dies(&mut self) {
        if self.service.take().is_some() {
            for collector in &mut self.collectors {
                collector.cut_off();
                let (requests, counter) = collector.counts();
                collector.lost = self.ledger.aggregated - requests;
                let outlives = !collector.is_cumulative && counter > 0;
                self.happened.add(Event::CounterOutlivedService, outlives.into());
            }
            self.happened.add(Event::ServiceTrapped, 1);
            self.has_failed = true;
        }
    }

    /// Another plugin meddles with the queue.
    fn stranger(&mut self) {
        match self.random.u32(0..5) {
            0 => {
                if let Some(item) = ledger::steal() {
                    self.stolen.push(item);
                    self.was_robbed = true;
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
                if tributary_proto::batch::Batch::decode(&garbage).is_err() {
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
        self.happened.add(Event::ClockWentBack, 1);
        let is_without = self.has_failed && self.service.is_none();
        self.happened.add(Event::ClockWentBackWithoutService, is_without.into());
    }

    fn clock_leaps_forward(&mut self) {
        let forward = self.random.u64(60 * SECOND..HOUR);
        fake::with(|host| host.now_unix_nano += forward);
        self.happened.add(Event::ClockLeapt, 1);
    }

    /// Everybody does what is due.
    fn run(&mut self) {
        for worker in &mut self.workers {
            if self.elapsed_ns >= worker.next_tick {
                worker.tick(self.elapsed_ns, &mut self.ledger);
            }
        }
        self.hangs = self.hangs.saturating_sub(1);
        if self.hangs > 0 {
            return;
        }
        let Some(service) = &mut self.service else { return };
        // Answers first: Envoy gives its own when the time for one is over, before anybody else could give up on it.
        let mut has_run = false;
        loop {
            while let Some(post) = fake::with(|host| host.posts.get(self.posts).cloned()) {
                self.posts += 1;
                let collector = self.collectors.iter_mut().find(|it| it.cluster == post.cluster).unwrap();
                collector.arrived(post, self.elapsed_ns, &mut self.random);
            }
            let answer = self.collectors.iter_mut().find_map(|collector| collector.answer(self.elapsed_ns));
            if let Some((call, answer, with_headers)) = answer {
                service.answer(call, answer, with_headers, &mut self.ledger);
            } else if has_run {
                return;
            } else {
                service.run(self.elapsed_ns, &mut self.ledger);
                has_run = true;
            }
        }
    }

    /// What holds at every moment.
    fn check(&self) {
        self.ledger.check();
        let pending: u64 = self.workers.iter().map(Worker::pending).sum();
        assert_eq!(self.seen, pending + self.lost + self.ledger.handed_over, "seen");
        if !self.was_robbed && fake::with(|host| host.queues.len(QUEUE_HTTP)) < READ_MAX {
            let in_queue: u64 = ledger::items(0).iter().map(|item| observations(item)).sum();
            // There may be copies in it.
            assert!(self.ledger.unknown() <= in_queue, "{} of {in_queue}", self.ledger.unknown());
        }
        let told = stat("observations_observed");
        assert!(self.ledger.handed_over <= told && told <= self.seen, "{told} told of {}", self.seen);
        for collector in &self.collectors {
            let (requests, _) = collector.counts();
            assert!(requests <= self.ledger.aggregated, "{}", self.state());
            if self.service.is_some() {
                let account = Account::of(collector.cluster);
                assert_eq!(account.sum(), self.ledger.aggregated, "{account:?} of {}", collector.cluster);
                // A collector may have more than it has confirmed, but not less.
                assert!(
                    account.exported <= requests,
                    "{account:?}, but {} has {requests}",
                    collector.cluster
                );
            }
        }
    }

    /// Whether everything is where it belongs.
    fn has_settled(&self) -> bool {
        let counter = if self.kind.counts { self.seen - self.uncounted } else { 0 };
        // The service knows which counters there are from batches.
        let told = if self.ledger.aggregated == 0 { 0 } else { counter };
        self.workers.iter().all(|worker| worker.pending() == 0)
            && ledger::items(0).is_empty()
            && worker::counter() == counter
            && self.collectors.iter().all(|it| {
                // What a collector refused is among what it was told.
                it.counts() == (self.ledger.aggregated - it.lost, told)
                    && Account::of(it.cluster).dropped_by("collector") == it.refused
            })
    }

    /// SIGTERM: workers end, then the service does; what it could not export is in the log, and is brought to the collectors.
    fn shut_down(&mut self) {
        for worker in std::mem::take(&mut self.workers) {
            let gone = worker.end(&mut self.ledger);
            assert_eq!(gone.pending(), 0, "observations ended with their worker");
            self.uncounted += gone.seen - gone.counted;
        }
        for collector in &mut self.collectors {
            collector.cut_off();
        }
        if let Some(service) = self.service.take() {
            service.end(&mut self.ledger);
        }
        self.check();
        let log = fake::with(|host| std::mem::take(&mut host.log));
        for (_, line) in log {
            let Some(rest) = line.strip_prefix("tributary: unexported for \"") else { continue };
            let (name, json) = rest.split_once("\" ").unwrap();
            let collector = self.collectors.iter_mut().find(|it| it.cluster == name).unwrap();
            collector.replay(json);
            self.happened.add(Event::LoggedAtShutdown, 1);
        }
        assert!(self.has_settled(), "{}", self.state());
    }

    fn state(&self) -> String {
        let counts: Vec<_> = self
            .collectors
            .iter()
            .map(|it| (it.cluster, it.counts(), it.refused, it.lost, Account::of(it.cluster)))
            .collect();
        let pending: u64 = self.workers.iter().map(Worker::pending).sum();
        format!(
            "{} seen, {pending} pending, {} lost, {} not counted, {} in shared data, {} batches in the queue, {} aggregated, \
             collectors with (requests, counter), refused and lost: {counts:?}",
            self.seen,
            self.lost,
            self.uncounted,
            worker::counter(),
            ledger::items(0).len(),
            self.ledger.aggregated,
        )
    }
}

fn observations(item: &[u8]) -> u64 {
    tributary_proto::batch::Batch::decode(item).map_or(0, |batch| batch.observations())
}
