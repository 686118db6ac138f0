//! Who hands over, and whether anything of it went missing or came twice.

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
    turn: u64,
}

/// What a batch's number says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The next one, or the first of a producer: there is no telling what came before this service.
    InOrder,
    /// So many before it never came.
    After(u64),
    /// It was here before.
    Duplicate,
}

impl Producers {
    /// Notes a batch.
    pub fn arrived(&mut self, producer: u64, sequence: u64) -> Arrival {
        self.turn = self.turn.saturating_add(1);
        let turn = self.turn;
        if let Some(seen) = self.last.iter_mut().find(|seen| seen.producer == producer) {
            seen.turn = turn;
            let Some(missing) = sequence.checked_sub(seen.sequence).and_then(|step| step.checked_sub(1))
            else {
                return Arrival::Duplicate;
            };
            seen.sequence = sequence;
            return if missing == 0 { Arrival::InOrder } else { Arrival::After(missing) };
        }
        let seen = Seen { producer, sequence, turn };
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

    #[test]
    fn gaps_and_duplicates_are_told_by_producer() {
        let mut producers = Producers::default();
        for (producer, sequence, expected) in [
            (1, 1, Arrival::InOrder),
            (1, 2, Arrival::InOrder),
            (2, 9, Arrival::InOrder),
            (1, 5, Arrival::After(2)),
            (1, 5, Arrival::Duplicate),
            (1, 4, Arrival::Duplicate),
            (2, 10, Arrival::InOrder),
            (1, 6, Arrival::InOrder),
            (1, u64::MAX, Arrival::After(u64::MAX - 7)),
        ] {
            assert_eq!(producers.arrived(producer, sequence), expected, "{producer} {sequence}");
        }
    }

    #[test]
    fn strangers_cannot_make_it_grow() {
        let mut producers = Producers::default();
        producers.arrived(0, 1);
        for producer in 1..5_000 {
            producers.arrived(producer, 1);
            producers.arrived(0, producer + 1);
        }
        assert_eq!(producers.last.len(), PRODUCERS_MAX);
        assert_eq!(producers.arrived(0, 5_000), Arrival::Duplicate, "who speaks often is remembered");
    }
}
