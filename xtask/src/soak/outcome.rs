//! What a soak found.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Serialize;
use tributary_tests::load::Tally;

use super::faults::Weather;
use super::ledger::{Exports, Totals, Watch};

const MIB: u64 = 1024 * 1024;

/// The memory of Envoy, second by second.
#[derive(Debug, Default)]
pub(super) struct Memory(Vec<u64>);

/// The outcome of a soak; its JSON form is what `--json` prints.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    seed: u64,
    seconds: f64,
    requests: u64,
    /// Requests that the load generator saw fail.
    failed: u64,
    #[serde(skip)]
    first_failure: Option<String>,
    /// Requests that are not with every collector.
    lost: u64,
    totals: Totals,
    /// How often the ledger was looked at, and the most observations that were under way at a time.
    ledger_looks: u64,
    ledger_gap_max: u64,
    /// How often each fault was drawn.
    faults: BTreeMap<&'static str, u64>,
    exports: Exports,
    /// Envoy's memory after a tenth of the time, half of it, and all of it.
    resident_mib: [u64; 3],
}

impl Memory {
    /// So much is in use now.
    pub(super) fn sample(&mut self, bytes: u64) {
        self.0.push(bytes);
    }

    /// After so many hundredths of the time, in MiB.
    fn after(&self, percent: usize) -> u64 {
        let last = self.0.len().saturating_sub(1);
        self.0.get(last * percent / 100).copied().unwrap_or(0) / MIB
    }
}

impl Outcome {
    #[expect(clippy::too_many_arguments, reason = "each is a part of the outcome")]
    pub(super) fn new(
        seed: u64,
        elapsed: Duration,
        tally: &Tally,
        totals: Totals,
        weather: &Weather,
        watch: &Watch,
        memory: &Memory,
        exports: Exports,
    ) -> Self {
        Self {
            seed,
            seconds: elapsed.as_secs_f64(),
            requests: tally.sent(),
            failed: tally.failed(),
            first_failure: tally.first_failure.clone(),
            lost: totals.lost(tally.sent()),
            totals,
            ledger_looks: watch.looks,
            ledger_gap_max: watch.gap_max,
            faults: weather.drawn(),
            exports,
            resident_mib: [10, 50, 100].map(|percent| memory.after(percent)),
        }
    }

    /// Nothing if every request got its answer, and is with every collector once.
    ///
    /// # Errors
    /// It is not so.
    pub(super) fn verdict(&self) -> Result<()> {
        let first = self.first_failure.as_deref().unwrap_or_default();
        ensure!(self.failed == 0, "{} requests failed, the first with {first}", self.failed);
        ensure!(
            self.totals.agree(self.requests),
            "the counts of {} requests differ: {:?}",
            self.requests,
            self.totals
        );
        Ok(())
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Exports { succeeded, failed, points_dropped, points_rejected } = self.exports;
        let [tenth, half, all] = self.resident_mib;
        let faults: Vec<String> = self.faults.iter().map(|(name, count)| format!("{name} {count}")).collect();
        writeln!(
            formatter,
            " requests       {} in {:.0} s, seed {}",
            self.requests, self.seconds, self.seed
        )?;
        writeln!(formatter, " moods drawn    {}", faults.join(", "))?;
        writeln!(
            formatter,
            " exports        {succeeded} taken, {failed} failed; points: {points_dropped} refused for good, \
             {points_rejected} rejected"
        )?;
        writeln!(
            formatter,
            " ledger         {} looks, at most {} observations under way",
            self.ledger_looks, self.ledger_gap_max
        )?;
        writeln!(
            formatter,
            " Envoy's memory {tenth} MiB after a tenth of the time, {half} after half, {all} at the end"
        )?;
        write!(formatter, " lost: {}", self.lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::ledger::Collected;

    fn outcome(filter: u64) -> Outcome {
        let collected = Collected { name: "delta", filter, access_log: 9, log_stream: 9, shared_data: 9 };
        let totals = Totals { envoy: 9, observed: 27, aggregated: 27, collectors: vec![collected] };
        let mut tally = Tally::default();
        tally.shapes.entry("a".to_owned()).or_default().answered.insert(200, 9);
        let mut memory = Memory::default();
        (0..=100).for_each(|second| memory.sample(second * MIB));
        let exports = Exports { succeeded: 1, failed: 0, points_dropped: 0, points_rejected: 0 };
        let (weather, watch) = (Weather::new(1), Watch::default());
        Outcome::new(1, Duration::from_secs(3), &tally, totals, &weather, &watch, &memory, exports)
    }

    #[test]
    fn a_request_that_one_collector_does_not_have_is_lost() {
        assert_eq!(outcome(9).lost, 0);
        assert!(outcome(9).verdict().is_ok());
        let short = outcome(8);
        assert_eq!(short.lost, 1);
        assert!(short.verdict().is_err() && short.to_string().ends_with("lost: 1"), "{short}");
        assert!(outcome(10).verdict().is_err(), "nor may it have one twice");
    }

    #[test]
    fn memory_is_told_at_three_times() {
        assert_eq!(outcome(9).resident_mib, [10, 50, 100]);
    }
}
