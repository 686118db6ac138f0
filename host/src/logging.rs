//! Envoy's log (component `wasm`), for the `log` crate, for panics, and at a bounded rate.

use std::time::Duration;

use log::{Level, LevelFilter, Log, Metadata, Record};
use proxy_wasm::types::LogLevel;

use crate::raw;

/// Makes the macros of the `log` crate write to Envoy's log. Calling it again only takes over Envoy's log level.
pub fn install() {
    static LOGGER: HostLogger = HostLogger;
    // Fails only if it is installed already.
    let _ = log::set_logger(&LOGGER);
    let level = match raw::log_level() {
        Ok(0) => LevelFilter::Trace,
        Ok(1) => LevelFilter::Debug,
        Ok(2) | Err(_) => LevelFilter::Info,
        Ok(3) => LevelFilter::Warn,
        Ok(4 | 5) => LevelFilter::Error,
        // spdlog's `off`.
        Ok(_) => LevelFilter::Off,
    };
    log::set_max_level(level);
}

/// Makes panics write to Envoy's log: without it a trap leaves no trace of its reason.
pub fn install_panic_hook() {
    std::panic::set_hook(Box::new(|panic| raw::log(LogLevel::Critical, &panic.to_string())));
}

struct HostLogger;

impl Log for HostLogger {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let level = match record.level() {
            Level::Error => LogLevel::Error,
            Level::Warn => LogLevel::Warn,
            Level::Info => LogLevel::Info,
            Level::Debug => LogLevel::Debug,
            Level::Trace => LogLevel::Trace,
        };
        raw::log(level, &format!("tributary: {}", record.args()));
    }

    fn flush(&self) {}
}

/// Lets one message through per interval and counts the others, so that a fault does not fill a disk.
#[derive(Clone, Debug)]
pub struct RateLimit {
    interval_ns: u64,
    last_unix_nano: Option<u64>,
    suppressed: u64,
}

impl RateLimit {
    /// One message per `interval`.
    pub fn new(interval: Duration) -> Self {
        let interval_ns = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        Self { interval_ns, last_unix_nano: None, suppressed: 0 }
    }

    /// Whether a message may be written now, and if so, how many were not since the last one.
    pub fn permit(&mut self, now_unix_nano: u64) -> Option<u64> {
        // A clock that went backwards permits: better one line too many than silence.
        let quiet = self.last_unix_nano.is_some_and(|last| {
            now_unix_nano.checked_sub(last).is_some_and(|since| since < self.interval_ns)
        });
        if quiet {
            self.suppressed = self.suppressed.saturating_add(1);
            return None;
        }
        self.last_unix_nano = Some(now_unix_nano);
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_message_per_interval_and_the_rest_is_counted() {
        let mut limit = RateLimit::new(Duration::from_nanos(10));
        let permits: Vec<_> = [100, 105, 109, 110, 50, 55].map(|now| limit.permit(now)).into();
        assert_eq!(permits, [Some(0), None, None, Some(2), Some(0), None]);
    }
}
