//! Envoy's statistics, with the prefix `wasmcustom.`. All VMs of the process share them, and Envoy keeps them
//! when a VM ends.

use std::cell::Cell;

use proxy_wasm::types::MetricType;

use crate::raw;

/// A monotonic statistic.
///
/// Envoy creates the statistic at its first definition and never removes it. Each definition gives it another
/// number, so a module defines it once and keeps the number.
#[derive(Clone, Copy, Debug)]
pub struct Counter(Option<u32>);

/// A statistic with the value of the last write. Only one VM writes it.
#[derive(Debug)]
pub struct Gauge {
    id: Option<u32>,
    written: Cell<Option<u64>>,
}

impl Counter {
    /// Defines the counter `wasmcustom.NAME`. If Envoy rejects the definition, additions have no effect,
    /// because a missing statistic does not justify an outage.
    pub fn define(name: &str) -> Self {
        Self(raw::define_metric(MetricType::Counter, name).ok())
    }

    /// Returns the sum over all VMs, or 0 if Envoy cannot read it.
    pub fn value(self) -> u64 {
        self.0.and_then(|id| raw::metric(id).ok()).unwrap_or(0)
    }

    /// Adds to the counter.
    pub fn add(self, more: u64) {
        // Envoy rejects an addition of 0 (1.40, `Context::incrementMetric`).
        if let (Some(id), Ok(offset @ 1..)) = (self.0, i64::try_from(more)) {
            let _ = raw::increment_metric(id, offset);
        }
    }
}

impl Gauge {
    /// Defines the gauge `wasmcustom.NAME`.
    pub fn define(name: &str) -> Self {
        Self { id: raw::define_metric(MetricType::Gauge, name).ok(), written: Cell::new(None) }
    }

    /// Sets the gauge. Makes no host call if the gauge already has the value.
    pub fn set(&self, value: u64) {
        if self.written.replace(Some(value)) != Some(value)
            && let Some(id) = self.id
        {
            let _ = raw::record_metric(id, value);
        }
    }
}
