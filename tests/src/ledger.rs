//! The ledger of one Envoy, read from its statistics. It shows where each observation of the workers is.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use crate::admin::Admin;
use crate::poll::{self, LIMIT, Seen};

const PREFIX: &str = "wasmcustom.tributary_observations_";

/// The ledger at one moment; all fields count observations.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct EnvoyLedger {
    /// Observations of streams that have ended, as reported by the workers.
    pub observed: u64,
    /// Observations that wait in a worker, or were lost with a worker that failed.
    pub pending: u64,
    /// Observations in the queue of the service.
    pub in_queue: u64,
    /// Observations that any service of the process has aggregated.
    pub aggregated: u64,
    /// Observations in batches that never reached the service.
    pub missing: u64,
    /// The state of the aggregated observations, by the `vm_id` of the service and the destination:
    /// `VM_ID.DESTINATION`.
    pub destinations: BTreeMap<String, Destination>,
}

/// The state of the aggregated observations for one destination.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Destination {
    /// Observations that the service of the destination has aggregated.
    pub aggregated: u64,
    /// Observations that the destination has accepted.
    pub exported: u64,
    /// Observations that are not exported yet.
    pub waiting: u64,
    /// Observations that were lost for this destination, by reason.
    pub dropped: BTreeMap<String, u64>,
}

impl EnvoyLedger {
    /// Reads the ledger from the admin interface.
    pub async fn read(admin: &Admin) -> Result<Self> {
        Self::of(&admin.module_stats().await?)
    }

    /// Reads the ledger from statistics of one moment ([`Admin::module_stats`]).
    pub fn of(stats: &BTreeMap<String, u64>) -> Result<Self> {
        let total = |name: &str| {
            let name = format!("{PREFIX}{name}");
            stats.get(&name).copied().with_context(|| format!("no {name} among {:?}", stats.keys()))
        };
        let (observed, enqueued) = (total("total")?, total("enqueued")?);
        let (aggregated, missing) = (total("aggregated")?, total("missing")?);
        let mut destinations: BTreeMap<String, Destination> = BTreeMap::new();
        for (name, value) in stats {
            let mut words = name.strip_prefix(PREFIX).unwrap_or_default().split('.');
            let (Some(what), Some(vm_id), Some(destination)) = (words.next(), words.next(), words.next())
            else {
                continue;
            };
            let destination = destinations.entry(format!("{vm_id}.{destination}")).or_default();
            destination.aggregated = total(&format!("aggregated.{vm_id}"))?;
            match (what, words.next()) {
                ("exported", None) => destination.exported = *value,
                ("waiting", None) => destination.waiting = *value,
                ("dropped", Some(reason)) => {
                    destination.dropped.insert(reason.to_owned(), *value);
                }
                _ => {}
            }
        }
        Ok(Self {
            observed,
            pending: observed.saturating_sub(enqueued),
            in_queue: enqueued.saturating_sub(aggregated).saturating_sub(missing),
            aggregated,
            missing,
            destinations,
        })
    }

    /// Checks that the parts add up to all observations, and that for each destination, the parts add up to
    /// all aggregated observations.
    ///
    /// The check of destinations succeeds at any moment. The other check succeeds only while no request is
    /// in progress: otherwise the statistics may be read between two updates of a worker.
    ///
    /// # Errors
    /// The parts do not add up; the error shows the ledger.
    pub fn check(&self) -> Result<()> {
        let parts = [self.pending, self.in_queue, self.aggregated, self.missing];
        ensure!(
            parts.iter().sum::<u64>() == self.observed,
            "pending, in the queue, aggregated and missing ({parts:?}) do not add up: {self:?}"
        );
        self.check_destinations()
    }

    /// Checks only the destinations, like [`EnvoyLedger::check`]. This check succeeds at any moment.
    pub fn check_destinations(&self) -> Result<()> {
        for (name, destination) in &self.destinations {
            let sum = destination.exported + destination.waiting + destination.lost();
            ensure!(
                sum == destination.aggregated,
                "destination {name:?} accounts for {sum} observations: {self:?}"
            );
        }
        Ok(())
    }

