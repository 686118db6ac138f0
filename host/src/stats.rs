//! Envoy's statistics, with the prefix `wasmcustom.`: all VMs of the process share them, and they survive a
//! VM.

use std::cell::Cell;

use proxy_wasm::types::MetricType;

use crate::raw;

/// A monotonic statistic.
///
/// Envoy creates it at its first definition and never removes it. Each definition gives it another number, so
/// it is defined once and kept.
#[derive(Clone, Copy, Debug)]
pub struct Counter(Option<u32>);

/// A statistic with the value of the last write. Only one VM writes it.
#[derive(Debug)]
pub struct Gauge {
    id: Option<u32>,
    written: Cell<Option<u64>>,
}

impl Counter {
    /// Defines the counter `wasmcustom.NAME`. If Envoy rejects it, additions have no effect: a statistic is
    /// not worth an outage.
    pub fn define(name: &str) -> Self {
        Self(raw::define_metric(MetricType::Counter, name).ok())
    }

    /// Returns the sum over all VMs; 0 if Envoy cannot read it.
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

    /// Sets the gauge. A value that it has already costs no call.
    pub fn set(&self, value: u64) {
        if self.written.replace(Some(value)) != Some(value)
            && let Some(id) = self.id
        {
            let _ = raw::record_metric(id, value);
        }
    }
}
