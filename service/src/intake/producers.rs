//! The producers of batches: checks that their batches arrive once and without gaps.
//!
//! The position of each producer is saved in the checkpoint. So a restarted service detects batches that
//! its predecessor took out of the queue without aggregating them, and counts them as missing.

use tributary_proto::batch::Batch;

use crate::checkpoint::ProducerPosition;

/// The maximum number of producers. An Envoy has one producer per worker and filter configuration. A
/// changed configuration leaves its producers behind, so the producer that was quiet longest is replaced.
pub const PRODUCERS_MAX: usize = 1024;

/// The last batch of each producer. A linear search costs less than merging a batch.
#[derive(Debug, Default)]
pub struct Producers {
    slots: Vec<Slot>,
    /// The number of batches of all producers, to find the producer that was quiet longest.
    batches: u64,
    /// The index of the slot of the last registered batch.
    last: usize,
    /// Whether every producer of this process is known. Then the first batch of a new producer has number 1.
    is_complete: bool,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    position: ProducerPosition,
    /// The number of the producer's last batch among the batches of all producers.
    last_batch: u64,
}

/// The position of a batch among the batches of its producer, according to its sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The batch is the expected next batch, or the first batch from a producer whose earlier batches are
    /// unknown.
    InOrder,
    /// Batches before it are missing.
    AfterGap {
        /// The number of missing batches.
        batches: u64,
        /// The number of observations in the missing batches.
        observations: u64,
    },
    /// The batch has already arrived.
    Duplicate,
}

impl Producers {
    /// Loads the positions that a previous service of this process saved.
    pub fn load() -> Self {
        let mut producers = Self::default();
        for slot in 0..PRODUCERS_MAX {
            let stored = ProducerPosition::load(slot);
            producers.is_complete = stored == Ok(None);
            let Ok(Some(position)) = stored else { break };
            producers.slots.push(Slot { position, last_batch: 0 });
        }
        producers
    }

    /// Saves the position of the last registered batch; call it after the batch was aggregated. Writes at
    /// most [`PRODUCERS_MAX`] keys. A failed write is retried with the producer's next batch.
    pub fn save(&self) {
        if let Some(Slot { position, .. }) = self.slots.get(self.last) {
            position.save(self.last);
        }
    }

    /// Registers a batch by its sequence number, and returns whether it is in order, follows a gap or is a
    /// duplicate.
    pub fn register(&mut self, batch: &Batch) -> Arrival {
        let Batch { producer, sequence, observed_before, .. } = *batch;
        let observations = observed_before.saturating_add(batch.observations());
        let position = ProducerPosition { producer, sequence, observations };
        self.batches = self.batches.saturating_add(1);
        let last_batch = self.batches;
        let mut known = self.slots.iter_mut().enumerate();
        if let Some((number, slot)) = known.find(|(_, slot)| slot.position.producer == producer) {
            self.last = number;
            slot.last_batch = last_batch;
            let step = sequence.checked_sub(slot.position.sequence);
            let Some(batches) = step.and_then(|step| step.checked_sub(1)) else { return Arrival::Duplicate };
            let observations = observed_before.saturating_sub(slot.position.observations);
            slot.position = position;
            return if batches == 0 { Arrival::InOrder } else { Arrival::AfterGap { batches, observations } };
        }
        let slot = Slot { position, last_batch };
        let is_first = sequence <= 1 || !self.is_complete || self.slots.len() >= PRODUCERS_MAX;
        if self.slots.len() < PRODUCERS_MAX {
            self.last = self.slots.len();
            self.slots.push(slot);
        } else if let Some((number, quietest)) =
            self.slots.iter_mut().enumerate().min_by_key(|(_, slot)| slot.last_batch)
        {
            self.last = number;
            *quietest = slot;
        }
        if is_first {
            return Arrival::InOrder;
        }
        Arrival::AfterGap { batches: sequence.saturating_sub(1), observations: observed_before }
    }
}

#[cfg(test)]
mod tests {
    use tributary_host::fake;

    use super::*;

    /// Registers an empty batch of a producer that had `observed_before` observations.
    fn register(producers: &mut Producers, producer: u64, sequence: u64, observed_before: u64) -> Arrival {
        let (counters, groups) = (vec![], vec![]);
        producers.register(&Batch { producer, sequence, observed_before, counters, groups })
    }

    #[test]
    fn gaps_and_duplicates_are_found_by_producer() {
        let mut producers = Producers::default();
        for (producer, sequence, observed_before, expected) in [
            (1, 1, 0, Arrival::InOrder),
            (1, 2, 0, Arrival::InOrder),
            (2, 9, 50, Arrival::InOrder),
            (1, 5, 30, Arrival::AfterGap { batches: 2, observations: 30 }),
            (1, 5, 30, Arrival::Duplicate),
            (1, 4, 20, Arrival::Duplicate),
            (2, 10, 50, Arrival::InOrder),
            (2, 12, 51, Arrival::AfterGap { batches: 1, observations: 1 }),
            (1, 6, 30, Arrival::InOrder),
            (1, u64::MAX, 0, Arrival::AfterGap { batches: u64::MAX - 7, observations: 0 }),
        ] {
            let arrival = register(&mut producers, producer, sequence, observed_before);
            assert_eq!(arrival, expected, "{producer} {sequence}");
        }
    }

    #[test]
    fn a_batch_that_was_not_saved_is_missing_after_a_restart() {
        fake::reset();
        let mut producers = Producers::default();
        for (producer, sequence, observed_before) in [(1, 1, 0), (2, 7, 70), (1, 2, 10)] {
            register(&mut producers, producer, sequence, observed_before);
            producers.save();
        }
        register(&mut producers, 1, 3, 10);
        let mut next = Producers::load();
        assert_eq!(register(&mut next, 2, 8, 70), Arrival::InOrder);
        assert_eq!(register(&mut next, 1, 4, 25), Arrival::AfterGap { batches: 1, observations: 15 });
        let first = Arrival::AfterGap { batches: 1, observations: 9 };
        assert_eq!(register(&mut next, 3, 2, 9), first, "its first batch was not aggregated");
        assert_eq!(register(&mut next, 4, 1, 0), Arrival::InOrder);
        fake::with(|host| host.store.set("tributary.producer.1", b"not a position", 0)).unwrap();
        let mut incomplete = Producers::load();
        assert_eq!(incomplete.slots.len(), 1);
        assert_eq!(register(&mut incomplete, 2, 8, 70), Arrival::InOrder, "it may have been known");
    }

    #[test]
    fn unknown_producers_cannot_exceed_the_limit() {
        let mut producers = Producers::default();
        register(&mut producers, 0, 1, 0);
        for producer in 1..5_000 {
            register(&mut producers, producer, 1, 0);
            register(&mut producers, 0, producer + 1, 0);
        }
        assert_eq!(producers.slots.len(), PRODUCERS_MAX);
        let arrival = register(&mut producers, 0, 5_000, 0);
        assert_eq!(arrival, Arrival::Duplicate, "a frequent producer is kept");
    }
}
