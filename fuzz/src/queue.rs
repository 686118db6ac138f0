//! The queue: any plugin with the service's `vm_id` can put anything into it.

use std::collections::BTreeMap;

use tributary_host::fake;
use tributary_proto::batch::Batch;
use tributary_proto::limits::QUEUE_HTTP;

use crate::frames;
use crate::service_harness::{ENCODINGS, ServiceHarness, stat};

/// Items of one input.
const ITEMS_MAX: usize = 16;

/// What should have become of the items, by a second reckoning.
#[derive(Debug, Default, PartialEq, Eq)]
struct Expected {
    refused: u64,
    duplicate: u64,
    received: u64,
    aggregated: u64,
    /// The last sequence of each producer.
    last: BTreeMap<u64, u64>,
}

/// Puts the pieces of the input behind its first byte into the queue, one by one. Each is taken, refused or known already, and
/// nothing else; what is taken is exported in the way that the first byte says.
pub fn check(input: &[u8]) {
    let [choice, input @ ..] = input else { return };
    let Some(way) = ENCODINGS.get(usize::from(*choice) % ENCODINGS.len()) else { return };
    fake::reset();
    let service = ServiceHarness::begin(way);
    assert!(service.is_some(), "the service begins");
    let Some(mut service) = service else { return };
    let mut expected = Expected::default();
    for item in frames::split(input, ITEMS_MAX) {
        expected.arrived(item);
        let is_in = fake::with(|host| {
            let token = host.queues.resolve(QUEUE_HTTP)?;
            host.queues.enqueue(token, item)
        });
        assert!(is_in.is_ok(), "the queue is there");
        service.drain();
    }
    let found = Expected {
        refused: stat("batches_refused"),
        duplicate: stat("batches_duplicate"),
        received: stat("batches_received"),
        aggregated: stat("observations_aggregated"),
        last: std::mem::take(&mut expected.last),
    };
    assert_eq!(found, Expected { last: found.last.clone(), ..expected });
    // The values, then that they have ended; of nothing there is nothing to say.
    if found.received > 0 {
        service.export();
        service.export();
        service.end();
    }
}

impl Expected {
    fn arrived(&mut self, item: &[u8]) {
        let Ok(batch) = Batch::decode(item) else {
            self.refused = self.refused.saturating_add(1);
            return;
        };
        // Extremes that contradict each other are written as none; what was written once stays.
        let written = Batch::decode(&batch.encode());
        assert!(written.is_ok(), "what is read can be written: {batch:?}");
        assert_eq!(written.as_ref().map(|batch| Batch::decode(&batch.encode())), Ok(written.clone()));
        let last = self.last.entry(batch.producer).or_insert(0);
        if batch.sequence <= *last {
            self.duplicate = self.duplicate.saturating_add(1);
            return;
        }
        *last = batch.sequence;
        self.received = self.received.saturating_add(1);
        self.aggregated = self.aggregated.saturating_add(batch.observations());
    }
}
