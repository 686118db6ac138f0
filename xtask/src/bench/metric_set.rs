//! Metric sets, as configurations of both Envoy's StatsAccessLogger and the worker filter.

use anyhow::{Context, Result, anyhow};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tributary_plan::config::WorkerConfig;
use tributary_plan::source::Guard;

use super::case::CountingMethod;

/// Metrics with the same dimensions.
#[derive(Deserialize)]
pub(crate) struct MetricSet {
    pub(crate) name: String,
    dimensions: Vec<Dimension>,
    metrics: Vec<Metric>,
    /// The methods that are measured with this set.
    pub(crate) methods: Vec<CountingMethod>,
}

/// A dimension, as the worker filter's configuration has it.
#[derive(Serialize, Deserialize)]
struct Dimension {
    name: String,
    #[serde(flatten)]
    source: Source,
    /// The command operator of Envoy's access logs.
    #[serde(skip_serializing)]
    operator: String,
}

/// The source of a dimension in the worker filter.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Source {
    Attribute(String),
    RequestHeader(String),
}

/// A metric, as the worker filter's configuration has it.
#[derive(Serialize, Deserialize)]
struct Metric {
    name: String,
    kind: Kind,
    /// An attribute; `None` counts requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<String>,
    /// The fields of this metric in the configuration of Envoy's StatsAccessLogger, without name and tags.
    #[serde(skip_serializing)]
    native: Map<String, Value>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Counter,
    Histogram,
}

/// The file with all sets.
#[derive(Deserialize)]
struct MetricSets {
    sets: Vec<MetricSet>,
}

/// The record of Envoy's `fluentd` access logger for each request.
pub(crate) struct LogRecord {
    /// The names of the values in the field `values`.
    pub(crate) tag: String,
    /// Single values by their names, and the field `values`.
    pub(crate) fields: Map<String, Value>,
}

/// The header of every request of the benchmark, a dimension of the widest set.
pub(crate) const HEADER: (&str, &str) = ("x-tenant", "acme");

/// Returns all sets, which live as long as the program.
pub(crate) fn all() -> Result<&'static [MetricSet]> {
    let file: MetricSets =
        serde_yaml_ng::from_str(include_str!("metric_sets.yaml")).context("metric_sets.yaml")?;
    Ok(file.sets.leak())
}

impl MetricSet {
    /// Returns whether the set counts TCP connections.
    pub(crate) fn is_tcp(&self) -> bool {
        self.name == "tcp"
    }

    /// Returns the worker filter's configuration.
    pub(crate) fn worker(&self) -> Value {
        if self.name == "preset" {
            return json!({});
        }
        // Counters are left out, because Envoy's logger has no counters in shared data.
        json!({
            "preset": "none",
            "streams": if self.is_tcp() { "tcp" } else { "http" },
            "counters": [],
            "dimensions": self.dimensions,
            "metrics": self.metrics,
        })
    }

    /// Returns the CEL list of the worker filter after it has found out which values are often absent.
    pub(crate) fn list(&self) -> Result<String> {
        let config = WorkerConfig::parse(self.worker().to_string().as_bytes()).map_err(|problems| {
            let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
            anyhow!("the worker filter rejects the set {}: {}", self.name, problems.join("; "))
        })?;
        let items = config.plan.main.sources.into_iter().map(|source| match source.guard {
            Guard::Marks { often_absent: true } => source.guarded,
            Guard::Marks { often_absent: false } | Guard::Silent => source.item,
        });
        Ok(format!("[{}]", items.collect::<Vec<_>>().join(", ")))
    }

