//! A flush, step by step: the workers hand over, the service takes over, each destination confirms.
//!
//! A worker hands over with each of its flush intervals whether anybody asks or not, so the data path has no code for this:
//! after one interval, everything that was seen before is told in the statistics and in the queue.

use tributary_host::counter;
use tributary_host::shared_data::HostSharedData;
use tributary_proto::console::FLUSH_KEY;

use crate::health;
use crate::ledger::Ledger;

/// How much later than its interval a worker may hand over: its tick is an event among others of its thread.
const LATENESS_NS: u64 = 250_000_000;

/// How far a flush is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// Workers hand over what they have, until then.
    HandOver {
        /// When each of them has, in Unix nanoseconds.
        until_unix_nano: u64,
    },
    /// The service takes over what they had seen.
    TakeOver {
        /// How many streams that was, since Envoy began.
        observed: u64,
        /// When a worker that was late has handed over, too, in Unix nanoseconds.
        until_unix_nano: u64,
    },
    /// Destinations are told, and confirm.
    Export {
        /// By which number they do.
        number: u64,
        /// How many streams did not come to the service before.
        left: u64,
    },
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Every destination has everything.
    Done,
    /// Not yet; one line for each that is waited for.
    Waits(Vec<String>),
}

impl Flush {
    /// One of everything that was seen until now, by workers that hand over so often.
    pub fn begin(now_unix_nano: u64, handover_interval_ns: u64) -> Self {
        Self::HandOver { until_unix_nano: handed_over(now_unix_nano, handover_interval_ns) }
    }

    /// Goes on as far as it can.
    pub fn advance(&mut self, now_unix_nano: u64, handover_interval_ns: u64, ledger: &Ledger) -> Progress {
        if let Self::HandOver { until_unix_nano } = *self {
            if now_unix_nano < until_unix_nano {
                return Progress::Waits(vec!["workers: they hand over at their next tick".to_owned()]);
            }
            let until_unix_nano = handed_over(now_unix_nano, handover_interval_ns);
            *self = Self::TakeOver { observed: ledger.observed(), until_unix_nano };
        }
        if let Self::TakeOver { observed, until_unix_nano } = self {
            let left = observed.saturating_sub(ledger.settled());
            if ledger.queued() > 0 {
                // A service that was behind may have held workers back.
                *until_unix_nano = handed_over(now_unix_nano, handover_interval_ns);
            }
            // What is in no queue by then a worker keeps, or it was lost with one: the rest goes without it.
            if left > 0 && now_unix_nano < *until_unix_nano {
                let fault = health::service_fault(now_unix_nano).unwrap_or_else(|| "it is behind".to_owned());
                return Progress::Waits(vec![format!("service: {left} requests to be taken over; {fault}")]);
            }
            match counter::add(&mut HostSharedData, FLUSH_KEY, 1) {
                Ok(number) => *self = Self::Export { number, left },
                // Others were faster; next time.
                Err(error) => {
                    return Progress::Waits(vec![format!("service: it cannot be asked ({error:?})")]);
                }
            }
        }
        let Self::Export { number, left } = *self else { return Progress::Waits(Vec::new()) };
        let waiting = health::exports().into_iter().filter(|export| export.flushed < number);
        let mut waiting: Vec<_> =
            waiting.map(|export| health::export_fault(&export, now_unix_nano)).collect();
        if left > 0 {
            waiting.push(format!("workers: {left} requests that one keeps, or that were lost with one"));
        }
        if waiting.is_empty() { Progress::Done } else { Progress::Waits(waiting) }
    }
}

/// When each worker has handed over what it has now.
fn handed_over(now_unix_nano: u64, handover_interval_ns: u64) -> u64 {
    now_unix_nano.saturating_add(handover_interval_ns).saturating_add(LATENESS_NS)
}
