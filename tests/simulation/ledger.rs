//! An independent ledger of the queue: decodes each batch when a worker enqueues it and when the service
//! takes it.

use std::collections::BTreeMap;

use tributary_host::fake;
use tributary_host::fake::main_thread::{self, stat};
use tributary_proto::batch::Batch;
use tributary_proto::limits::QUEUE_HTTP;

/// All batches that were ever in the queue, and the counts that the service must report.
#[derive(Debug, Default)]
pub(crate) struct QueueLedger {
    producers: BTreeMap<u64, Producer>,
    pub(crate) enqueued: u64,
    pub(crate) aggregated: u64,
    pub(crate) duplicates: u64,
    pub(crate) invalid: u64,
    missing: u64,
}

/// The batches of one producer.
#[derive(Debug, Default)]
struct Producer {
    batches: BTreeMap<u64, u64>,
    /// The sequence of the last batch that the service aggregated.
    last: u64,
}

impl QueueLedger {
    /// Records that a worker enqueued an item; returns the number of observations in the item.
    pub(crate) fn put(&mut self, item: &[u8]) -> u64 {
        let batch = Batch::decode(item.to_vec()).unwrap();
        let observations = batch.observations();
        let before =
            self.producers.entry(batch.producer).or_default().batches.insert(batch.sequence, observations);
        assert!(
            before.is_none(),
            "batch {} of producer {} was enqueued twice",
            batch.sequence,
            batch.producer
        );
        self.enqueued += observations;
        observations
    }

    /// Records the items that a service takes in `calls`. `is_restarted` is whether it was restarted after a
    /// trap.
    pub(crate) fn observe(&mut self, is_restarted: bool, calls: impl FnOnce()) {
        fake::with(|host| host.queues.taken = Some(Vec::new()));
        calls();
        let taken = fake::with(|host| host.queues.taken.take()).unwrap_or_default();
        taken.iter().for_each(|item| self.record_taken(item, is_restarted));
    }

    fn record_taken(&mut self, item: &[u8], is_restarted: bool) {
        let Ok(batch) = Batch::decode(item.to_vec()) else {
            self.invalid += 1;
            return;
        };
        let producer = self.producers.get_mut(&batch.producer).unwrap();
        if batch.sequence <= producer.last {
            self.duplicates += 1;
            return;
        }
        // The service detects missing batches between two batches of a producer, and before the first batch
        // if the service was restarted.
        if producer.last > 0 || is_restarted {
            let between = producer.batches.range(producer.last + 1..batch.sequence);
            self.missing += between.map(|(_, observations)| observations).sum::<u64>();
        }
        producer.last = batch.sequence;
        self.aggregated += batch.observations();
    }

    /// Counts observations that were enqueued and neither aggregated nor detected as missing.
    pub(crate) fn unknown(&self) -> u64 {
        self.enqueued - self.aggregated - self.missing
    }

    /// Checks that the service reports the same counts.
    pub(crate) fn check(&self) {
        let reported = [
            stat("observations_enqueued"),
            stat("observations_aggregated"),
            stat("observations_missing"),
            stat("batches_duplicate"),
            stat("batches_invalid"),
        ];
        let expected = [self.enqueued, self.aggregated, self.missing, self.duplicates, self.invalid];
        assert_eq!(reported, expected, "enqueued, aggregated, missing, duplicate and invalid");
    }
}

/// The service's statistics of aggregated observations for one destination.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) exported: u64,
    pub(crate) waiting: u64,
    dropped: [(&'static str, u64); 4],
}

impl Account {
    pub(crate) fn of(destination: &str) -> Self {
        let part = |name: &str| stat(&format!("observations_{name}"));
        Self {
            exported: part(&format!("exported._.{destination}")),
            waiting: part(&format!("waiting._.{destination}")),
            dropped: ["table", "collector", "ambiguous", "trap"]
                .map(|reason| (reason, part(&format!("dropped._.{destination}.{reason}")))),
        }
    }

    pub(crate) fn dropped_by(&self, reason: &str) -> u64 {
        self.dropped.iter().filter(|(name, _)| *name == reason).map(|(_, count)| count).sum()
    }

    pub(crate) fn sum(&self) -> u64 {
        self.exported + self.waiting + self.dropped.iter().map(|(_, count)| count).sum::<u64>()
    }
}

/// Copies the items in the queue except the first `skipped`.
pub(crate) fn items(skipped: usize) -> Vec<Vec<u8>> {
    fake::with(|host| host.queues.items(QUEUE_HTTP).skip(skipped).map(<[u8]>::to_vec).collect())
}

/// Enqueues an item as an untrusted plugin; does nothing before the first service.
pub(crate) fn forge(item: &[u8]) {
    let _ = main_thread::enqueue(QUEUE_HTTP, item);
}
