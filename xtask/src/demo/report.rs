//! The result of the demo: four independent counts of the same requests, which must be equal.

use std::fmt;

use anyhow::{Result, ensure};
use serde::Serialize;
use tributary_tests::ledger::EnvoyLedger;

/// Four independent counts of the same requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct RequestCounts {
    /// Requests that the load generator sent.
    pub(crate) requests_sent: u64,
    /// Requests in Envoy's own statistics.
    pub(crate) requests_envoy: u64,
    /// Requests that the workers counted in shared data.
    pub(crate) requests_counter: u64,
    /// Requests in the histograms that the collector received.
    pub(crate) requests_exported: u64,
}

/// The result of the demo; `--json` prints it.
#[derive(Debug, Serialize)]
pub(crate) struct DemoReport {
    pub(crate) workers: u32,
    pub(crate) collector: &'static str,
    #[serde(flatten)]
    pub(crate) counts: RequestCounts,
    pub(crate) lost: u64,
    /// The ledger, by the modules' own statistics.
    pub(crate) ledger: EnvoyLedger,
    /// The time from the first request to the last response, in seconds.
    pub(crate) elapsed_s: f64,
}

impl RequestCounts {
    /// Returns the number of requests that were sent and not exported.
    pub(crate) fn lost(&self) -> u64 {
        self.requests_sent.saturating_sub(self.requests_exported)
    }

    /// Returns whether all four counts are equal.
    pub(crate) fn agree(&self) -> bool {
        let others = [self.requests_envoy, self.requests_counter, self.requests_exported];
        others.iter().all(|other| *other == self.requests_sent)
    }
}

impl DemoReport {
    /// Checks that all counts are equal and that the ledger adds up.
    ///
    /// # Errors
    /// The counts differ; the error shows all of them.
    pub(crate) fn check(&self) -> Result<()> {
        let RequestCounts { requests_sent, requests_envoy, requests_counter, requests_exported } =
            self.counts;
        ensure!(
            self.counts.agree(),
            "the counts differ: sent {requests_sent}, counted by Envoy {requests_envoy}, counted in shared \
             data {requests_counter}, exported {requests_exported}; the ledger:\n{}",
            self.ledger
        );
        let is_settled = self.ledger.is_settled();
        ensure!(is_settled, "by the ledger, not everything is exported:\n{}", self.ledger);
        self.ledger.check()
    }
}

impl fmt::Display for DemoReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RequestCounts { requests_sent, requests_envoy, requests_counter, requests_exported } =
            self.counts;
        let elapsed_s = self.elapsed_s;
        writeln!(formatter, " requests sent                {requests_sent:>10}   in {elapsed_s:.1} s")?;
        writeln!(formatter, " counted by Envoy's own stats {requests_envoy:>10}")?;
        writeln!(formatter, " counted in shared data       {requests_counter:>10}")?;
        writeln!(formatter, " exported to the collector    {requests_exported:>10}   {}", self.collector)?;
        write!(formatter, "\n{}\n lost: {}", self.ledger, self.lost)
    }
}

#[cfg(test)]
mod tests {
    use tributary_tests::ledger::Destination;

    use super::*;

    fn report(
        requests_sent: u64,
        requests_envoy: u64,
        requests_counter: u64,
        requests_exported: u64,
    ) -> DemoReport {
        let counts = RequestCounts { requests_sent, requests_envoy, requests_counter, requests_exported };
        let destination =
            Destination { aggregated: requests_sent, exported: requests_sent, ..Destination::default() };
        let ledger = EnvoyLedger {
            observed: requests_sent,
            aggregated: requests_sent,
            destinations: [("collector".to_owned(), destination)].into(),
            ..EnvoyLedger::default()
        };
        DemoReport { workers: 2, collector: "embedded", counts, lost: counts.lost(), ledger, elapsed_s: 1.5 }
    }

    #[test]
    fn any_difference_is_an_error_that_shows_all_counts() {
        assert!(report(9, 9, 9, 9).check().is_ok());
        for wrong in [report(9, 8, 9, 9), report(9, 9, 10, 9), report(9, 9, 9, 7), report(8, 9, 9, 9)] {
            let error = wrong.check().unwrap_err().to_string();
            assert!(error.contains(&format!("exported {}", wrong.counts.requests_exported)), "{error}");
        }
    }

    #[test]
    fn a_ledger_that_does_not_add_up_is_an_error() {
        let mut report = report(9, 9, 9, 9);
        report.ledger.missing = 1;
        assert!(report.check().is_err());
        report.ledger.missing = 0;
        report.ledger.destinations.insert("other".to_owned(), Destination::default());
        assert!(report.check().unwrap_err().to_string().contains("not everything is exported"));
    }

    #[test]
    fn a_request_that_was_sent_and_not_exported_is_lost() {
        assert_eq!(report(9, 9, 9, 7).lost, 2);
        assert_eq!(report(9, 9, 9, 10).lost, 0);
        assert!(report(9, 9, 9, 7).to_string().ends_with("lost: 2"));
    }

    #[test]
    fn the_json_is_one_object_with_the_ledger() {
        let json = serde_json::to_value(report(9, 9, 9, 7)).unwrap();
        for key in
            ["requests_sent", "requests_envoy", "requests_counter", "requests_exported", "lost", "workers"]
        {
            assert!(json[key].is_u64(), "{key}: {json}");
        }
        assert_eq!(json["ledger"]["destinations"]["collector"]["exported"], 9);
        assert_eq!((json["elapsed_s"].as_f64(), json["collector"].as_str()), (Some(1.5), Some("embedded")));
    }
}
