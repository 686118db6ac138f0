//! What is counted, said once for both sides: as the native logger's configuration and as the worker filter's.

use anyhow::{Result, anyhow};
use serde_json::{Value, json};
use tributary_plan::config::WorkerConfig;
use tributary_plan::source::Guard;

/// Metrics and the dimensions that they have in common.
pub(crate) struct MetricSet {
    pub(crate) name: &'static str,
    dimensions: &'static [Dimension],
    metrics: &'static [Metric],
    /// Whether this is what the worker filter counts unless it is told something else.
    is_preset: bool,
    /// Whether the textbook's way to count it is measured too.
    pub(crate) has_textbook: bool,
    /// Whether it is of TCP connections.
    pub(crate) is_tcp: bool,
}

struct Dimension {
    name: &'static str,
    source: Source,
    /// A command operator of Envoy's access logs.
    native: &'static str,
}

/// What Envoy's `fluentd` access logger is to write of each request.
pub(crate) struct LogRecord {
    /// The names of the values in the first field.
    pub(crate) tag: String,
    /// Values by name, and one of several.
    pub(crate) fields: Value,
}

/// Where the worker filter has a dimension from.
enum Source {
    Attribute(&'static str),
    RequestHeader(&'static str),
}

struct Metric {
    name: &'static str,
    kind: Kind,
    unit: Unit,
    /// An attribute of Envoy, and the command operator of the same meaning; none counts requests.
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

/// Every set.
pub(crate) const ALL: [&MetricSet; 5] = [&PRESET, &SMALL, &FULL, &WIDE, &TCP];

/// The request header that the widest set has a dimension of; every request of the benchmark has it.
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
    // A filter is not told how long a connection was open.
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
    /// The set of this name.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        ALL.into_iter().find(|set| set.name == name)
    }

    /// The worker filter's own configuration.
    pub(crate) fn worker(&self) -> Value {
        if self.is_preset {
            return json!({});
        }
        let dimensions: Vec<_> = self.dimensions.iter().map(Dimension::worker).collect();
        let metrics: Vec<_> = self.metrics.iter().map(Metric::worker).collect();
        // The native logger has no counter in shared data.
        let streams = if self.is_tcp { "tcp" } else { "http" };
        json!({
            "preset": "none",
            "streams": streams,
            "counters": [],
            "dimensions": dimensions,
            "metrics": metrics,
        })
    }

    /// The CEL list that the worker filter reads them with, once it knows what these streams do not have.
    pub(crate) fn list(&self) -> Result<String> {
        let config = WorkerConfig::parse(self.worker().to_string().as_bytes())
            .map_err(|problems| anyhow!("the worker filter refuses the set {}: {problems:?}", self.name))?;
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

    /// The native logger's names, in Prometheus' form, of everything that grows by one with each request.
    pub(crate) fn native_request_counts(&self) -> Vec<String> {
        let name = |metric: &Metric| match (metric.kind, metric.value) {
            (Kind::Histogram, _) => Some(format!("{}_count", metric.name)),
            (Kind::Counter, None) => Some(metric.name.to_owned()),
            (Kind::Counter, Some(_)) => None,
        };
        self.metrics.iter().filter_map(name).collect()
    }

    /// The same values as a log stream has them: those that have no spaces in one field, each other in one of its own.
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
            // The native logger has it in milliseconds, too.
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
    fn both_sides_have_as_many_metrics_and_dimensions_as_the_set_promises() {
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
    fn the_worker_filter_takes_its_side_of_every_set() {
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
