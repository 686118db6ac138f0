//! The result of a soak.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Result, ensure};
use serde::Serialize;

use super::ledger::{ExportStats, SoakCounts};

const MIB: u64 = 1024 * 1024;

/// The result of a soak; `--json` prints it.
#[derive(Debug, Serialize)]
pub(super) struct SoakReport {
    pub(super) seed: u64,
    pub(super) seconds: f64,
    pub(super) requests: u64,
    /// Requests that the load generator reports as failed.
    pub(super) failed: u64,
    #[serde(skip)]
    pub(super) first_failure: Option<String>,
    /// Requests that at least one collector did not receive.
    pub(super) lost: u64,
    pub(super) totals: SoakCounts,
    /// How often the ledger was checked.
    pub(super) ledger_checks: u64,
    /// The maximum number of observations in flight.
    pub(super) ledger_gap_max: u64,
    /// How often each fault mode was drawn.
    pub(super) faults: BTreeMap<&'static str, u64>,
    pub(super) exports: ExportStats,
    /// Envoy's resident memory after 10 %, 50 % and 100 % of the time, in MiB.
    pub(super) resident_mib: [u64; 3],
}

/// Returns Envoy's memory after 10 %, 50 % and 100 % of the time, in MiB. `bytes` is its memory at each
/// second.
pub(super) fn resident_mib(bytes: &[u64]) -> [u64; 3] {
    let last = bytes.len().saturating_sub(1);
    [10, 50, 100].map(|percent| bytes.get(last * percent / 100).copied().unwrap_or(0) / MIB)
}

impl SoakReport {
    /// Checks that every request got a response and that every collector counted it once.
    ///
    /// # Errors
    /// A request failed, or the counts differ.
    pub(super) fn check(&self) -> Result<()> {
        let first = self.first_failure.as_deref().unwrap_or_default();
        ensure!(self.failed == 0, "{} requests failed, the first with {first}", self.failed);
        ensure!(
            self.totals.agree(self.requests),
            "the counts of {} requests differ: {}",
            self.requests,
            serde_json::to_string(&self.totals)?
        );
        Ok(())
    }
}

impl fmt::Display for SoakReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ExportStats { succeeded, failed, points_dropped, points_rejected } = self.exports;
        let [tenth, half, all] = self.resident_mib;
        let faults: Vec<String> = self.faults.iter().map(|(name, count)| format!("{name} {count}")).collect();
        writeln!(
            formatter,
            " requests       {} in {:.0} s, seed {}",
            self.requests, self.seconds, self.seed
        )?;
        writeln!(formatter, " fault modes    {}", faults.join(", "))?;
        writeln!(
            formatter,
            " exports        {succeeded} succeeded, {failed} failed; points: {points_dropped} dropped, \
             {points_rejected} rejected"
        )?;
        writeln!(
            formatter,
            " ledger         {} checks, at most {} observations in flight",
            self.ledger_checks, self.ledger_gap_max
        )?;
        writeln!(
            formatter,
            " Envoy's memory {tenth} MiB after 10 % of the time, {half} after 50 %, {all} at the end"
        )?;
        write!(formatter, " lost: {}", self.lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::ledger::CollectorCounts;

    fn report(filter: u64) -> SoakReport {
        let counts = CollectorCounts { name: "delta", filter, access_log: 9, log_stream: 9, shared_data: 9 };
        let totals = SoakCounts { envoy: 9, observed: 27, aggregated: 27, collectors: vec![counts] };
        SoakReport {
            seed: 1,
            seconds: 3.0,
            requests: 9,
            failed: 0,
            first_failure: None,
            lost: totals.lost(9),
            totals,
            ledger_checks: 0,
            ledger_gap_max: 0,
            faults: BTreeMap::new(),
            exports: ExportStats { succeeded: 1, failed: 0, points_dropped: 0, points_rejected: 0 },
            resident_mib: [0; 3],
        }
    }

    #[test]
    fn a_request_that_one_collector_did_not_receive_is_lost() {
        assert_eq!(report(9).lost, 0);
        assert!(report(9).check().is_ok());
        let short = report(8);
        assert_eq!(short.lost, 1);
        assert!(short.check().is_err() && short.to_string().ends_with("lost: 1"), "{short}");
        assert!(report(10).check().is_err(), "a collector received a request twice");
    }

    #[test]
    fn memory_is_reported_at_three_times() {
        let memory: Vec<_> = (0..=100).map(|second| second * MIB).collect();
        assert_eq!(resident_mib(&memory), [10, 50, 100]);
    }
}
