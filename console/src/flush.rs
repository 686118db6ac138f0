//! The steps of a flush: the workers flush, the service aggregates, each destination confirms.
//!
//! Workers flush once per interval in any case, so no request of a listener has to reach them: after one
//! interval, everything that was observed before is in the statistics and in the queue.

use tributary_host::counter::{self, AddError};
use tributary_host::shared_data::HostSharedData;
use tributary_proto::console::FLUSH_KEY;

use crate::health;
use crate::ledger::Ledger;

/// How much later than its interval a worker may flush: its tick is one event among others of its thread.
const LATENESS_NS: u64 = 250_000_000;

/// The step that a flush has reached. Times are in Unix nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flush {
    /// Waits until each worker has flushed.
    Workers {
        /// When that is the case.
        until_unix_nano: u64,
    },
    /// Waits until the service has aggregated what the workers had observed.
    Service {
        /// The number of streams that had ended by then, since Envoy started.
        observed: u64,
        /// When a worker that was late has flushed, too.
        until_unix_nano: u64,
    },
    /// Waits until each destination has confirmed.
    Destinations {
        /// The number of this flush: a destination that has confirmed it reports it or a later one.
        number: u64,
        /// The number of streams that did not reach the service before.
        missing: u64,
    },
}

/// The result of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Every destination has everything.
    Done,
    /// One line for each part that the flush waits for.
    Waiting(Vec<String>),
}

impl Flush {
    /// Starts a flush of everything that was observed until now.
    pub(crate) fn start(now_unix_nano: u64, flush_interval_ns: u64) -> Self {
        Self::Workers { until_unix_nano: all_flushed(now_unix_nano, flush_interval_ns) }
    }

    /// Takes as many steps as possible.
    pub(crate) fn advance(
        &mut self,
        now_unix_nano: u64,
        flush_interval_ns: u64,
        ledger: &Ledger,
    ) -> Progress {
        if let Self::Workers { until_unix_nano } = *self {
            if now_unix_nano < until_unix_nano {
                return Progress::Waiting(vec!["workers: they flush at their next tick".to_owned()]);
            }
            let until_unix_nano = all_flushed(now_unix_nano, flush_interval_ns);
            *self = Self::Service { observed: ledger.observed(), until_unix_nano };
        }
        if let Self::Service { observed, until_unix_nano } = self {
            let missing = observed.saturating_sub(ledger.settled());
            if ledger.queued() > 0 {
                // Workers do not flush while the service is behind.
                *until_unix_nano = all_flushed(now_unix_nano, flush_interval_ns);
            }
            // What is in no queue by then stays in a worker, or was lost with one: the flush continues
            // without it.
            if missing > 0 && now_unix_nano < *until_unix_nano {
                let fault = health::service_fault(now_unix_nano).unwrap_or_else(|| "it is behind".to_owned());
                return Progress::Waiting(vec![format!(
                    "service: {missing} requests not aggregated yet; {fault}"
                )]);
            }
            match counter::add(&mut HostSharedData, FLUSH_KEY, 1) {
                Ok(number) => *self = Self::Destinations { number, missing },
                Err(error) => return Progress::Waiting(vec![format!("service: {}", not_requested(error))]),
            }
        }
        let Self::Destinations { number, missing } = *self else { return Progress::Waiting(Vec::new()) };
        let waiting = health::exports().into_iter().filter(|export| export.flushed < number);
        let mut waiting: Vec<_> =
            waiting.map(|export| health::export_fault(&export, now_unix_nano)).collect();
        if missing > 0 {
            waiting.push(format!(
                "workers: {missing} requests that a worker has not flushed, or lost in a trap"
            ));
        }
        if waiting.is_empty() { Progress::Done } else { Progress::Waiting(waiting) }
    }
}

/// Returns the time by which each worker has flushed what it has now.
fn all_flushed(now_unix_nano: u64, flush_interval_ns: u64) -> u64 {
    now_unix_nano.saturating_add(flush_interval_ns).saturating_add(LATENESS_NS)
}

/// Describes why the service could not be asked to export.
fn not_requested(error: AddError) -> &'static str {
    match error {
        AddError::Contended => "other flushes were requested at the same time; this one is retried",
        AddError::NotACounter => "another plugin has written to the key in shared data that requests a flush",
        AddError::Host(_) => "Envoy refuses to write the key in shared data that requests a flush",
    }
}
