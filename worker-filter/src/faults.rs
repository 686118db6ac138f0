//! Lasting problems of a worker, each logged at most once a minute.

use std::fmt;
use std::time::Duration;

use log::warn;
use tributary_host::counter::AddError;
use tributary_host::logging::RateLimit;
use tributary_host::{clock, status};
use tributary_plan::plan::Streams;

use crate::outbox::FlushBlocked;

/// The time between two log lines about the same problem.
const INTERVAL: Duration = Duration::from_secs(60);

/// The rate limits of one worker's log lines.
#[derive(Debug)]
pub(crate) struct Faults {
    flush_blocked: RateLimit,
    counter: RateLimit,
    misattached: RateLimit,
}

impl Default for Faults {
    fn default() -> Self {
        let limit = || RateLimit::new(INTERVAL);
        Self { flush_blocked: limit(), counter: limit(), misattached: limit() }
    }
}

impl Faults {
    /// Logs that the worker keeps `waiting` observations, because a flush into `queue` was blocked.
    #[inline(never)]
    pub(crate) fn flush_blocked(&mut self, reason: FlushBlocked, waiting: u64, queue: &str) {
        let mut log = |message: fmt::Arguments<'_>| {
            let message = format_args!("{message}; {waiting} observations wait in this worker");
            log_limited(&mut self.flush_blocked, message);
        };
        match reason {
            FlushBlocked::NoService => log(format_args!(
                "no service has registered the queue \"{queue}\": attach service.wasm as a stat sink or a \
                 bootstrap extension with the same vm_id"
            )),
            FlushBlocked::Behind => log(format_args!(
                "the queue \"{queue}\" is full, because the service is overloaded or has failed: search this log \
                 for a failure, reduce the number of series, or set a longer flush.interval"
            )),
            FlushBlocked::Silent => log(format_args!(
                "the service sends no heartbeat, because it trapped or hangs: search this log for the reason, \
                 and attach service.wasm as a stat sink, which Envoy restarts after a trap"
            )),
            FlushBlocked::Host(error) => log(format_args!(
                "Envoy rejected a batch for the queue \"{queue}\" ({}): the next flush retries it",
                status::name(error)
            )),
        }
    }

    /// Logs that a counter cannot be written, except for contention, which the next flush resolves.
    #[inline(never)]
    pub(crate) fn counter(&mut self, key: &str, error: AddError) {
        if error != AddError::Contended {
            let problem = format_args!(
                "the counter \"{key}\" in shared data cannot be written ({error}), so its count stays in this worker"
            );
            log_limited(&mut self.counter, problem);
        }
    }

    /// Logs that the worker is attached to streams of another kind than configured: HTTP instead of TCP, or
    /// the reverse.
    #[inline(never)]
    pub(crate) fn misattached(&mut self, configured: Streams) {
        let (found, expected, presets) = match configured {
            Streams::Http => ("TCP connections", "HTTP requests", "\"tcp\" or \"istio_tcp\""),
            Streams::Tcp => ("HTTP requests", "TCP connections", "\"otel\" or \"istio\""),
        };
        let problem = format_args!(
            "streams here are {found}, but the configuration counts {expected}: set preset to {presets}"
        );
        log_limited(&mut self.misattached, problem);
    }
}

fn log_limited(limit: &mut RateLimit, message: fmt::Arguments<'_>) {
    if let Some(suppressed) = limit.permit(clock::now_unix_nano()) {
        warn!("{message} ({suppressed} similar lines suppressed)");
    }
}
