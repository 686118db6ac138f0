//! Who hands over, and whether anything of it went missing or came twice.
//!
//! What is known of each is in shared data too: a service that is made anew after a failure knows by it what the one before had
//! taken out of the queue and not added up.

use tributary_host::shared_data::{SharedData, Version};
use tributary_proto::batch::Batch;

/// Producers remembered. An Envoy has one per worker and configuration of a filter; a configuration that changes leaves
/// its producers behind, so the one that was quiet longest is forgotten first.
pub const PRODUCERS_MAX: usize = 1024;

/// The last sequence number of each producer. Looking through all of them costs less than what a batch brings.
#[derive(Debug, Default)]
pub struct Producers {
    last: Vec<Seen>,
    /// Counts batches, to tell which producer was quiet longest.
    turn: u64,
    /// The place of whoever spoke last.
    at: usize,
    /// Whether it has everybody whose batches another service of this process has added up: whoever else there is begins with 1.
    goes_on: bool,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    producer: u64,
    sequence: u64,
    /// Observations in all its batches up to this one.
    observed: u64,
    turn: u64,
}

/// What a batch's number says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The next one, or the first of a producer: there is no telling what came before the first service of a process.
    InOrder,
    /// Some before it never came.
    After {
        /// How many.
        batches: u64,
        /// How many observations they had.
        observations: u64,
    },
    /// It was here before.
    Duplicate,
}

impl Producers {
    /// Notes a batch.
    pub fn arrived(&mut self, batch: &Batch) -> Arrival {
        let Batch { producer, sequence, observed_before, .. } = *batch;
        let observed = observed_before.saturating_add(batch.observations());
        self.turn = self.turn.saturating_add(1);
        let turn = self.turn;
        let mut known = self.last.iter_mut().enumerate();
        if let Some((at, seen)) = known.find(|(_, seen)| seen.producer == producer) {
            self.at = at;
            seen.turn = turn;
            let Some(missing) = sequence.checked_sub(seen.sequence).and_then(|step| step.checked_sub(1))
            else {
                return Arrival::Duplicate;
            };
            let observations = observed_before.saturating_sub(seen.observed);
            (seen.sequence, seen.observed) = (sequence, observed);
            return match missing {
                0 => Arrival::InOrder,
                batches => Arrival::After { batches, observations },
            };
        }
        let seen = Seen { producer, sequence, observed, turn };
        let is_first = sequence <= 1 || !self.goes_on || self.last.len() >= PRODUCERS_MAX;
        if self.last.len() < PRODUCERS_MAX {
            self.at = self.last.len();
            self.last.push(seen);
        } else if let Some((at, quietest)) =
            self.last.iter_mut().enumerate().min_by_key(|(_, seen)| seen.turn)
        {
            self.at = at;
            *quietest = seen;
        }
        if is_first {
            return Arrival::InOrder;
        }
        Arrival::After { batches: sequence.saturating_sub(1), observations: observed_before }
    }

    /// Writes down the batch that arrived last, once it has been added up. There are [`PRODUCERS_MAX`] keys at the most; one
    /// that cannot be written is with the producer's next batch.
    pub fn remember(&self, data: &mut impl SharedData) {
        if let Some(Seen { producer, sequence, observed, .. }) = self.last.get(self.at) {
            let bytes: Vec<u8> =
                [producer, sequence, observed].into_iter().flat_map(|it| it.to_le_bytes()).collect();
            let _ = data.set(&key(self.at), &bytes, Version::ANY);
        }
    }

    /// What another service of this process has written down.
    pub fn recall(data: &mut impl SharedData) -> Self {
        let mut producers = Self::default();
        for place in 0..PRODUCERS_MAX {
            let written = data.get(&key(place));
            producers.goes_on = matches!(written, Ok(None));
            let Some(seen) = written.ok().flatten().and_then(|(bytes, _)| Seen::decode(&bytes)) else {
                break;
            };
            producers.last.push(seen);
        }
        producers
    }
}

