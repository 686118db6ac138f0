//! The counts of the ledger: what one service has aggregated, exported and dropped.
//!
//! The counts are kept in shared data, which belongs to one process and one `vm_id`, and survives a trap.
//! Envoy's statistics only show them: after a hot restart, Envoy's statistics also contain what the old
//! process counted.

use std::cell::Cell;

use tributary_host::counter;
use tributary_host::shared_data::HostSharedData;
use tributary_host::stats::Gauge;

use super::save;

/// One count of the ledger, over all services with this `vm_id` since the start of the process.
///
/// Its statistic is a gauge, because only gauges add up in a hot restart. Envoy 1.40 adds the gauges of the
/// old process while that process lives, and then removes them. Counters of the old process stay for good,
/// without what it counted before its last flush of statistics.
#[derive(Debug)]
pub struct LedgerCount {
    /// The key in shared data, which is also the name of the statistic.
    name: String,
    total: Cell<u64>,
    /// The count when this service started.
    before: u64,
    statistic: Gauge,
}

impl LedgerCount {
    /// Loads the count that the previous service of this process saved, and defines its statistic.
    pub fn load(name: String) -> Self {
        let before = counter::read(&mut HostSharedData, &name).ok().flatten().unwrap_or(0);
        Self { statistic: Gauge::define(&name), name, total: Cell::new(before), before }
    }

    /// Adds to the count, and saves it at once: the service may trap before its callback ends. If Envoy
    /// rejects the write, the next addition saves the sum.
    pub fn add(&self, more: u64) {
        if more > 0 {
            self.total.set(self.of_process().saturating_add(more));
            save(&self.name, &self.of_process().to_le_bytes());
        }
    }

    /// Shows the count in Envoy's statistics.
    pub fn publish(&self) {
        self.statistic.set(self.of_process());
    }

    /// Returns the count since this service started.
    pub fn since_start(&self) -> u64 {
        self.of_process().saturating_sub(self.before)
    }

    /// Returns the count of all services of the process with this `vm_id`.
    pub fn of_process(&self) -> u64 {
        self.total.get()
    }
}
