//! The ledger of one destination: each aggregated observation is exported, dropped for a reason, or
//! waiting. After each callback, these three numbers add up to exactly the number of aggregated
//! observations.
//!
//! The ledger is kept in shared data, which survives a trap. So a restarted service knows which observations
//! its predecessor aggregated and never exported. Shared data does not survive a hot restart: what the old
//! process has aggregated, it exports or logs itself.

use tributary_host::stats::Gauge;
use tributary_proto::exports::Export;

use crate::checkpoint::LedgerCount;
use crate::stats::{DropReason, ledger_statistic, statistic_name};

/// The numbers of exported, dropped and waiting observations for one destination.
#[derive(Debug)]
pub struct Ledger {
    /// The exported observations.
    pub exported: LedgerCount,
    dropped: [LedgerCount; DropReason::OBSERVATIONS.len()],
    waiting: Gauge,
    /// The number of observations that all services of the process exported or dropped.
    settled: u64,
    /// The number of observations that the process had aggregated when the current cycle started.
    cycle: u64,
}

impl Ledger {
    /// Creates the ledger of the destination with this name. It continues from the counts of the previous
    /// service.
    pub fn load(destination: &str) -> Self {
        let name = |what: &str| format!("{}.{}", ledger_statistic(what), statistic_name(destination));
        let exported = LedgerCount::load(name("exported"));
        let dropped = DropReason::OBSERVATIONS
            .map(|reason| LedgerCount::load(format!("{}.{}", name("dropped"), reason.name())));
        let counters = [&exported].into_iter().chain(&dropped);
        let settled = counters.fold(0, |sum: u64, counter| sum.saturating_add(counter.of_process()));
        Self { exported, dropped, waiting: Gauge::define(&name("waiting")), settled, cycle: 0 }
    }

    /// Records the start of a cycle of cumulative sums. `aggregated` counts the observations of the process.
    pub fn cycle_started(&mut self, aggregated: u64) {
        self.cycle = aggregated;
    }

    /// Records that the destination accepted a whole cycle of cumulative sums: everything that was
    /// aggregated when the cycle started now counts as exported.
    pub fn cycle_accepted(&mut self) {
        self.export(self.cycle.saturating_sub(self.settled));
    }

    /// Records exported observations.
    pub fn export(&mut self, observations: u64) {
        self.exported.add(observations);
        self.settled = self.settled.saturating_add(observations);
    }

    /// Records dropped observations.
    pub fn drop(&mut self, reason: DropReason, observations: u64) {
        if let Some((_, counter)) = self.dropped().find(|(present, _)| *present == reason) {
            counter.add(observations);
        }
        self.settled = self.settled.saturating_add(observations);
    }

    /// Returns how many of the `aggregated` observations of the process are neither exported nor dropped.
    pub fn waiting(&self, aggregated: u64) -> u64 {
        aggregated.saturating_sub(self.settled)
    }

    /// Publishes the ledger in the statistics and in `export`. `aggregated` is the number of observations
    /// that the process has aggregated.
    pub fn publish(&mut self, aggregated: u64, export: &mut Export) {
        let waiting = self.waiting(aggregated);
        self.waiting.set(waiting);
        [&self.exported].into_iter().chain(&self.dropped).for_each(LedgerCount::publish);
        export.exported = self.exported.of_process();
        export.waiting = waiting;
        export.dropped = self.dropped().fold(0, |sum, (_, counter)| sum.saturating_add(counter.of_process()));
    }

    /// Iterates over the numbers of dropped observations, each with its reason.
    pub fn dropped(&self) -> impl Iterator<Item = (DropReason, &LedgerCount)> {
        DropReason::OBSERVATIONS.into_iter().zip(&self.dropped)
    }
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
    fn an_accepted_cycle_exports_what_was_aggregated_at_its_start() {
        fake::reset();
        let mut ledger = Ledger::load("a.b:c");
        ledger.cycle_started(10);
        ledger.publish(12, &mut Export::default());
        assert_eq!((stat("waiting._.a_b_c"), stat("exported._.a_b_c")), (12, 0));
        ledger.cycle_accepted();
        ledger.publish(12, &mut Export::default());
        assert_eq!((stat("waiting._.a_b_c"), stat("exported._.a_b_c")), (2, 10));
        ledger.cycle_started(12);
        ledger.drop(DropReason::Table, 3);
        ledger.cycle_accepted();
        ledger.publish(15, &mut Export::default());
        // Observations that were dropped during the cycle do not count as exported.
        assert_eq!(
            (stat("waiting._.a_b_c"), stat("exported._.a_b_c"), stat("dropped._.a_b_c.table")),
            (2, 10, 3)
        );
    }

    proptest! {
        #[test]
        fn the_ledger_adds_up_after_every_step_and_restart(steps in prop::collection::vec((0u8..6, 0u64..100), 0..60)) {
            fake::reset();
            let (mut ledger, mut aggregated) = (Ledger::load("d"), 0);
            for (step, number) in steps {
                match step {
                    0 => aggregated += number,
                    1 => ledger.cycle_started(aggregated),
                    2 => ledger.cycle_accepted(),
                    3 => ledger.export(number.min(ledger.waiting(aggregated))),
                    4 => ledger.drop(DropReason::Collector, number.min(ledger.waiting(aggregated))),
                    _ => {
                        ledger = Ledger::load("d");
                        ledger.drop(DropReason::Trap, ledger.waiting(aggregated));
                    }
                }
                let mut export = Export::default();
                ledger.publish(aggregated, &mut export);
                let dropped = stat("dropped._.d.table") + stat("dropped._.d.collector") + stat("dropped._.d.trap");
                prop_assert_eq!(stat("exported._.d") + stat("waiting._.d") + dropped, aggregated);
                let published = (export.exported, export.waiting, export.dropped);
                prop_assert_eq!(published, (stat("exported._.d"), stat("waiting._.d"), dropped));
            }
        }
    }
}
