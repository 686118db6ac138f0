//! Items of the queue, which any plugin with the same `vm_id` can write.

use std::collections::BTreeMap;

use tributary_host::fake;
use tributary_host::fake::main_thread::{self, stat};
use tributary_proto::batch::Batch;
use tributary_proto::limits::QUEUE_HTTP;

use crate::frames;
use crate::service_harness::{DESTINATIONS, NARROW, ServiceHarness};

/// The maximum number of items in one input.
const ITEMS_MAX: usize = 16;

/// The expected statistics of the service, counted independently.
#[derive(Debug, Default, PartialEq, Eq)]
struct Expected {
    invalid: u64,
    duplicate: u64,
    received: u64,
    aggregated: u64,
    /// The last sequence number received from each producer.
    last: BTreeMap<u64, u64>,
}

/// Enqueues the pieces of the input one by one. The first byte of the input selects the encoding. Checks
/// that the service counts each item as received, invalid or duplicate, and exports the received items.
pub fn check(input: &[u8]) {
    let [choice, input @ ..] = input else { return };
    let Some(destination) = DESTINATIONS.get(usize::from(*choice) % DESTINATIONS.len()) else { return };
    fake::reset();
    let service = ServiceHarness::start(destination, NARROW);
    let mut expected = Expected::default();
    for item in frames::split(input, ITEMS_MAX) {
        expected.add(item);
        assert_eq!(main_thread::enqueue(QUEUE_HTTP, item), Ok(()));
        service.drain();
    }
    let found = Expected {
        invalid: stat("batches_invalid"),
        duplicate: stat("batches_duplicate"),
        received: stat("batches_received"),
        aggregated: stat("observations_aggregated"),
        last: std::mem::take(&mut expected.last),
    };
    assert_eq!(found, Expected { last: found.last.clone(), ..expected });
    // Exports the values, then their staleness markers.
    if found.received > 0 {
        service.export();
        service.export();
        service.end();
    }
}

impl Expected {
    fn add(&mut self, item: &[u8]) {
        let Ok(batch) = Batch::decode(item.to_vec()) else {
            self.invalid = self.invalid.saturating_add(1);
            return;
        };
        // The encoder omits a contradictory `min` and `max`, so only a batch that was encoded here must
        // stay the same when it is decoded and encoded again.
        let encoded = Batch::decode(batch.encode());
        assert!(encoded.is_ok(), "a decoded batch can be encoded: {batch:?}");
        assert_eq!(encoded.as_ref().map(|batch| Batch::decode(batch.encode())), Ok(encoded.clone()));
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
