//! Writes a snapshot as JSON, for the page and for scripts.
//!
//! It writes metrics while it reads the snapshot, so that only one part at a time is decoded.

use serde::ser::{Serialize, SerializeMap, Serializer};
use tributary_proto::exports::Export;
use tributary_proto::generated::batch::Series;
use tributary_proto::generated::batch::point::Value;
use tributary_proto::metric::{Kind, Metric};

use crate::ledger::LedgerCounters;
use crate::snapshot::{Scalar, Snapshot, count, scalars, sum};

/// The document without its metrics.
#[derive(serde::Serialize)]
struct DocumentHead<R: Serialize, L: Serialize, D: Serialize> {
    version: &'static str,
    time_unix_ms: u64,
    is_cut: bool,
    resource: R,
    ledger: L,
    destinations: Vec<D>,
}

/// A metric without its points.
#[derive(serde::Serialize)]
struct MetricHead<'a> {
    name: &'a str,
    unit: &'a str,
    description: &'a str,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    bounds: Option<Vec<f64>>,
}

/// A value of a series.
struct MetricPoint<'a> {
    metric: &'a Metric,
    series: &'a Series,
    value: &'a Value,
}

/// A JSON object with the entries that a function returns, in this order.
struct Map<F>(F);

/// Writes the whole document, as of `now_unix_nano`.
pub(crate) fn text(
    snapshot: &Snapshot,
    ledger: &LedgerCounters,
    exports: &[Export],
    now_unix_nano: u64,
) -> Vec<u8> {
    let document = DocumentHead {
        version: env!("CARGO_PKG_VERSION"),
        time_unix_ms: snapshot.time_unix_nano / 1_000_000,
        is_cut: snapshot.is_cut,
        resource: Map(|| snapshot.resource()),
        ledger: Map(|| ledger.values().map(|(name, _, value)| (name, value))),
        destinations: exports.iter().map(|export| Map(move || destination(export, now_unix_nano))).collect(),
    };
    let mut out = Vec::new();
    open(&mut out, &document, "metrics");
    let mut metric = None;
    for part in snapshot.metrics() {
        if metric.as_ref() != Some(&part.metric) {
            if metric.is_some() {
                out.extend_from_slice(b"]},");
            }
            open(&mut out, &MetricHead::new(&part.metric), "points");
            metric = Some(part.metric.clone());
        }
        for (series, value) in part.points() {
            if !out.ends_with(b"[") {
                out.push(b',');
            }
            append(&mut out, &MetricPoint { metric: &part.metric, series, value });
        }
    }
    out.extend_from_slice(if metric.is_some() { b"]}]}" } else { b"]}" });
    out
}

/// Appends an object that stays open: its last key is `list`, whose items follow.
fn open(out: &mut Vec<u8>, object: &impl Serialize, list: &str) {
    append(out, object);
    out.pop();
    out.extend_from_slice(format!(",\"{list}\":[").as_bytes());
}

fn append(out: &mut Vec<u8>, value: &impl Serialize) {
    // Cannot fail: it writes to memory, and every key is text.
    out.extend(serde_json::to_vec(value).unwrap_or_default());
}

fn destination(export: &Export, now_unix_nano: u64) -> [(&'static str, Scalar<'_>); 10] {
    [
        ("name", Scalar::Text(&export.name)),
        ("is_stuck", Scalar::Bool(export.is_stuck(now_unix_nano))),
        ("complete_unix_ms", Scalar::Unsigned(export.complete_unix_nano / 1_000_000)),
        ("succeeded", Scalar::Unsigned(export.succeeded)),
        ("failed", Scalar::Unsigned(export.failed)),
        ("failures", Scalar::Unsigned(export.failures)),
        ("observations_exported", Scalar::Unsigned(export.exported)),
        ("observations_waiting", Scalar::Unsigned(export.waiting)),
        ("observations_dropped", Scalar::Unsigned(export.dropped)),
        ("fault", Scalar::Text(&export.fault)),
    ]
}

impl<'a> MetricHead<'a> {
    fn new(metric: &'a Metric) -> Self {
        let Metric { name, unit, description, .. } = metric;
        let (kind, bounds) = match &metric.kind {
            Kind::Counter => ("sum", None),
            Kind::UpDownCounter => ("up_down", None),
            Kind::Histogram { bounds } => {
                ("histogram", Some(bounds.iter().map(|bound| metric.in_unit((*bound).into())).collect()))
            }
            Kind::Exponential { .. } => ("exponential", None),
        };
        Self { name, unit, description, kind, bounds }
    }
}

impl Serialize for MetricPoint<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut point = serializer.serialize_map(None)?;
        point.serialize_entry("attributes", &Map(|| scalars(&self.series.attributes)))?;
        let sum = sum(self.metric, self.value);
        match self.value {
            Value::Counter(_) | Value::UpDownCounter(_) => point.serialize_entry("value", &sum)?,
            Value::Histogram(histogram) => {
                point.serialize_entry("count", &count(0, &histogram.buckets))?;
                point.serialize_entry("sum", &sum)?;
                point.serialize_entry("buckets", &histogram.buckets)?;
            }
            Value::ExponentialHistogram(histogram) => {
                point.serialize_entry("count", &count(histogram.zero_count, &histogram.buckets))?;
                point.serialize_entry("sum", &sum)?;
                point.serialize_entry("scale", &histogram.scale)?;
                point.serialize_entry("zero_count", &histogram.zero_count)?;
                point.serialize_entry("offset", &histogram.offset)?;
                point.serialize_entry("buckets", &histogram.buckets)?;
            }
        }
        point.end()
    }
}

impl<K: Serialize, V: Serialize, I: IntoIterator<Item = (K, V)>, F: Fn() -> I> Serialize for Map<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map((self.0)())
    }
}
