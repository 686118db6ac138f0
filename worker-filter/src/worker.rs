//! One worker: everything between a stream that ended and a batch in the queue.

use std::hash::BuildHasher;
use std::time::Duration;

use log::warn;
use tributary_host::clock;
use tributary_host::counter::AddError;
use tributary_host::logging::RateLimit;
use tributary_host::shared_data::HostSharedData;
use tributary_host::stats::Counter;
use tributary_proto::batch::BatchWriter;
use tributary_proto::limits::QUEUE_HTTP;

use crate::config::WorkerConfig;
use crate::counters::Counters;
use crate::fold::Fold;
use crate::outbox::{HeldBack, Outbox};
use crate::reading::{Reader, Way};

/// How often a fault that lasts is logged.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// One worker's state. [`observe`](Self::observe) for each stream that ended, [`flush`](Self::flush) for each tick and for
/// the end.
#[derive(Debug)]
pub struct Worker<S> {
    reader: Reader,
    fold: Fold<S>,
    counters: Counters,
    outbox: Outbox,
    max_requests: Option<u64>,
    stats: Stats,
    no_service: RateLimit,
    no_counter: RateLimit,
}

/// Statistics of all workers together, in Envoy's own.
#[derive(Debug)]
struct Stats {
    /// Observations that took one host call for each attribute.
    read_one_by_one: Counter,
    batches_enqueued: Counter,
    /// Hand-overs that had to wait.
    handovers_held_back: Counter,
    /// Additions to shared data that had to wait.
    counters_held_back: Counter,
}

impl<S: BuildHasher> Worker<S> {
    /// A worker as configured. `producer` is random, `hasher` randomly seeded. Compiles the plan's expression in the
    /// current root context.
    pub fn new(config: WorkerConfig, producer: u64, hasher: S) -> Self {
        let keys = config.counters.iter().map(|counter| counter.key.clone()).collect();
        let writer = BatchWriter::new(producer, keys, &config.plan.metrics());
        let mut outbox = Outbox::new(config.service_vm_id, QUEUE_HTTP, writer);
        // On a worker the service is there by now; on the main thread, where no stream ever ends, it may not be (Envoy 1.40).
        // Whoever is too early finds it on a tick.
        let _ = outbox.open();
        Self {
            reader: Reader::new(&config.plan.sources),
            counters: Counters::new(&config.counters),
            outbox,
            max_requests: config.flush.max_requests,
            fold: Fold::new(config.plan, config.series_max, hasher),
            stats: Stats::define(),
            no_service: RateLimit::new(LOG_INTERVAL),
            no_counter: RateLimit::new(LOG_INTERVAL),
        }
    }

    /// Reads the current stream, which has ended, and folds what was seen.
    pub fn observe(&mut self) {
        let fold = &mut self.fold;
        let way = self.reader.read(|observation, way| {
            fold.record(observation);
            way
        });
        if way == Way::OneByOne {
            self.stats.read_one_by_one.add(1);
        }
        let counted = self.counters.count(&mut HostSharedData);
        self.report_counters(counted);
        let due = self.max_requests.is_some_and(|most| self.fold.observations() >= most);
        // Without a service each request would look for it in vain; ticks do that.
        if due && self.outbox.is_open() {
            self.hand_over();
        }
    }

    /// Hands over everything folded and adds what is pending to the counters.
    pub fn flush(&mut self) {
        let flushed = self.counters.flush(&mut HostSharedData);
        self.report_counters(flushed);
        self.hand_over();
    }

    fn hand_over(&mut self) {
        let handed_over = self.outbox.hand_over(&mut self.fold);
        self.stats.batches_enqueued.add(handed_over.batches);
        let Some(reason) = handed_over.held_back else { return };
        self.stats.handovers_held_back.add(1);
        if let Some(suppressed) = self.no_service.permit(clock::now_unix_nano()) {
            let waiting = self.fold.observations();
            match reason {
                HeldBack::NoService => warn!(
                    "no service has registered the queue {QUEUE_HTTP:?}: {waiting} requests wait in this worker, none is \
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

impl Stats {
    fn define() -> Self {
        Self {
            read_one_by_one: Counter::define("tributary_read_one_by_one"),
            batches_enqueued: Counter::define("tributary_batches_enqueued"),
            handovers_held_back: Counter::define("tributary_handovers_held_back"),
            counters_held_back: Counter::define("tributary_counters_held_back"),
        }
    }
}

#[cfg(test)]
mod tests;
