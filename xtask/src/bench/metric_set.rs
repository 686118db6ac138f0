//! Metric sets, as configurations of both Envoy's StatsAccessLogger and the worker filter.

use anyhow::{Result, anyhow};
use serde_json::{Value, json};
use tributary_plan::config::WorkerConfig;
use tributary_plan::source::Guard;

/// Metrics with the same dimensions.
pub(crate) struct MetricSet {
    pub(crate) name: &'static str,
    dimensions: &'static [Dimension],
    metrics: &'static [Metric],
    /// Whether it is the worker filter's default.
    is_preset: bool,
    /// Whether the textbook method is measured with it.
    pub(crate) has_textbook: bool,
    /// Whether it counts TCP connections.
    pub(crate) is_tcp: bool,
}

struct Dimension {
    name: &'static str,
    source: Source,
    /// The command operator of Envoy's access logs.
    native: &'static str,
}

/// The record of Envoy's `fluentd` access logger for each request.
pub(crate) struct LogRecord {
    /// The names of the values in the field `values`.
    pub(crate) tag: String,
    /// Single values by name, and the field `values`.
    pub(crate) fields: Value,
}

/// The source of a dimension in the worker filter.
enum Source {
    Attribute(&'static str),
    RequestHeader(&'static str),
}

struct Metric {
    name: &'static str,
    kind: Kind,
    unit: Unit,
    /// An attribute and the equivalent command operator; `None` counts requests.
    value: Option<(&'static str, &'static str)>,
}

#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Histogram,
}

#[derive(Clone, Copy)]
enum Unit {
    Requests,
    Bytes,
    Duration,
}

/// All sets.
pub(crate) const ALL: [&MetricSet; 5] = [&PRESET, &SMALL, &FULL, &WIDE, &TCP];

/// The header of every request of the benchmark, a dimension of the widest set.
pub(crate) const HEADER: (&str, &str) = ("x-tenant", "acme");

const PRESET: MetricSet = MetricSet {
    name: "preset",
    dimensions: &[METHOD, CODE, FLAGS, ROUTE, SCHEME],
    metrics: &[DURATION, RECEIVED_SIZE, SENT_SIZE],
    is_preset: true,
    has_textbook: true,
    is_tcp: false,
};

const SMALL: MetricSet = MetricSet {
    name: "small",
    dimensions: &[METHOD, CODE, ROUTE],
    metrics: &[DURATION],
    is_preset: false,
    has_textbook: false,
    is_tcp: false,
};

const FULL: MetricSet = MetricSet {
    name: "full",
    dimensions: &[METHOD, CODE, FLAGS, CLUSTER, ROUTE],
    metrics: &[REQUESTS, BYTES_RECEIVED, BYTES_SENT, DURATION],
    is_preset: false,
    has_textbook: true,
    is_tcp: false,
};

const WIDE: MetricSet = MetricSet {
    name: "wide",
    dimensions: &[METHOD, CODE, FLAGS, CLUSTER, ROUTE, PROTOCOL, AUTHORITY, TENANT],
    metrics: &[
        REQUESTS,
        BYTES_RECEIVED,
        BYTES_SENT,
        WIRE_BYTES_RECEIVED,
        WIRE_BYTES_SENT,
        DURATION,
        RECEIVED_SIZE,
        SENT_SIZE,
    ],
    is_preset: false,
    has_textbook: false,
    is_tcp: false,
};

const TCP: MetricSet = MetricSet {
    name: "tcp",
    dimensions: &[FLAGS, CLUSTER, UPSTREAM],
    // A filter cannot read the duration of a connection.
    metrics: &[CONNECTIONS, BYTES_RECEIVED, BYTES_SENT, SENT_SIZE],
    is_preset: false,
    has_textbook: false,
    is_tcp: true,
};

const METHOD: Dimension = attribute("http.request.method", "request.method", "%REQ(:METHOD)%");
const CODE: Dimension = attribute("http.response.status_code", "response.code", "%RESPONSE_CODE%");
const ROUTE: Dimension = attribute("http.route", "xds.route_name", "%ROUTE_NAME%");
const SCHEME: Dimension = attribute("url.scheme", "request.scheme", "%REQ(:SCHEME)%");
const FLAGS: Dimension = attribute("envoy.response_flags", "response.flags", "%RESPONSE_FLAGS%");
const CLUSTER: Dimension = attribute("envoy.cluster", "xds.cluster_name", "%UPSTREAM_CLUSTER%");
const UPSTREAM: Dimension = attribute("upstream.address", "upstream.address", "%UPSTREAM_HOST%");
const PROTOCOL: Dimension = attribute("network.protocol.version", "request.protocol", "%PROTOCOL%");
const AUTHORITY: Dimension = attribute("server.address", "request.host", "%REQ(:AUTHORITY)%");
const TENANT: Dimension =
    Dimension { name: "tenant", source: Source::RequestHeader(HEADER.0), native: "%REQ(X-TENANT)%" };

const REQUESTS: Metric = Metric { name: "requests", kind: Kind::Counter, unit: Unit::Requests, value: None };
const CONNECTIONS: Metric = Metric { name: "connections", ..REQUESTS };
const BYTES_RECEIVED: Metric = bytes("bytes_received", Kind::Counter, ("request.size", "%BYTES_RECEIVED%"));
const BYTES_SENT: Metric = bytes("bytes_sent", Kind::Counter, ("response.size", "%BYTES_SENT%"));
const WIRE_BYTES_RECEIVED: Metric =
    bytes("wire_bytes_received", Kind::Counter, ("request.total_size", "%DOWNSTREAM_WIRE_BYTES_RECEIVED%"));
const WIRE_BYTES_SENT: Metric =
    bytes("wire_bytes_sent", Kind::Counter, ("response.total_size", "%DOWNSTREAM_WIRE_BYTES_SENT%"));
const RECEIVED_SIZE: Metric = bytes("request_size", Kind::Histogram, ("request.size", "%BYTES_RECEIVED%"));
const SENT_SIZE: Metric = bytes("response_size", Kind::Histogram, ("response.size", "%BYTES_SENT%"));
const DURATION: Metric = Metric {
    name: "duration",
    kind: Kind::Histogram,
    unit: Unit::Duration,
    value: Some(("request.duration", "%DURATION%")),
};

const fn attribute(name: &'static str, attribute: &'static str, native: &'static str) -> Dimension {
    Dimension { name, source: Source::Attribute(attribute), native }
}

const fn bytes(name: &'static str, kind: Kind, value: (&'static str, &'static str)) -> Metric {
    Metric { name, kind, unit: Unit::Bytes, value: Some(value) }
}

impl MetricSet {
    /// The set with this name.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        ALL.into_iter().find(|set| set.name == name)
    }

