//! Envoy's statistics, and what a hot restart does with them: `StatMerger` in Envoy 1.40.

use std::collections::BTreeMap;

use proxy_wasm::types::{MetricType, Status};

/// The statistics of a process, by name without `wasmcustom.`.
#[derive(Clone, Debug, Default)]
pub struct FakeStats {
    values: BTreeMap<String, FakeStat>,
    /// The name of each definition: each gets a new number, also for a name that exists.
    names: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default)]
struct FakeStat {
    is_gauge: bool,
    own: u64,
    /// The part of a gauge that is the value of the parent process.
    of_parent: u64,
}

impl FakeStats {
    /// Defines a statistic and returns its number.
    pub(super) fn define(&mut self, kind: u32, name: String) -> Result<u32, Status> {
        let is_gauge = kind == MetricType::Gauge as u32;
        self.values.entry(name.clone()).or_default().is_gauge = is_gauge;
        self.names.push(name);
        u32::try_from(self.names.len()).map_err(|_| Status::BadArgument)
    }

    /// Adds to a statistic.
    pub(super) fn increment(&mut self, id: u32, more: u64) -> Result<(), Status> {
        let stat = self.of(id)?;
        stat.own = stat.own.saturating_add(more);
        Ok(())
    }

    /// Sets a gauge, without the part of the parent process.
    pub(super) fn record(&mut self, id: u32, value: u64) -> Result<(), Status> {
        self.of(id)?.own = value;
        Ok(())
    }

    /// Returns the value of a statistic, which includes the part of the parent process.
    pub(super) fn read(&mut self, id: u32) -> Result<u64, Status> {
        let FakeStat { own, of_parent, .. } = *self.of(id)?;
        Ok(own.saturating_add(of_parent))
    }

    /// Returns the value of a statistic; 0 if it does not exist.
    pub fn value(&self, name: &str) -> u64 {
        self.values.get(name).map_or(0, |stat| stat.own.saturating_add(stat.of_parent))
    }

    /// Merges the statistics of the parent process, which have changed from `before` to `now`: counters
    /// grow by what the parent counted, gauges include the parent's value.
    pub fn merge(&mut self, before: &Self, now: &Self) {
        for (name, stat) in &now.values {
            let merged = self.values.entry(name.clone()).or_insert(FakeStat { own: 0, ..*stat });
            if stat.is_gauge {
                merged.of_parent = now.value(name);
            } else {
                merged.own = merged.own.saturating_add(stat.own.saturating_sub(before.value(name)));
            }
        }
    }

    /// Ends the parent process: gauges lose its part, counters keep it.
    pub fn end_parent(&mut self) {
        self.values.values_mut().for_each(|stat| stat.of_parent = 0);
    }

    fn of(&mut self, id: u32) -> Result<&mut FakeStat, Status> {
        let index = usize::try_from(id).ok().and_then(|id| id.checked_sub(1));
        let name = index.and_then(|index| self.names.get(index)).ok_or(Status::BadArgument)?;
        self.values.get_mut(name).ok_or(Status::BadArgument)
    }
}
