//! The configuration of a console.

use std::time::Duration;

use tributary_proto::config::{self, Problems};
use tributary_proto::limits::{FLUSH_INTERVAL_DEFAULT, FLUSH_INTERVALS};

/// A valid configuration of a console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsoleConfig {
    /// The flush interval of the workers: `POST /flush` waits this long for them.
    pub flush_interval: Duration,
}

impl ConsoleConfig {
    /// Parses the configuration of a console; the keys of a filter are rejected.
    ///
    /// # Errors
    /// All problems, each with its path.
    pub fn parse(json: &[u8]) -> Result<Self, Problems> {
        config::read(json, |root| {
            let flush_interval = root.section("flush", |flush| flush.duration("interval", FLUSH_INTERVALS));
            Self { flush_interval: flush_interval.unwrap_or(FLUSH_INTERVAL_DEFAULT) }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flush_interval_has_a_default() {
        let interval = |json: &str| ConsoleConfig::parse(json.as_bytes()).unwrap().flush_interval;
        assert_eq!(interval(""), Duration::from_secs(1));
        assert_eq!(interval(r#"{"flush": {"interval": "200ms"}}"#), Duration::from_millis(200));
    }

    #[test]
    fn the_keys_of_a_filter_are_rejected() {
        let json = r#"{"preset": "otel", "flush": {"interval": "1h", "max_requests": 1}}"#;
        let problems = ConsoleConfig::parse(json.as_bytes()).unwrap_err();
        assert_eq!(
            problems.iter().map(ToString::to_string).collect::<Vec<_>>(),
            [
                r#"flush.interval: found "1h", allowed: a duration from 10ms to 5m, such as "1s" or "250ms""#,
                "flush.max_requests: found an unknown key, allowed: one of interval",
                "preset: found an unknown key, allowed: one of flush",
            ]
        );
    }
}
