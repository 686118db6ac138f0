//! A snapshot as Prometheus scrapes it: text format 0.0.4, or OpenMetrics 1.0.
//!
//! An exponential histogram has no form there whose series stay the same while it grows; it is written as a summary, by its
//! count and its sum. Its buckets are in the JSON, and in what is pushed.

use tributary_proto::attributes::{self, AttributeValue as Attribute};
use tributary_proto::exemplar::Exemplar;
use tributary_proto::exports::Export;
use tributary_proto::generated::batch::point::Value;
use tributary_proto::generated::batch::{Histogram, Series};
use tributary_proto::metric::{Kind, Metric};
use tributary_proto::prometheus::{label_name, metric_name, unit};
use tributary_proto::{decimal, hex};

use crate::ledger::Ledger;
use crate::snapshot::{Snapshot, count, sum_text};

/// Which of the two formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text 0.0.4.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

/// A text as it grows.
struct Writer {
    out: Vec<u8>,
    format: Format,
    /// The families that are written. Of two metrics with the same name only the first can be there.
    names: Vec<String>,
    left_out: u64,
}

/// A family that is being written.
struct Open {
    metric: Metric,
    /// Without `_total`.
    name: String,
    /// The label `le` of each bucket of a histogram.
    les: Vec<String>,
}

impl Format {
    /// What a client prefers that names what it accepts: OpenMetrics only if it is named, and not with `q=0`.
    pub fn accepted(accept: &str) -> Self {
        let takes = |range: &str| {
            let mut parts = range.split(';').map(str::trim);
            let is_named = parts.next() == Some("application/openmetrics-text");
            is_named && !parts.any(|part| part == "q=0")
        };
        if accept.split(',').any(takes) { Self::OpenMetrics } else { Self::Text }
    }

    /// The media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Everything there is to scrape.
pub fn text(format: Format, snapshot: &Snapshot, ledger: &Ledger, exports: &[Export]) -> Vec<u8> {
    let mut writer = Writer { out: Vec::new(), format, names: Vec::new(), left_out: 0 };
    writer.resource(snapshot);
    writer.metrics(snapshot);
    writer.ledger(ledger);
    writer.exports(exports);
    let left_out = writer.left_out;
    let gauges = [
        (
            "console_points_left_out",
            "Series that are not here: of two metrics with one name, the second.",
            left_out,
        ),
        (
            "console_is_cut",
            "Whether series are not here since the snapshot would be too large.",
            snapshot.is_cut.into(),
        ),
    ];
    for (name, help, value) in gauges {
        let name = format!("tributary_{name}");
        writer.header(&name, "gauge", "", help);
        writer.sample(&name, "", "", &value.to_string(), None);
    }
    if format == Format::OpenMetrics {
        writer.out.extend_from_slice(b"# EOF\n");
    }
    writer.out
}

impl Writer {
    fn resource(&mut self, snapshot: &Snapshot) {
        let labels = labels(snapshot.resource());
        let help = "The process that is measured.";
        if self.format == Format::OpenMetrics {
            self.header("target", "info", "", help);
        } else {
            self.header("target_info", "gauge", "", help);
        }
        self.sample("target", "_info", &labels, "1", None);
    }

    fn metrics(&mut self, snapshot: &Snapshot) {
        let mut open: Option<Open> = None;
        for part in snapshot.metrics() {
            if open.as_ref().is_none_or(|open| open.metric != part.metric) {
                open = self.open(&part.metric);
            }
            for (series, value) in part.points() {
                match &open {
                    Some(open) => self.point(open, series, value),
                    None => self.left_out = self.left_out.saturating_add(1),
                }
            }
        }
    }

    /// Begins a family, unless one of its name is written already.
    fn open(&mut self, metric: &Metric) -> Option<Open> {
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
            // OpenMetrics: "Floating point numbers".
            if self.format == Format::OpenMetrics && !text.contains('.') {
                text.push_str(".0");
            }
            text
        };
        let les = bounds.iter().map(le).chain(["+Inf".to_owned()]).collect();
        Some(Open { metric: metric.clone(), name, les })
    }

    /// What stands before the samples of a family. A counter is called with `_total` by the text format only.
    fn header(&mut self, name: &str, kind: &str, unit: &str, help: &str) {
        let ending = if kind == "counter" && self.format == Format::Text { "_total" } else { "" };
        if !help.is_empty() {
            let help = escaped(help, self.format == Format::OpenMetrics);
            self.out.extend_from_slice(format!("# HELP {name}{ending} {help}\n").as_bytes());
        }
        self.out.extend_from_slice(format!("# TYPE {name}{ending} {kind}\n").as_bytes());
        if self.format == Format::OpenMetrics && !unit.is_empty() {
            self.out.extend_from_slice(format!("# UNIT {name} {unit}\n").as_bytes());
        }
    }

    fn point(&mut self, open: &Open, series: &Series, value: &Value) {
        let (name, labels) = (&open.name, labels(attributes::iter(&series.attributes)));
        let sum = sum_text(&open.metric, value);
        let count = match value {
            Value::Counter(_) => return self.sample(name, "_total", &labels, &sum, None),
            Value::UpDownCounter(_) => return self.sample(name, "", &labels, &sum, None),
            Value::Histogram(histogram) => {
                let exemplar = series.exemplars.first().and_then(|exemplar| Exemplar::from_wire(*exemplar));
                self.buckets(open, histogram, exemplar.map(|(_, exemplar)| exemplar), &labels);
                count(0, &histogram.buckets)
            }
            Value::ExponentialHistogram(histogram) => count(histogram.zero_count, &histogram.buckets),
        };
        self.sample(name, "_sum", &labels, &sum, None);
        self.sample(name, "_count", &labels, &count.to_string(), None);
    }