    /// The worker filter's configuration.
    pub(crate) fn worker(&self) -> Value {
        if self.is_preset {
            return json!({});
        }
        let dimensions: Vec<_> = self.dimensions.iter().map(Dimension::worker).collect();
        let metrics: Vec<_> = self.metrics.iter().map(Metric::worker).collect();
        // No counters: Envoy's logger has none in shared data.
        let streams = if self.is_tcp { "tcp" } else { "http" };
        json!({
            "preset": "none",
            "streams": streams,
            "counters": [],
            "dimensions": dimensions,
            "metrics": metrics,
        })
    }

    /// The CEL list of the worker filter, once it has learned which values are often absent.
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

    /// The native logger's configuration (`envoy.extensions.access_loggers.stats.v3.Config`).
    pub(crate) fn native(&self) -> Value {
        let tags: Vec<_> = self.dimensions.iter().map(Dimension::native).collect();
        let of = |kind: fn(&Metric) -> bool| -> Vec<_> {
            self.metrics.iter().filter(|metric| kind(metric)).map(|metric| metric.native(&tags)).collect()
        };
        json!({
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.stats.v3.Config",
            "stat_prefix": "bench",
            "counters": of(|metric| matches!(metric.kind, Kind::Counter)),
            "histograms": of(|metric| matches!(metric.kind, Kind::Histogram)),
        })
    }

    /// The Prometheus names of the native logger's values that grow by one with each request.
    pub(crate) fn native_request_counts(&self) -> Vec<String> {
        let name = |metric: &Metric| match (metric.kind, metric.value) {
            (Kind::Histogram, _) => Some(format!("{}_count", metric.name)),
            (Kind::Counter, None) => Some(metric.name.to_owned()),
            (Kind::Counter, Some(_)) => None,
        };
        self.metrics.iter().filter_map(name).collect()
    }

