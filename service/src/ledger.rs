//! The ledger of one destination: what became of the observations that were added up. Each is exported, dropped for a reason, or
//! waits; the sum is what was added up, to the unit, whenever the service is not at work.
//!
//! It is kept in Envoy's own statistics, which count on when a service fails and is made anew: so the next one knows what the
//! one before it had and never brought to its destination.

use tributary_host::stats::Gauge;
use tributary_proto::exports::Export;

use crate::stats::{Count, Reason};

/// Where the observations are, for one destination.
#[derive(Debug)]
pub struct Ledger {
    exported: Count,
    dropped: [Count; Reason::OF_OBSERVATIONS.len()],
    waiting: Gauge,
    /// Exported or dropped, in the life of the process.
    settled: u64,
    /// What was added up when the present cycle began.
    cycle: u64,
    /// What the statistic says, once this service has said it.
    told: Option<u64>,
}

impl Ledger {
    /// The ledger of the destination with this name, as the last service left it.
    pub fn define(destination: &str) -> Self {
        let name = |what: &str| format!("tributary_observations_{what}.{}", in_statistic(destination));
        let exported = Count::define(&name("exported"));
        let dropped = Reason::OF_OBSERVATIONS
            .map(|reason| Count::define(&format!("{}.{}", name("dropped"), reason.name())));
        let counts = [&exported].into_iter().chain(&dropped);
        let settled = counts.fold(0, |sum: u64, count| sum.saturating_add(count.ever()));
        Self { exported, dropped, waiting: Gauge::define(&name("waiting")), settled, cycle: 0, told: None }
    }

    /// A cycle of cumulative sums begins; so much was added up in the life of the process.
    pub fn cycle_began(&mut self, aggregated: u64) {
        self.cycle = aggregated;
    }

    /// The destination has taken a whole cycle of cumulative sums, and with it all that was added up when it began.
    pub fn cycle_taken(&mut self) {
        self.export(self.cycle.saturating_sub(self.settled));
    }

    /// The destination has taken so many observations.
    pub fn export(&mut self, observations: u64) {
        self.exported.add(observations);
        self.settled = self.settled.saturating_add(observations);
    }

    /// So many observations will never be there.
    pub fn drop(&mut self, reason: Reason, observations: u64) {
        if let Some((_, count)) = self.dropped().find(|(present, _)| *present == reason) {
            count.add(observations);
        }
        self.settled = self.settled.saturating_add(observations);
    }

    /// Of so many that were added up in the life of the process, those that wait.
    pub fn waiting(&self, aggregated: u64) -> u64 {
        aggregated.saturating_sub(self.settled)
    }

    /// Says how it stands, when so many were added up in the life of the process.
    pub fn tell(&mut self, aggregated: u64, export: &mut Export) {
        let waiting = self.waiting(aggregated);
        if self.told.replace(waiting) != Some(waiting) {
            self.waiting.set(waiting);
        }
        export.exported = self.exported.ever();
        export.waiting = waiting;
        export.dropped = self.dropped().fold(0, |sum, (_, count)| sum.saturating_add(count.ever()));
    }

    /// Those that the destination has taken.
    pub fn exported(&self) -> &Count {
        &self.exported
    }

    /// Those that will never be there, by why.
    pub fn dropped(&self) -> impl Iterator<Item = (Reason, &Count)> {
        Reason::OF_OBSERVATIONS.into_iter().zip(&self.dropped)
    }
}

/// A name as a part of a statistic's: what would divide it there, or in what statistics are sent to, is `_`.
pub fn in_statistic(name: &str) -> String {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-');
    name.chars().map(|character| if is_plain(character) { character } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tributary_host::fake;

    use super::*;

    fn stat(name: &str) -> u64 {
        fake::with(|host| host.stat(&format!("tributary_observations_{name}")))
    }

    #[test]
    fn a_whole_cycle_brings_what_was_there_when_it_began() {
        fake::reset();
        let mut ledger = Ledger::define("a.b:c");
        ledger.cycle_began(10);
        ledger.tell(12, &mut Export::default());
        assert_eq!((stat("waiting.a_b_c"), stat("exported.a_b_c")), (12, 0));
        ledger.cycle_taken();
        ledger.tell(12, &mut Export::default());
        assert_eq!((stat("waiting.a_b_c"), stat("exported.a_b_c")), (2, 10));
        ledger.cycle_began(12);
        ledger.drop(Reason::Table, 3);
        ledger.cycle_taken();
        ledger.tell(15, &mut Export::default());
        // What was dropped meanwhile is set off against the cycle, so that nothing is called exported that is not.
        assert_eq!((stat("waiting.a_b_c"), stat("exported.a_b_c"), stat("dropped.a_b_c.table")), (2, 10, 3));
    }

    proptest! {
        #[test]
        fn it_adds_up_after_every_step_and_over_lives(steps in prop::collection::vec((0u8..6, 0u64..100), 0..60)) {
            fake::reset();
            let (mut ledger, mut aggregated) = (Ledger::define("d"), 0);
            for (step, number) in steps {
                match step {
                    0 => aggregated += number,
                    1 => ledger.cycle_began(aggregated),
                    2 => ledger.cycle_taken(),
                    3 => ledger.export(number.min(ledger.waiting(aggregated))),
                    4 => ledger.drop(Reason::Collector, number.min(ledger.waiting(aggregated))),
                    _ => {
                        ledger = Ledger::define("d");
                        ledger.drop(Reason::Trap, ledger.waiting(aggregated));
                    }
                }
                let mut export = Export::default();
                ledger.tell(aggregated, &mut export);
                let dropped = stat("dropped.d.table") + stat("dropped.d.collector") + stat("dropped.d.trap");
                prop_assert_eq!(stat("exported.d") + stat("waiting.d") + dropped, aggregated);
                let told = (export.exported, export.waiting, export.dropped);
                prop_assert_eq!(told, (stat("exported.d"), stat("waiting.d"), dropped));
            }
        }
    }
}