    fn buckets(&mut self, open: &Open, histogram: &Histogram, exemplar: Option<Exemplar>, labels: &str) {
        let Kind::Histogram { bounds } = &open.metric.kind else { return };
        let exemplar_at = exemplar.as_ref().map(|one| bounds.partition_point(|bound| *bound < one.value()));
        let comma = if labels.is_empty() { "" } else { "," };
        let mut below: u64 = 0;
        for (at, (le, count)) in open.les.iter().zip(&histogram.buckets).enumerate() {
            below = below.saturating_add(*count);
            let labels = format!("{labels}{comma}le=\"{le}\"");
            let exemplar = exemplar.as_ref().filter(|_| exemplar_at == Some(at));
            let exemplar = exemplar.map(|exemplar| (exemplar, open.metric.in_unit(exemplar.value().into())));
            self.sample(&open.name, "_bucket", &labels, &below.to_string(), exemplar);
        }
    }

    fn sample(
        &mut self,
        name: &str,
        ending: &str,
        labels: &str,
        value: &str,
        exemplar: Option<(&Exemplar, f64)>,
    ) {
        let (open, close) = if labels.is_empty() { ("", "") } else { ("{", "}") };
        for part in [name, ending, open, labels, close, " ", value] {
            self.out.extend_from_slice(part.as_bytes());
        }
        if let Some((exemplar, value)) = exemplar.filter(|_| self.format == Format::OpenMetrics) {
            let ids: [(&str, &[u8]); 2] =
                [(" # {trace_id=\"", exemplar.trace_id()), ("\",span_id=\"", exemplar.span_id())];
            for (before, id) in ids {
                self.out.extend_from_slice(before.as_bytes());
                self.out.extend(id.iter().flat_map(|byte| hex::of(*byte)));
            }
            let (value, time) = (decimal::text(value), exemplar.time_unix_nano());
            let (seconds, millis) = (time / 1_000_000_000, time / 1_000_000 % 1_000);
            self.out.extend_from_slice(format!("\"}} {value} {seconds}.{millis:03}").as_bytes());
        }
        self.out.push(b'\n');
    }

    fn ledger(&mut self, ledger: &Ledger) {
        for (name, help, value) in ledger.values() {
            let name = format!("tributary_{name}");
            // Some of them are metrics of the service about itself, too.
            if self.names.contains(&name) {
                continue;
            }
            self.header(&name, "counter", "", help);
            self.sample(&name, "_total", "", &value.to_string(), None);
        }
    }

    fn exports(&mut self, exports: &[Export]) {
        type Value = fn(&Export) -> String;
        let families: [(&str, &str, &str, Value); 7] = [
            ("destination_succeeded", "counter", "Requests that the destination took.", |it| {
                it.succeeded.to_string()
            }),
            ("destination_failed", "counter", "Requests that failed, or could not be sent.", |it| {
                it.failed.to_string()
            }),
            ("destination_failures", "gauge", "Failures since the last success.", |it| {
                it.failures.to_string()
            }),
            (
                "destination_complete_timestamp_seconds",
                "gauge",
                "When the destination last took everything that there was; the service's start if it never did.",
                |it| (it.complete_unix_nano / 1_000_000_000).to_string(),
            ),
            (
                "destination_observations_exported",
                "counter",
                "Observations that the destination took.",
                |it| it.exported.to_string(),
            ),
            ("destination_observations_waiting", "gauge", "Observations that it does not have yet.", |it| {
                it.waiting.to_string()
            }),
            ("destination_observations_dropped", "counter", "Observations that it will never get.", |it| {
                it.dropped.to_string()
            }),
        ];
        for (name, kind, help, value) in families {
            if exports.is_empty() {
                return;
            }
            let name = format!("tributary_{name}");
            self.header(&name, kind, "", help);
            for export in exports {
                let label = format!("destination=\"{}\"", escaped(&export.name, true));
                let ending = if kind == "counter" { "_total" } else { "" };
                self.sample(&name, ending, &label, &value(export), None);
            }
        }
    }
}

/// Labels as they stand between braces. Attributes whose names become the same are one label, their values joined by `;`; an
/// empty label is as good as none.
fn labels<'a>(attributes: impl Iterator<Item = (&'a str, Attribute<'a>)>) -> String {
    let mut labels: Vec<(String, String)> = Vec::new();
    for (key, value) in attributes {
        let value = match value {
            Attribute::Text(text) => text.to_owned(),
            Attribute::Bool(truth) => truth.to_string(),
            Attribute::Integer(number) => number.to_string(),
        };
        let name = label_name(key);
        match labels.iter_mut().find(|(present, _)| *present == name) {
            Some((_, joined)) => {
                joined.push(';');
                joined.push_str(&value);
            }
            None => labels.push((name, value)),
        }
    }
    let mut text = String::new();
    for (name, value) in labels.iter().filter(|(_, value)| !value.is_empty()) {
        let comma = if text.is_empty() { "" } else { "," };
        for part in [comma, name, "=\"", &escaped(value, true), "\""] {
            text.push_str(part);
        }
    }
    text
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
