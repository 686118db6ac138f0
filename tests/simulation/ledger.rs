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
}

/// The batches of one producer by their sequence.
#[derive(Debug, Default)]
struct Producer {
    batches: BTreeMap<u64, Handed>,
    /// The last that the service added up.
    last: u64,
}

/// One batch: its observations, and whether they were added up.
#[derive(Debug, Clone, Copy)]
struct Handed {
    observations: u64,
    is_aggregated: bool,
}

impl Ledger {
    /// A worker put an item into the queue; gives its observations.
    pub(crate) fn put(&mut self, item: &[u8]) -> u64 {
        let batch = Batch::decode(item).unwrap();
        let observations = batch.observations();
        let handed = Handed { observations, is_aggregated: false };
        let before = self.producers.entry(batch.producer).or_default().batches.insert(batch.sequence, handed);
        assert!(before.is_none(), "batch {} of {} was there before", batch.sequence, batch.producer);
        self.handed_over += observations;
        observations
    }

    /// The service took an item out of the queue.
    pub(crate) fn took(&mut self, item: &[u8]) {
        let Ok(batch) = Batch::decode(item) else {
            self.refused += 1;
            return;
        };
        let producer = self.producers.get_mut(&batch.producer).unwrap();
        if batch.sequence <= producer.last {
            self.duplicates += 1;
            return;
        }
        producer.last = batch.sequence;
        producer.batches.get_mut(&batch.sequence).unwrap().is_aggregated = true;
        self.aggregated += batch.observations();
    }

    /// Observations that the service can tell are missing: between two batches of a producer that it has.
    pub(crate) fn missing(&self) -> u64 {
        self.producers.values().map(Producer::missing).sum()
    }

    /// Observations that went into the queue and of which nothing is known yet.
    pub(crate) fn unknown(&self) -> u64 {
        self.handed_over - self.aggregated - self.missing()
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
        let expected = [self.handed_over, self.aggregated, self.missing(), self.duplicates, self.refused];
        assert_eq!(told, expected, "handed over, aggregated, missing, duplicate and refused");
    }
}

impl Producer {
    fn missing(&self) -> u64 {
        let aggregated = || self.batches.iter().filter(|(_, batch)| batch.is_aggregated).map(|(at, _)| *at);
        let (Some(first), Some(last)) = (aggregated().next(), aggregated().next_back()) else { return 0 };
        let between = self.batches.range(first..last).map(|(_, batch)| batch);
        between.filter(|batch| !batch.is_aggregated).map(|batch| batch.observations).sum()
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
