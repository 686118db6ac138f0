//! Envoy's own statistics, under `wasmcustom.`: one per name in the whole process, whichever VM adds to it, and they
//! survive the VM.

use proxy_wasm::types::{MetricType, Status};

use crate::raw;

/// A statistic that only grows.
///
/// Envoy creates it at the first definition and never removes it; each definition makes another number for it, so it is
/// defined once and kept.
#[derive(Clone, Copy, Debug)]
pub struct Counter(Option<u32>);

/// A statistic that is set; the last writer wins.
#[derive(Clone, Copy, Debug)]
pub struct Gauge(Option<u32>);

impl Counter {
    /// The counter `wasmcustom.NAME`. If Envoy refuses it, what is added is not shown: a statistic is not worth an outage.
    pub fn define(name: &str) -> Self {
        Self(raw::define_metric(MetricType::Counter, name).ok())
    }

    /// What all VMs together have added; 0 if Envoy does not say.
    pub fn value(self) -> u64 {
        self.0.and_then(|id| raw::metric(id).ok()).unwrap_or(0)
    }

    /// Adds.
    pub fn add(self, more: u64) {
        // The host refuses an addition of nothing (Envoy 1.40, `Context::incrementMetric`).
        if let (Some(id), Ok(offset @ 1..)) = (self.0, i64::try_from(more)) {
            ignore(raw::increment_metric(id, offset));
        }
    }
}

impl Gauge {
    /// The gauge `wasmcustom.NAME`.
    pub fn define(name: &str) -> Self {
        Self(raw::define_metric(MetricType::Gauge, name).ok())
    }

    /// Sets.
    pub fn set(self, value: u64) {
        if let Some(id) = self.0 {
            ignore(raw::record_metric(id, value));
        }
    }
}

/// There is nobody to tell that a statistic could not be written.
fn ignore(_: Result<(), Status>) {}