    /// Waits until the service has aggregated exactly `streams` streams and no observation waits in a
    /// worker. Then checks the ledger, and that no batch is missing, invalid or duplicate.
    pub async fn wait_until_aggregated(admin: &Admin, streams: u64) -> Result<Self> {
        let what = format!("{streams} streams to be aggregated");
        let ledger = poll::until(&what, LIMIT, async || {
            let ledger = Self::read(admin).await?;
            let is_there = ledger.observed == streams && ledger.aggregated == streams;
            Ok(Seen::when(is_there && ledger.pending == 0, ledger))
        })
        .await?;
        ledger.check()?;
        let stats = admin.stats().await?;
        let batches = |name: &str| stats.counter(&format!("wasmcustom.tributary_batches_{name}"));
        for fault in ["missing", "invalid", "duplicate"] {
            ensure!(batches(fault)? == 0, "{} batches are {fault}", batches(fault)?);
        }
        let (enqueued, received) = (batches("enqueued")?, batches("received")?);
        ensure!(enqueued == received, "{enqueued} batches were enqueued, {received} received");
        Ok(ledger)
    }

    /// Like [`EnvoyLedger::wait_until_aggregated`], but then also waits until every destination has all
    /// observations.
    pub async fn wait_until_settled(admin: &Admin, streams: u64) -> Result<Self> {
        Self::wait_until_aggregated(admin, streams).await?;
        poll::until("every destination to have everything", LIMIT, async || {
            let ledger = Self::read(admin).await?;
            ledger.check()?;
            Ok(Seen::when(ledger.is_settled(), ledger))
        })
        .await
    }

    /// Returns whether every destination has accepted every observation.
    pub fn is_settled(&self) -> bool {
        let is_settled = |destination: &Destination| destination.exported == self.observed;
        self.destinations.values().all(is_settled)
    }

    /// Returns the destination called `name`, of the service in Tributary's own configurations.
    pub fn destination(&self, name: &str) -> Result<&Destination> {
        self.destinations
            .get(&format!("tributary.{name}"))
            .with_context(|| format!("no destination {name:?} in {self:?}"))
    }
}

impl Destination {
    /// Returns the number of observations that were lost for this destination, for any reason.
    pub fn lost(&self) -> u64 {
        self.dropped.values().sum()
    }
}

impl fmt::Display for EnvoyLedger {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, " observed by the workers      {:>10}", self.observed)?;
        writeln!(formatter, "   pending in a worker        {:>10}", self.pending)?;
        writeln!(formatter, "   in the queue               {:>10}", self.in_queue)?;
        writeln!(formatter, "   missing                    {:>10}", self.missing)?;
        writeln!(formatter, "   aggregated by the service  {:>10}", self.aggregated)?;
        for (name, destination) in &self.destinations {
            writeln!(formatter, "     exported                 {:>10}   {name}", destination.exported)?;
            writeln!(formatter, "     waiting                  {:>10}", destination.waiting)?;
            for (reason, count) in &destination.dropped {
                writeln!(formatter, "     {:<24} {count:>10}", format!("dropped: {reason}"))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(values: &[(&str, u64)]) -> BTreeMap<String, u64> {
        values.iter().map(|(name, value)| (format!("{PREFIX}{name}"), *value)).collect()
    }

    #[test]
    fn parts_that_do_not_add_up_are_an_error() {
        let whole = [
            ("total", 100),
            ("enqueued", 90),
            ("aggregated", 80),
            ("missing", 4),
            ("aggregated.tributary", 80),
            ("exported.tributary.a", 60),
            ("waiting.tributary.a", 15),
            ("dropped.tributary.a.table", 2),
            ("dropped.tributary.a.trap", 3),
        ];
        let ledger = EnvoyLedger::of(&stats(&whole)).unwrap();
        assert_eq!((ledger.pending, ledger.in_queue), (10, 6));
        assert_eq!(ledger.destination("a").unwrap().lost(), 5);
        ledger.check().unwrap();
        assert!(!ledger.is_settled() && ledger.destination("b").is_err());
        for changed in 0..whole.len() {
            let mut values = whole;
            values[changed].1 += 1000;
            assert!(
                EnvoyLedger::of(&stats(&values)).unwrap().check().is_err() || changed == 0,
                "{:?}",
                values[changed]
            );
        }
        assert!(EnvoyLedger::of(&stats(&whole[..3])).is_err());
    }
}