    /// The same values for a log stream: attributes in one field, each header in its own, since it may
    /// contain spaces.
    pub(crate) fn log_record(&self) -> LogRecord {
        let (mut names, mut operators, mut fields) = (Vec::new(), Vec::new(), serde_json::Map::new());
        let mut add = |name: &'static str, operator| {
            if !names.contains(&name) {
                names.push(name);
                operators.push(operator);
            }
        };
        for dimension in self.dimensions {
            match dimension.source {
                Source::Attribute(attribute) => add(attribute, dimension.native),
                Source::RequestHeader(header) => {
                    let name = format!("request.headers['{header}']");
                    drop(fields.insert(name, json!(dimension.native)));
                }
            }
        }
        for (attribute, operator) in self.metrics.iter().filter_map(|metric| metric.value) {
            // In milliseconds, like the native logger.
            add(if attribute == "request.duration" { "request.duration:ms" } else { attribute }, operator);
        }
        fields.insert("values".to_owned(), json!(operators.join(" ")));
        LogRecord { tag: names.join(" "), fields: Value::Object(fields) }
    }

    /// The same values as fields of a JSON access log.
    pub(crate) fn json_format(&self) -> Value {
        let dimensions = self.dimensions.iter().map(|dimension| (dimension.name, dimension.native));
        let values = self.metrics.iter().filter_map(|metric| Some((metric.name, metric.value?.1)));
        dimensions.chain(values).map(|(name, format)| (name.to_owned(), json!(format))).collect()
    }
}

impl Dimension {
    fn worker(&self) -> Value {
        match self.source {
            Source::Attribute(attribute) => json!({"name": self.name, "attribute": attribute}),
            Source::RequestHeader(header) => json!({"name": self.name, "request_header": header}),
        }
    }

    fn native(&self) -> Value {
        json!({"name": self.name, "value_format": self.native})
    }
}

impl Metric {
    fn worker(&self) -> Value {
        let kind = match self.kind {
            Kind::Counter => "counter",
            Kind::Histogram => "histogram",
        };
        let mut metric = json!({"name": self.name, "kind": kind});
        if let (Some((attribute, _)), Some(fields)) = (self.value, metric.as_object_mut()) {
            fields.insert("value".to_owned(), json!(attribute));
            let unit = if matches!(self.unit, Unit::Duration) { "s" } else { "By" };
            fields.insert("unit".to_owned(), json!(unit));
        }
        metric
    }

    fn native(&self, tags: &[Value]) -> Value {
        let stat = json!({"name": self.name, "tags": tags});
        let unit = match self.unit {
            Unit::Requests => "Unspecified",
            Unit::Bytes => "Bytes",
            Unit::Duration => "Milliseconds",
        };
        match (self.kind, self.value) {
            (Kind::Counter, None) => json!({"stat": stat, "value_fixed": 1}),
            (Kind::Counter, Some((_, format))) => json!({"stat": stat, "value_format": format}),
            (Kind::Histogram, value) => {
                json!({"stat": stat, "unit": unit, "value_format": value.map(|(_, format)| format)})
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_have_the_metrics_and_dimensions_of_the_set() {
        for (name, counters, histograms, dimensions) in
            [("preset", 0, 3, 5), ("small", 0, 1, 3), ("full", 3, 1, 5), ("wide", 5, 3, 8), ("tcp", 3, 1, 3)]
        {
            let set = MetricSet::named(name).unwrap();
            let native = set.native();
            assert_eq!(native["counters"].as_array().unwrap().len(), counters, "{name}");
            let histogram = native["histograms"].as_array().unwrap();
            assert_eq!(histogram.len(), histograms, "{name}");
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
        for set in ALL {
            let config = set.worker().to_string();
            let plan =
                WorkerConfig::parse(config.as_bytes()).unwrap_or_else(|problems| panic!("{problems:?}")).plan;
            assert_eq!(plan.main.dimensions.len(), set.dimensions.len(), "{}", set.name);
            assert_eq!(plan.main.measures.len(), set.metrics.len(), "{}", set.name);
        }
    }

    #[test]
    fn the_wide_set_reads_a_request_header() {
        assert_eq!(WIDE.worker()["dimensions"][7], json!({"name": "tenant", "request_header": "x-tenant"}));
        assert_eq!(WIDE.json_format()["tenant"], "%REQ(X-TENANT)%");
    }
}
