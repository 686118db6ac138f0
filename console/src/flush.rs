//! The steps of a flush: the workers flush, the service aggregates, each destination confirms.
//!
//! Workers flush once per interval, so the console need not notify them. After one interval, all earlier
//! observations are in the statistics and in the queue.

use tributary_host::counter::{self, AddError};
use tributary_host::shared_data::HostSharedData;
use tributary_proto::console::FLUSH_KEY;

use crate::health;
use crate::ledger::LedgerCounters;

/// The maximum delay of a worker's flush, in nanoseconds: a tick can be late, because the thread also
/// handles other events.
const LATENESS_NS: u64 = 250_000_000;

/// The step that a flush has reached. Times are in Unix nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flush {
    /// Waits until each worker has flushed.
    Workers {
        /// The time at which each worker has flushed.
        until_unix_nano: u64,
    },
    /// Waits until the service has aggregated what the workers had observed.
    Service {
        /// The number of streams that had ended when the workers had flushed, since Envoy started.
        observed: u64,
        /// The time at which even a late worker has flushed.
        until_unix_nano: u64,
    },
    /// Waits until each destination has confirmed.
    Destinations {
        /// The number of this flush. A destination that has confirmed it reports this or a higher number.
        number: u64,
        /// The number of streams whose observations did not reach the service in time.
        missing: u64,
    },
}

impl Flush {
    /// Starts a flush of everything that was observed until now.
    pub(crate) fn start(now_unix_nano: u64, flush_interval_ns: u64) -> Self {
        Self::Workers { until_unix_nano: all_flushed(now_unix_nano, flush_interval_ns) }
    }

    /// Takes as many steps as possible. Returns one line for each component that the flush waits for. There
    /// are no lines if every destination has confirmed everything.
    pub(crate) fn advance(
        &mut self,
        now: u64,
        flush_interval_ns: u64,
        ledger: &LedgerCounters,
    ) -> Vec<String> {
        match *self {
            Self::Workers { until_unix_nano } if now < until_unix_nano => {
                vec!["workers: they flush at their next tick".to_owned()]
            }
            Self::Workers { .. } => {
                let until_unix_nano = all_flushed(now, flush_interval_ns);
                *self = Self::Service { observed: ledger.observed(), until_unix_nano };
                self.advance(now, flush_interval_ns, ledger)
            }
            Self::Service { observed, mut until_unix_nano } => {
                if ledger.queued() > 0 {
                    // Workers do not flush while the service is behind.
                    until_unix_nano = all_flushed(now, flush_interval_ns);
                    *self = Self::Service { observed, until_unix_nano };
                }
                let missing = observed.saturating_sub(ledger.settled());
                // Observations that are not in a queue by this time are still in a worker, or were lost
                // with a worker. The flush continues without them.
                if missing > 0 && now < until_unix_nano {
                    let fault = health::service_fault(now).unwrap_or_else(|| "it is behind".to_owned());
                    return vec![format!("service: {missing} requests not aggregated yet; {fault}")];
                }
                match counter::add(&mut HostSharedData, FLUSH_KEY, 1) {
                    Ok(number) => {
                        *self = Self::Destinations { number, missing };
                        self.advance(now, flush_interval_ns, ledger)
                    }
                    Err(error) => vec![format!("service: {}", not_requested(error))],
                }
            }
            Self::Destinations { number, missing } => {
                let exports = health::exports().into_iter().filter(|export| export.flushed < number);
                let mut lines: Vec<_> = exports.map(|export| health::export_fault(&export, now)).collect();
                if missing > 0 {
                    let lost = "requests that a worker has not flushed, or lost in a trap";
                    lines.push(format!("workers: {missing} {lost}"));
                }
                lines
            }
        }
    }
}

/// Returns the time by which each worker has flushed all observations that it has now.
fn all_flushed(now_unix_nano: u64, flush_interval_ns: u64) -> u64 {
    now_unix_nano.saturating_add(flush_interval_ns).saturating_add(LATENESS_NS)
}

/// Describes why the service could not be asked to export.
fn not_requested(error: AddError) -> &'static str {
    match error {
        AddError::Contended => "other flushes were requested at the same time; this one is retried",
        AddError::NotACounter => "another plugin has written to the key in shared data that requests a flush",
        AddError::Host(_) => "Envoy does not write the key in shared data that requests a flush",
    }
}