    /// Returns the counters and histograms of the native logger
    /// (`envoy.extensions.access_loggers.stats.v3.Config`).
    pub(crate) fn native(&self) -> [(&'static str, Value); 2] {
        let tag = |of: &Dimension| json!({"name": of.name, "value_format": of.operator});
        let tags: Vec<_> = self.dimensions.iter().map(tag).collect();
        let metric = |metric: &Metric| {
            let mut native = metric.native.clone();
            native.insert("stat".to_owned(), json!({"name": metric.name, "tags": tags}));
            Value::Object(native)
        };
        let of = |kind| self.metrics.iter().filter(|metric| metric.kind == kind).map(metric).collect();
        [("counters", of(Kind::Counter)), ("histograms", of(Kind::Histogram))]
    }

    /// Returns the Prometheus names of the native logger's values that grow by one with each request.
    pub(crate) fn native_request_counts(&self) -> Vec<String> {
        let name = |metric: &Metric| match (metric.kind, &metric.value) {
            (Kind::Histogram, _) => Some(format!("{}_count", metric.name)),
            (Kind::Counter, None) => Some(metric.name.clone()),
            (Kind::Counter, Some(_)) => None,
        };
        self.metrics.iter().filter_map(name).collect()
    }

    /// Returns the same values for a log stream: all attributes in one field, and each header in its own
    /// field, because a header may contain spaces.
    pub(crate) fn log_record(&self) -> LogRecord {
        let (mut names, mut operators, mut fields) = (Vec::new(), Vec::new(), Map::new());
        let mut add = |name, operator| {
            if !names.contains(&name) {
                names.push(name);
                operators.push(operator);
            }
        };
        for Dimension { source, operator, .. } in &self.dimensions {
            match source {
                Source::Attribute(attribute) => add(attribute.as_str(), operator.as_str()),
                Source::RequestHeader(header) => {
                    fields.insert(format!("request.headers['{header}']"), json!(operator));
                }
            }
        }
        for metric in &self.metrics {
            if let (Some(attribute), Some(operator)) =
                (metric.value.as_deref(), metric.native.get("value_format").and_then(Value::as_str))
            {
                // The value is in milliseconds, as in the native logger.
                add(
                    if attribute == "request.duration" { "request.duration:ms" } else { attribute },
                    operator,
                );
            }
        }
        fields.insert("values".to_owned(), json!(operators.join(" ")));
        LogRecord { tag: names.join(" "), fields }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_have_the_metrics_and_dimensions_of_the_set() {
        let counts =
            [("preset", 0, 3, 5), ("small", 0, 1, 3), ("full", 3, 1, 5), ("wide", 5, 3, 8), ("tcp", 3, 1, 3)];
        for (set, (name, counters, histograms, dimensions)) in all().unwrap().iter().zip(counts) {
            assert_eq!(set.name, name);
            let [(_, counter), (_, histogram)] = set.native();
            assert_eq!(counter.as_array().unwrap().len(), counters, "{name}");
            assert_eq!(histogram.as_array().unwrap().len(), histograms, "{name}");
            assert_eq!(histogram[0]["stat"]["tags"].as_array().unwrap().len(), dimensions, "{name}");
            if name != "preset" {
                let worker = set.worker();
                assert_eq!(worker["metrics"].as_array().unwrap().len(), counters + histograms, "{name}");
                assert_eq!(worker["dimensions"].as_array().unwrap().len(), dimensions, "{name}");
            }
        }
    }

    #[test]
    fn the_worker_filter_accepts_every_set() {
        for set in all().unwrap() {
            let config = set.worker().to_string();
            let plan =
                WorkerConfig::parse(config.as_bytes()).unwrap_or_else(|problems| panic!("{problems:?}")).plan;
            assert_eq!(plan.main.dimensions.len(), set.dimensions.len(), "{}", set.name);
            assert_eq!(plan.main.measures.len(), set.metrics.len(), "{}", set.name);
        }
    }

    #[test]
    fn the_wide_set_reads_a_request_header() {
        let wide = all().unwrap().iter().find(|set| set.name == "wide").unwrap();
        assert_eq!(wide.worker()["dimensions"][7], json!({"name": "tenant", "request_header": HEADER.0}));
    }
}
