//! Four independent counts of the same requests, and whether they agree.

use std::fmt;

use anyhow::{Result, bail};
use serde::Serialize;
use tributary_tests::ledger::Ledger;

/// The same requests, counted four times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Totals {
    /// By the load generator that sent them.
    pub(crate) requests_sent: u64,
    /// By Envoy's own statistics.
    pub(crate) requests_envoy: u64,
    /// By the workers, in shared data.
    pub(crate) requests_counter: u64,
    /// In the histograms that the collector has.
    pub(crate) requests_exported: u64,
}

/// The outcome of a demo; its JSON form is what `--json` prints.
#[derive(Debug, Serialize)]
pub(crate) struct Reckoning {
    pub(crate) workers: u32,
    pub(crate) collector: &'static str,
    #[serde(flatten)]
    pub(crate) totals: Totals,
    pub(crate) lost: u64,
    /// Where the modules say that everything is.
    pub(crate) ledger: Ledger,
    /// From the first request to the last answer, in seconds.
    pub(crate) elapsed_s: f64,
}

impl Totals {
    /// Requests that were sent and not exported.
    pub(crate) fn lost(&self) -> u64 {
        self.requests_sent.saturating_sub(self.requests_exported)
    }

    /// Whether all four are equal.
    pub(crate) fn agree(&self) -> bool {
        let others = [self.requests_envoy, self.requests_counter, self.requests_exported];
        others.iter().all(|other| *other == self.requests_sent)
    }
}

impl Reckoning {
    /// Nothing if the totals agree.
    ///
    /// # Errors
    /// They do not; the error shows them all.
    pub(crate) fn verdict(&self) -> Result<()> {
        let Totals { requests_sent, requests_envoy, requests_counter, requests_exported } = self.totals;
        if !self.totals.agree() {
            bail!(
                "the totals differ: sent {requests_sent}, counted by Envoy {requests_envoy}, counted in shared \
                 data {requests_counter}, exported {requests_exported}; the ledger: {:?}",
                self.ledger
            );
        }
        if !self.ledger.is_settled() {
            bail!("the ledger does not say that all is exported: {:?}", self.ledger);
        }
        self.ledger.check()
    }
}

impl fmt::Display for Reckoning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Totals { requests_sent, requests_envoy, requests_counter, requests_exported } = self.totals;
        writeln!(
            formatter,
            " requests sent                {requests_sent:>10}   in {:.1} s",
            self.elapsed_s
        )?;
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

    fn reckoning(
        requests_sent: u64,
        requests_envoy: u64,
        requests_counter: u64,
        requests_exported: u64,
    ) -> Reckoning {
        let totals = Totals { requests_sent, requests_envoy, requests_counter, requests_exported };
        let destination = Destination { exported: requests_sent, ..Destination::default() };
        let ledger = Ledger {
            observed: requests_sent,
            aggregated: requests_sent,
            destinations: [("collector".to_owned(), destination)].into(),
            ..Ledger::default()
        };
        Reckoning { workers: 2, collector: "embedded", totals, lost: totals.lost(), ledger, elapsed_s: 1.5 }
    }

    #[test]
    fn any_difference_fails_and_shows_all_totals() {
        assert!(reckoning(9, 9, 9, 9).verdict().is_ok());
        for wrong in
            [reckoning(9, 8, 9, 9), reckoning(9, 9, 10, 9), reckoning(9, 9, 9, 7), reckoning(8, 9, 9, 9)]
        {
            let error = wrong.verdict().unwrap_err().to_string();
            assert!(error.contains(&format!("exported {}", wrong.totals.requests_exported)), "{error}");
        }
    }

    #[test]
    fn a_ledger_that_does_not_add_up_fails() {
        let mut reckoning = reckoning(9, 9, 9, 9);
        reckoning.ledger.missing = 1;
        assert!(reckoning.verdict().is_err());
        reckoning.ledger.missing = 0;
        reckoning.ledger.destinations.insert("other".to_owned(), Destination::default());
        assert!(reckoning.verdict().unwrap_err().to_string().contains("not say that all is exported"));
    }

    #[test]
    fn what_was_sent_and_not_exported_is_lost() {
        assert_eq!(reckoning(9, 9, 9, 7).lost, 2);
        assert_eq!(reckoning(9, 9, 9, 10).lost, 0);
        assert!(reckoning(9, 9, 9, 7).to_string().ends_with("lost: 2"));
    }

    #[test]
    fn the_json_form_is_one_object_with_the_ledger_in_it() {
        let json = serde_json::to_value(reckoning(9, 9, 9, 7)).unwrap();
        for key in
            ["requests_sent", "requests_envoy", "requests_counter", "requests_exported", "lost", "workers"]
        {
            assert!(json[key].is_u64(), "{key}: {json}");
        }
        assert_eq!(json["ledger"]["destinations"]["collector"]["exported"], 9);
        assert_eq!((json["elapsed_s"].as_f64(), json["collector"].as_str()), (Some(1.5), Some("embedded")));
    }
}
