//! A second reckoning of what goes through the queue: each batch is read when it goes in and when it comes out.

use std::collections::BTreeMap;

use tributary_host::fake;
use tributary_proto::batch::Batch;
use tributary_proto::limits::QUEUE_HTTP;

/// Everything that was ever in the queue, and what the service should have made of it.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    producers: BTreeMap<u64, Producer>,
    pub(crate) handed_over: u64,
    pub(crate) aggregated: u64,
    pub(crate) duplicates: u64,
    pub(crate) refused: u64,
    missing: u64,
    /// Whether the service goes on from where another one failed.
    pub(crate) goes_on: bool,
}

/// The observations in each batch of one producer, by their sequence.
#[derive(Debug, Default)]
struct Producer {
    batches: BTreeMap<u64, u64>,
    /// The last that the service added up.
    last: u64,
}

impl Ledger {
    /// A worker put an item into the queue; gives its observations.
    pub(crate) fn put(&mut self, item: &[u8]) -> u64 {
        let batch = Batch::decode(item.to_vec()).unwrap();
        let observations = batch.observations();
        let before =
            self.producers.entry(batch.producer).or_default().batches.insert(batch.sequence, observations);
        assert!(before.is_none(), "batch {} of {} was there before", batch.sequence, batch.producer);
        self.handed_over += observations;
        observations
    }

    /// The service took what the host noted since.
    pub(crate) fn took_all(&mut self) {
        let taken = fake::with(|host| host.queues.taken.take()).unwrap_or_default();
        taken.iter().for_each(|item| self.took(item));
    }

    fn took(&mut self, item: &[u8]) {
        let Ok(batch) = Batch::decode(item.to_vec()) else {
            self.refused += 1;
            return;
        };
        let producer = self.producers.get_mut(&batch.producer).unwrap();
        if batch.sequence <= producer.last {
            self.duplicates += 1;
            return;
        }
        // What the service can tell is missing: between two batches of a producer that it has, or before the first where
        // another service of the process came before it.
        if producer.last > 0 || self.goes_on {
            let between = producer.batches.range(producer.last + 1..batch.sequence);
            self.missing += between.map(|(_, observations)| observations).sum::<u64>();
        }
        producer.last = batch.sequence;
        self.aggregated += batch.observations();
    }

    /// Observations that went into the queue and of which nothing is known yet.
    pub(crate) fn unknown(&self) -> u64 {
        self.handed_over - self.aggregated - self.missing
    }

    /// The service has told the same of itself.
    pub(crate) fn check(&self) {
        let told = [
            stat("observations_handed_over"),
            stat("observations_aggregated"),
            stat("observations_missing"),
            stat("batches_duplicate"),
            stat("batches_refused"),
        ];
        let expected = [self.handed_over, self.aggregated, self.missing, self.duplicates, self.refused];
        assert_eq!(told, expected, "handed over, aggregated, missing, duplicate and refused");
    }
}

/// What the service says became of what it added up, for one destination.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) exported: u64,
    pub(crate) waiting: u64,
    dropped: [(&'static str, u64); 3],
}

impl Account {
    pub(crate) fn of(destination: &str) -> Self {
        let part = |name: &str| stat(&format!("observations_{name}"));
        Self {
            exported: part(&format!("exported.{destination}")),
            waiting: part(&format!("waiting.{destination}")),
            dropped: ["table", "collector", "trap"]
                .map(|reason| (reason, part(&format!("dropped.{destination}.{reason}")))),
        }
    }

    pub(crate) fn dropped_by(&self, reason: &str) -> u64 {
        self.dropped.iter().filter(|(name, _)| *name == reason).map(|(_, count)| count).sum()
    }

    pub(crate) fn sum(&self) -> u64 {
        self.exported + self.waiting + self.dropped.iter().map(|(_, count)| count).sum::<u64>()
    }
}

/// What is in the queue, but for the first `skipped`.
pub(crate) fn items(skipped: usize) -> Vec<Vec<u8>> {
    fake::with(|host| host.queues.items(QUEUE_HTTP).skip(skipped).map(<[u8]>::to_vec).collect())
}

/// A stranger puts something into the queue.
pub(crate) fn forge(item: &[u8]) {
    fake::with(|host| {
        if let Ok(token) = host.queues.resolve(QUEUE_HTTP) {
            host.queues.enqueue(token, item).unwrap();
        }
    });
}

/// A stranger takes the first item out of the queue.
pub(crate) fn steal() -> Option<Vec<u8>> {
    fake::with(|host| {
        let token = host.queues.resolve(QUEUE_HTTP).ok()?;
        host.queues.dequeue(token).ok()
    })
}

/// A statistic of ours.
pub(crate) fn stat(name: &str) -> u64 {
    fake::with(|host| host.stat(&format!("tributary_{name}")))
}