impl Seen {
    fn decode(bytes: &[u8]) -> Option<Self> {
        let (numbers, []) = bytes.as_chunks() else { return None };
        let &[producer, sequence, observed] = numbers else { return None };
        let [producer, sequence, observed] = [producer, sequence, observed].map(u64::from_le_bytes);
        Some(Self { producer, sequence, observed, turn: 0 })
    }
}

/// The key in shared data of a producer's place.
fn key(place: usize) -> String {
    format!("tributary.producer.{place}")
}

#[cfg(test)]
mod tests {
    use tributary_host::fake;
    use tributary_host::shared_data::HostSharedData;

    use super::*;

    /// Of a producer that has `observed_before` behind it; the batch itself has nothing.
    fn arrived(producers: &mut Producers, producer: u64, sequence: u64, observed_before: u64) -> Arrival {
        let (counters, groups) = (vec![], vec![]);
        producers.arrived(&Batch { producer, sequence, observed_before, counters, groups })
    }

    #[test]
    fn gaps_and_duplicates_are_told_by_producer() {
        let mut producers = Producers::default();
        for (producer, sequence, observed_before, expected) in [
            (1, 1, 0, Arrival::InOrder),
            (1, 2, 0, Arrival::InOrder),
            (2, 9, 50, Arrival::InOrder),
            (1, 5, 30, Arrival::After { batches: 2, observations: 30 }),
            (1, 5, 30, Arrival::Duplicate),
            (1, 4, 20, Arrival::Duplicate),
            (2, 10, 50, Arrival::InOrder),
            (2, 12, 51, Arrival::After { batches: 1, observations: 1 }),
            (1, 6, 30, Arrival::InOrder),
            (1, u64::MAX, 0, Arrival::After { batches: u64::MAX - 7, observations: 0 }),
        ] {
            let arrival = arrived(&mut producers, producer, sequence, observed_before);
            assert_eq!(arrival, expected, "{producer} {sequence}");
        }
    }

    #[test]
    fn a_batch_that_was_not_written_down_is_missing_in_the_next_life() {
        fake::reset();
        let mut producers = Producers::default();
        for (producer, sequence, observed_before) in [(1, 1, 0), (2, 7, 70), (1, 2, 10)] {
            arrived(&mut producers, producer, sequence, observed_before);
            producers.remember(&mut HostSharedData);
        }
        arrived(&mut producers, 1, 3, 10);
        let mut next = Producers::recall(&mut HostSharedData);
        assert_eq!(arrived(&mut next, 2, 8, 70), Arrival::InOrder);
        assert_eq!(arrived(&mut next, 1, 4, 25), Arrival::After { batches: 1, observations: 15 });
        let first = Arrival::After { batches: 1, observations: 9 };
        assert_eq!(arrived(&mut next, 3, 2, 9), first, "nobody has added up its first");
        assert_eq!(arrived(&mut next, 4, 1, 0), Arrival::InOrder);
        fake::with(|host| host.store.set(&key(1), b"what is no number", 0)).unwrap();
        let mut forgetful = Producers::recall(&mut HostSharedData);
        assert_eq!(forgetful.last.len(), 1);
        assert_eq!(arrived(&mut forgetful, 2, 8, 70), Arrival::InOrder, "it may have been known");
    }

    #[test]
    fn strangers_cannot_make_it_grow() {
        let mut producers = Producers::default();
        arrived(&mut producers, 0, 1, 0);
        for producer in 1..5_000 {
            arrived(&mut producers, producer, 1, 0);
            arrived(&mut producers, 0, producer + 1, 0);
        }
        assert_eq!(producers.last.len(), PRODUCERS_MAX);
        assert_eq!(
            arrived(&mut producers, 0, 5_000, 0),
            Arrival::Duplicate,
            "who speaks often is remembered"
        );
    }
}
