//! Envoy's log (component `wasm`): the `log` crate, panics, and a rate limit.

use std::time::Duration;

use log::{Level, LevelFilter, Log, Metadata, Record};
use proxy_wasm::types::LogLevel;

use tributary_proto::printable;

use crate::raw;

/// Makes the macros of the `log` crate write to Envoy's log. A repeated call updates the log level.
pub fn install() {
    static LOGGER: HostLogger = HostLogger;
    // Fails only if the logger was installed before.
    let _ = log::set_logger(&LOGGER);
    let level = match raw::log_level() {
        Ok(0) => LevelFilter::Trace,
        Ok(1) => LevelFilter::Debug,
        Ok(2) | Err(_) => LevelFilter::Info,
        Ok(3) => LevelFilter::Warn,
        Ok(4 | 5) => LevelFilter::Error,
        // The number of spdlog's level `off`.
        Ok(_) => LevelFilter::Off,
    };
    log::set_max_level(level);
}

/// Makes panics write to Envoy's log, because a trap does not log its reason. The text of a panic has two
/// lines: the place in the code, and the message.
pub fn install_panic_hook() {
    std::panic::set_hook(Box::new(|panic| write(LogLevel::Critical, &panic.to_string().replace('\n', " "))));
}

/// Writes one line. Text from a client, a collector or a configuration in this line cannot forge another
/// line, or change how a terminal shows the log.
fn write(level: LogLevel, message: &str) {
    raw::log(level, &printable::escape(message));
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
        write(level, &format!("tributary: {}", record.args()));
    }

    fn flush(&self) {}
}

/// Permits one message per interval and counts the suppressed messages, so that a lasting problem does not
/// flood the log.
#[derive(Clone, Debug)]
pub struct RateLimit {
    interval_ns: u64,
    last_unix_nano: Option<u64>,
    suppressed: u64,
}

impl RateLimit {
    /// Creates a limit of one message per `interval`.
    pub fn new(interval: Duration) -> Self {
        let interval_ns = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        Self { interval_ns, last_unix_nano: None, suppressed: 0 }
    }

    /// Returns the number of messages that were suppressed since the last permitted message; `None` if
    /// another message is not permitted now.
    pub fn permit(&mut self, now_unix_nano: u64) -> Option<u64> {
        // Permits a message if the clock went backwards: a superfluous message is better than a missing
        // message.
        let is_suppressed = self.last_unix_nano.is_some_and(|last| {
            now_unix_nano.checked_sub(last).is_some_and(|since| since < self.interval_ns)
        });
        if is_suppressed {
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
    use crate::fake;

    #[test]
    fn a_message_is_one_printable_line() {
        fake::reset();
        install();
        log::info!("destination \u{1b}[31m\n[critical] forged\u{202e}\u{85}");
        let expected = r"tributary: destination \u001b[31m\u000a[critical] forged\u202e\u0085";
        fake::with(|host| assert_eq!(host.logged(LogLevel::Info), [expected]));
    }

    #[test]
    fn one_message_per_interval_is_permitted_and_others_are_counted() {
        let mut limit = RateLimit::new(Duration::from_nanos(10));
        let permits: Vec<_> = [100, 105, 109, 110, 50, 55].map(|now| limit.permit(now)).into();
        assert_eq!(permits, [Some(0), None, None, Some(2), Some(0), None]);
    }
}
