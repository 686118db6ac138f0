//! Who hands over, and whether anything of it went missing or came twice.

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
    /// The next one, or the first of a producer: there is no telling what came before this service.
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
        if let Some(seen) = self.last.iter_mut().find(|seen| seen.producer == producer) {
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
        if self.last.len() < PRODUCERS_MAX {
            self.last.push(seen);
        } else if let Some(quietest) = self.last.iter_mut().min_by_key(|seen| seen.turn) {
            *quietest = seen;
        }
        Arrival::InOrder
    }
}

#[cfg(test)]
mod tests {
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
