//! The worker's configuration: JSON in, checked values out.

use std::time::Duration;

use tributary_proto::config::{self, Problems, Section};
use tributary_proto::counter;

use tributary_proto::limits::{
    COUNTER_KEY_BYTES_MAX, COUNTERS_MAX, EXPONENTIAL_SIZE_DEFAULT, SERIES_DEFAULT, SERIES_MAX,
};

use crate::plan::Plan;
use crate::preset;

/// What a worker is told to do. Every part has a default that works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerConfig {
    /// What is read and counted.
    pub plan: Plan,
    /// When folds are handed over.
    pub flush: Flush,
    /// Counters in shared data.
    pub counters: Vec<CounterConfig>,
    /// Series that a fold keeps apart; further ones are counted in the overflow series.
    pub series_max: usize,
    /// The `vm_id` of the service; empty for the worker's own.
    pub service_vm_id: String,
}

/// When folds are handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flush {
    /// At the latest after this.
    pub interval: Duration,
    /// At the latest after so many observations.
    pub max_requests: Option<u64>,
}

/// A counter in shared data that every observation adds one to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterConfig {
    /// What it is called.
    pub key: String,
    /// When what was counted gets there.
    pub when: When,
}

/// When what was counted gets into shared data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// With each request: exact at every moment, at about two host calls each.
    Request,
    /// With each flush.
    Flush,
}

const FLUSH_INTERVAL: Duration = Duration::from_secs(1);
const FLUSH_INTERVAL_MIN: Duration = Duration::from_millis(10);
const FLUSH_INTERVAL_MAX: Duration = Duration::from_secs(300);

/// From a size with which any two values fit at scale -4, which is the coarsest that Prometheus has.
const EXPONENTIAL_SIZES: std::ops::RangeInclusive<u64> = 10..=256;

impl WorkerConfig {
    /// Reads a configuration, or says everything that is wrong with it.
    pub fn parse(json: &[u8]) -> Result<Self, Problems> {
        config::read(json, |root| {
            root.word("preset", &["otel"]);
            let mut plan = preset::otel();
            if let Some(max_size) = root.section("histogram", read_exponential) {
                plan.make_exponential(max_size);
            }
            let flush = root.section("flush", Flush::read);
            let counters = read_counters(root);
            let series_max = root.section("limits", |limits| {
                let most = u64::try_from(SERIES_MAX).unwrap_or(u64::MAX);
                let series = limits.number("series", 1..=most);
                series.and_then(|series| usize::try_from(series).ok()).unwrap_or(SERIES_DEFAULT)
            });
            let service_vm_id = root.text("service_vm_id", 0..=255).unwrap_or_default();
            Self { plan, flush, counters, series_max, service_vm_id }
        })
    }
}

impl Flush {
    fn read(section: &mut Section<'_>) -> Self {
        let interval = section.duration("interval", FLUSH_INTERVAL_MIN..=FLUSH_INTERVAL_MAX);
        let max_requests = section.number("max_requests", 1..=1_000_000_000);
        Self { interval: interval.unwrap_or(FLUSH_INTERVAL), max_requests }
    }
}

/// The size of exponential histograms, if histograms are to be such.
fn read_exponential(section: &mut Section<'_>) -> Option<usize> {
    let kind = section.word("kind", &["explicit", "exponential"]);
    let max_size = section.number("max_size", EXPONENTIAL_SIZES);
    if kind != Some("exponential") {
        if max_size.is_some() {
            section.note("max_size", "a size of explicit histograms", "only with kind \"exponential\"");
        }
        return None;
    }
    Some(max_size.and_then(|size| usize::try_from(size).ok()).unwrap_or(EXPONENTIAL_SIZE_DEFAULT))
}

fn read_counters(root: &mut Section<'_>) -> Vec<CounterConfig> {
    let mut keys = Vec::new();
    let counters = root.sections("counters", 0..=COUNTERS_MAX, |section| {
        let key = section.required().text("key", 1..=COUNTER_KEY_BYTES_MAX);
        let when = match section.word("when", &["request", "flush"]) {
            Some("request") => When::Request,
            _ => When::Flush,
        };
        let key = key?;
        if !counter::is_key(&key) {
            section.note("key", &format!("{key:?}"), "letters, digits, '_', '.' and '-'");
        } else if keys.contains(&key) {
            section.note("key", &format!("{key:?} again"), "each key once");
        }
        keys.push(key.clone());
        Some(CounterConfig { key, when })
    });
    match counters {
        Some(counters) => counters.into_iter().flatten().collect(),
        None => vec![CounterConfig { key: "requests".to_owned(), when: When::Flush }],
    }
}

#[cfg(test)]
mod tests {
    use tributary_proto::metric::Kind;

    use super::*;

    fn problems(json: &str) -> Vec<String> {
        let problems = WorkerConfig::parse(json.as_bytes()).map(|_| ()).unwrap_err();
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn no_configuration_is_the_default() {
        let config = WorkerConfig::parse(b"").unwrap();
        assert_eq!(config, WorkerConfig::parse(b"{}").unwrap());
        assert_eq!(config.flush, Flush { interval: Duration::from_secs(1), max_requests: None });
        assert_eq!(config.counters, [CounterConfig { key: "requests".into(), when: When::Flush }]);
        assert_eq!((config.series_max, config.service_vm_id.as_str()), (2_000, ""));
    }

    #[test]
    fn everything_can_be_said() {
        let json = br#"{"preset": "otel", "histogram": {"kind": "exponential", "max_size": 20}, "flush": {"interval": "250ms", "max_requests": 1},
            "counters": [{"key": "a", "when": "request"}, {"key": "b"}], "limits": {"series": 10},
            "service_vm_id": "elsewhere"}"#;
        let config = WorkerConfig::parse(json).unwrap();
        assert_eq!(config.flush, Flush { interval: Duration::from_millis(250), max_requests: Some(1) });
        assert_eq!(config.plan.measures[0].metric.kind, Kind::Exponential { max_size: 20 });
        let counter = |key: &str, when| CounterConfig { key: key.into(), when };
        assert_eq!(config.counters, [counter("a", When::Request), counter("b", When::Flush)]);
        assert_eq!((config.series_max, config.service_vm_id.as_str()), (10, "elsewhere"));
    }

    #[test]
    fn every_problem_is_said_at_once() {
        let json = r#"{"preset": "other", "flush": {"interval": "1ms", "max_requests": 0},
            "counters": [{"key": "a b"}, {}, {"key": "a"}, {"key": "a", "when": "never"}], "limits": {"series": 0},
            "service_vm_id": 5, "dimension": [], "histogram": {"max_size": 20}}"#;
        assert_eq!(
            problems(json),
            [
                r#"preset: found "other", allowed: one of otel"#,
                r#"histogram.max_size: found a size of explicit histograms, allowed: only with kind "exponential""#,
                r#"flush.interval: found "1ms", allowed: a duration from 10ms to 5m, such as "1s" or "250ms""#,
                "flush.max_requests: found 0, allowed: a whole number from 1 to 1000000000",
                r#"counters[0].key: found "a b", allowed: letters, digits, '_', '.' and '-'"#,
                "counters[1].key: found nothing, allowed: text of 1 to 128 bytes",
                r#"counters[3].when: found "never", allowed: one of request, flush"#,
                r#"counters[3].key: found "a" again, allowed: each key once"#,
                "limits.series: found 0, allowed: a whole number from 1 to 1000000",
                "service_vm_id: found 5, allowed: text of 0 to 255 bytes",
                "dimension: found an unknown key, allowed: one of preset, histogram, flush, counters, limits, service_vm_id",
            ]
        );
    }
}
