//! Writes a snapshot for Prometheus: text format 0.0.4 or OpenMetrics 1.0.
//!
//! Neither format can represent an exponential histogram with a fixed set of series. An exponential histogram
//! is written as a summary, with its count and its sum; its buckets are in the JSON and in exports.

use tributary_proto::decimal;
use tributary_proto::exemplar::Exemplar;
use tributary_proto::exports::Export;
use tributary_proto::generated::batch::point::Value;
use tributary_proto::generated::batch::{Histogram, Series};
use tributary_proto::metric::{Kind, Metric};
use tributary_proto::prometheus::{label_name, metric_name, unit};

use crate::ledger::LedgerCounters;
use crate::snapshot::{Scalar, Snapshot, count, scalars, sum};

/// The name, the kind, the description and the value of a metric of a destination.
type DestinationMetric = (&'static str, &'static str, &'static str, fn(&Export) -> u64);

/// Each metric of a destination.
const DESTINATION_METRICS: [DestinationMetric; 7] = [
    ("succeeded", "counter", "Requests that the destination accepted.", |it| it.succeeded),
    ("failed", "counter", "Requests that failed, or could not be sent.", |it| it.failed),
    ("failures", "gauge", "Failures since the last success.", |it| it.failures),
    (
        "complete_timestamp_seconds",
        "gauge",
        "When the destination last had everything; the service's start if it never did.",
        |it| it.complete_unix_nano / 1_000_000_000,
    ),
    ("observations_exported", "counter", "Observations that the destination accepted.", |it| it.exported),
    ("observations_waiting", "gauge", "Observations the destination does not have yet.", |it| it.waiting),
    ("observations_dropped", "counter", "Observations the destination will never receive.", |it| it.dropped),
];

/// A text format of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExpositionFormat {
    /// Prometheus text 0.0.4.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

/// Writes metrics in one of the formats.
struct MetricWriter {
    out: String,
    format: ExpositionFormat,
    /// The names of the families that were written. Of metrics with the same name, only the first is written.
    names: Vec<String>,
    left_out: u64,
}

/// A metric family that is being written.
struct Family {
    metric: Metric,
    /// The name of the family without `_total`.
    name: String,
    /// The label `le` of each bucket of a histogram.
    les: Vec<String>,
}

impl ExpositionFormat {
    /// Chooses a format by the header `accept`: OpenMetrics only if the header names it, and not with `q=0`.
    pub(crate) fn accepted(accept: &str) -> Self {
        let takes = |range: &str| {
            let mut parts = range.split(';').map(str::trim);
            let is_named = parts.next() == Some("application/openmetrics-text");
            is_named && !parts.any(|part| part == "q=0")
        };
        if accept.split(',').any(takes) { Self::OpenMetrics } else { Self::Text }
    }

    /// Returns the media type.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Writes everything that can be scraped.
pub(crate) fn text(
    format: ExpositionFormat,
    snapshot: &Snapshot,
    ledger: &LedgerCounters,
    exports: &[Export],
) -> Vec<u8> {
    let mut writer = MetricWriter { out: String::new(), format, names: Vec::new(), left_out: 0 };
    writer.resource(snapshot);
    writer.metrics(snapshot);
    writer.ledger(ledger);
    writer.exports(exports);
    let help = "Series that are not here: of two metrics with one name, the second.";
    writer.own("console_points_left_out", "gauge", help, &[(String::new(), writer.left_out)]);
    let help = "Whether series are not here since the snapshot would be too large.";
    writer.own("console_is_cut", "gauge", help, &[(String::new(), snapshot.is_cut.into())]);
    if format == ExpositionFormat::OpenMetrics {
        writer.out.push_str("# EOF\n");
    }
    writer.out.into_bytes()
}

impl MetricWriter {
    fn resource(&mut self, snapshot: &Snapshot) {
        let (name, kind) = match self.format {
            ExpositionFormat::Text => ("target_info", "gauge"),
            ExpositionFormat::OpenMetrics => ("target", "info"),
        };
        self.header(name, kind, "", "The process that is measured.");
        self.sample("target_info", "", &labels(snapshot.resource()), "1");
    }

    fn metrics(&mut self, snapshot: &Snapshot) {
        let mut family: Option<Family> = None;
        for part in snapshot.metrics() {
            if family.as_ref().is_none_or(|family| family.metric != part.metric) {
                family = self.start_family(&part.metric);
            }
            for (series, value) in part.points() {
                match &family {
                    Some(family) => self.point(family, series, value),
                    None => self.left_out = self.left_out.saturating_add(1),
                }
            }
        }
    }

    /// Starts the family of a metric; returns `None` if a family with its name was written already.
    fn start_family(&mut self, metric: &Metric) -> Option<Family> {
        let is_sum = metric.kind == Kind::Counter;
        let full = metric_name(&metric.name, &metric.unit, is_sum);
        let name = if is_sum { full.strip_suffix("_total").unwrap_or(&full) } else { &full }.to_owned();
        if self.names.contains(&name) {
            return None;
        }
        let (kind, bounds) = match &metric.kind {
            Kind::Counter => ("counter", &[][..]),
            Kind::UpDownCounter => ("gauge", &[][..]),
            Kind::Histogram { bounds } => ("histogram", &**bounds),
            Kind::Exponential { .. } => ("summary", &[][..]),
        };
        let unit = unit(&metric.unit);
        let unit = if name.ends_with(&format!("_{unit}")) { unit.as_str() } else { "" };
        self.header(&name, kind, unit, &metric.description);
        self.names.push(name.clone());
        let le = |bound: &u64| {
            let mut text = decimal::text(metric.in_unit((*bound).into()));
            // OpenMetrics writes `le` as a floating point number.
            if self.format == ExpositionFormat::OpenMetrics && !text.contains('.') {
                text.push_str(".0");
            }
            text
        };
        let les = bounds.iter().map(le).chain(["+Inf".to_owned()]).collect();
        Some(Family { metric: metric.clone(), name, les })
    }

    /// Writes the lines before the samples of a family. In these lines, only the text format adds
    /// `_total` to the name of a counter.
    fn header(&mut self, name: &str, kind: &str, unit: &str, help: &str) {
        let ending = if kind == "counter" && self.format == ExpositionFormat::Text { "_total" } else { "" };
        if !help.is_empty() {
            let help = escaped(help, self.format == ExpositionFormat::OpenMetrics);
            self.out.push_str(&format!("# HELP {name}{ending} {help}\n"));
        }
        self.out.push_str(&format!("# TYPE {name}{ending} {kind}\n"));
        if self.format == ExpositionFormat::OpenMetrics && !unit.is_empty() {
            self.out.push_str(&format!("# UNIT {name} {unit}\n"));
        }
    }

    fn point(&mut self, family: &Family, series: &Series, value: &Value) {
        let (name, labels) = (&family.name, labels(scalars(&series.attributes)));
        let sum = sum(&family.metric, value).text();
        let count = match value {
            Value::Counter(_) => return self.sample(name, "_total", &labels, &sum),
            Value::UpDownCounter(_) => return self.sample(name, "", &labels, &sum),
            Value::Histogram(histogram) => {
                let exemplar = series.exemplars.first().and_then(|exemplar| Exemplar::from_wire(*exemplar));
                self.buckets(family, histogram, exemplar.map(|(_, exemplar)| exemplar), &labels);
                count(0, &histogram.buckets)
            }
            Value::ExponentialHistogram(histogram) => count(histogram.zero_count, &histogram.buckets),
        };
        self.sample(name, "_sum", &labels, &sum);
        self.sample(name, "_count", &labels, &count.to_string());
    }

    fn buckets(&mut self, family: &Family, histogram: &Histogram, exemplar: Option<Exemplar>, labels: &str) {
        let Kind::Histogram { bounds } = &family.metric.kind else { return };
        let exemplar = exemplar.filter(|_| self.format == ExpositionFormat::OpenMetrics).map(|exemplar| {
            let bucket = bounds.partition_point(|bound| *bound < exemplar.value());
            (bucket, exemplar_text(&exemplar, &family.metric))
        });
        let comma = if labels.is_empty() { "" } else { "," };
        let mut below: u64 = 0;
        for (at, (le, count)) in family.les.iter().zip(&histogram.buckets).enumerate() {
            below = below.saturating_add(*count);
            let labels = format!("{labels}{comma}le=\"{le}\"");
            let exemplar = exemplar.as_ref().filter(|(bucket, _)| *bucket == at);
            let exemplar = exemplar.map_or("", |(_, text)| text);
            self.sample(&family.name, "_bucket", &labels, &format!("{below}{exemplar}"));
        }
    }

    fn sample(&mut self, name: &str, ending: &str, labels: &str, value: &str) {
        let (open, close) = if labels.is_empty() { ("", "") } else { ("{", "}") };
        for part in [name, ending, open, labels, close, " ", value, "\n"] {
            self.out.push_str(part);
        }
    }

    fn ledger(&mut self, ledger: &LedgerCounters) {
        for (name, help, value) in ledger.values() {
            let name = name.strip_suffix("_total").unwrap_or(name);
            // Some statistics are also metrics of the service about itself, which are already written.
            if !self.names.contains(&format!("tributary_{name}")) {
                self.own(name, "counter", help, &[(String::new(), value)]);
            }
        }
    }

    fn exports(&mut self, exports: &[Export]) {
        for (name, kind, help, value) in DESTINATION_METRICS {
            let sample =
                |export: &Export| (format!("destination=\"{}\"", escaped(&export.name, true)), value(export));
            let samples: Vec<_> = exports.iter().map(sample).collect();
            self.own(&format!("destination_{name}"), kind, help, &samples);
        }
    }

    /// Writes a family of Tributary itself, if it has samples: labels and their values.
    fn own(&mut self, name: &str, kind: &str, help: &str, samples: &[(String, u64)]) {
        if samples.is_empty() {
            return;
        }
        let name = format!("tributary_{name}");
        self.header(&name, kind, "", help);
        let ending = if kind == "counter" { "_total" } else { "" };
        for (labels, value) in samples {
            self.sample(&name, ending, labels, &value.to_string());
        }
    }
}

/// Formats an exemplar for the end of its bucket's line.
fn exemplar_text(exemplar: &Exemplar, metric: &Metric) -> String {
    let trace_id = u128::from_be_bytes(*exemplar.trace_id());
    let span_id = u64::from_be_bytes(*exemplar.span_id());
    let value = decimal::text(metric.in_unit(exemplar.value().into()));
    let millis = exemplar.time_unix_nano() / 1_000_000;
    let (seconds, millis) = (millis / 1_000, millis % 1_000);
    format!(" # {{trace_id=\"{trace_id:032x}\",span_id=\"{span_id:016x}\"}} {value} {seconds}.{millis:03}")
}

/// Formats labels without braces. Attributes whose names become the same label are joined by `;`. Omits
/// empty labels, which Prometheus treats as absent.
fn labels<'a>(attributes: impl Iterator<Item = (&'a str, Scalar<'a>)>) -> String {
    let mut labels: Vec<(String, String)> = Vec::new();
    for (key, value) in attributes {
        let (name, value) = (label_name(key), value.text());
        match labels.iter_mut().find(|(present, _)| *present == name) {
            Some((_, joined)) => {
                joined.push(';');
                joined.push_str(&value);
            }
            None => labels.push((name, value)),
        }
    }
    labels.retain(|(_, value)| !value.is_empty());
    let labels = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value, true)));
    labels.collect::<Vec<_>>().join(",")
}

fn escaped(text: &str, with_quotes: bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '"' if with_quotes => escaped.push_str("\\\""),
            other => escaped.push(other),
        }
    }
    escaped
}
