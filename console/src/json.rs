//! Writes a snapshot as JSON, for the page and for scripts.
//!
//! Metrics are written while the snapshot is read, so that only one part at a time is decoded.

use std::cell::RefCell;
use std::iter::Peekable;

use serde::ser::{Serialize, SerializeSeq, Serializer};
use tributary_proto::exports::Export;
use tributary_proto::generated::batch::Series;
use tributary_proto::generated::batch::point::Value;
use tributary_proto::metric::{Kind, Metric};

use crate::ledger::LedgerCounters;
use crate::snapshot::{MetricPart, Scalar, Snapshot, count, scalars, sum};

/// Writes the whole document, for the time `now_unix_nano`.
pub(crate) fn text(
    snapshot: &Snapshot,
    ledger: &LedgerCounters,
    exports: &[Export],
    now_unix_nano: u64,
) -> Vec<u8> {
    let document = Document {
        version: env!("CARGO_PKG_VERSION"),
        time_unix_ms: snapshot.time_unix_nano / 1_000_000,
        is_cut: snapshot.is_cut,
        resource: Map(|| snapshot.resource()),
        ledger: Map(|| ledger.values().map(|(name, _, value)| (name, value))),
        destinations: exports.iter().map(|export| Destination::new(export, now_unix_nano)).collect(),
        metrics: Metrics(snapshot),
    };
    // Serialization cannot fail: it writes to memory, and every key is text.
    serde_json::to_vec(&document).unwrap_or_default()
}

#[derive(serde::Serialize)]
struct Document<'a, R: Serialize, L: Serialize> {
    version: &'static str,
    time_unix_ms: u64,
    is_cut: bool,
    resource: R,
    ledger: L,
    destinations: Vec<Destination<'a>>,
    metrics: Metrics<'a>,
}

#[derive(serde::Serialize)]
struct Destination<'a> {
    name: &'a str,
    is_stuck: bool,
    complete_unix_ms: u64,
    succeeded: u64,
    failed: u64,
    failures: u64,
    observations_exported: u64,
    observations_waiting: u64,
    observations_dropped: u64,
    fault: &'a str,
}

/// The metrics of a snapshot. Consecutive parts of the same metric are joined.
struct Metrics<'a>(&'a Snapshot);

/// One metric while it is written: its first part, which was read, and the parts after it.
struct OneMetric<'a, I: Iterator<Item = MetricPart>> {
    first: &'a MetricPart,
    rest: &'a RefCell<Peekable<I>>,
}

#[derive(serde::Serialize)]
struct MetricHead<'a, P: Serialize> {
    name: &'a str,
    unit: &'a str,
    description: &'a str,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    bounds: Option<Vec<f64>>,
    points: P,
}

/// The points of a metric, which are decoded while they are written.
struct Points<'a, I: Iterator<Item = MetricPart>>(&'a OneMetric<'a, I>);

#[derive(serde::Serialize)]
struct Point<'a, A: Serialize> {
    attributes: A,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Scalar<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sum: Option<Scalar<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scale: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    zero_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    buckets: Option<&'a [u64]>,
}

/// A JSON object with the entries that a function returns, in this order.
struct Map<F>(F);

impl<K: Serialize, V: Serialize, I: Iterator<Item = (K, V)>, F: Fn() -> I> Serialize for Map<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map((self.0)())
    }
}

impl<'a> Destination<'a> {
    fn new(export: &'a Export, now_unix_nano: u64) -> Self {
        Self {
            name: &export.name,
            is_stuck: export.is_stuck(now_unix_nano),
            complete_unix_ms: export.complete_unix_nano / 1_000_000,
            succeeded: export.succeeded,
            failed: export.failed,
            failures: export.failures,
            observations_exported: export.exported,
            observations_waiting: export.waiting,
            observations_dropped: export.dropped,
            fault: &export.fault,
        }
    }
}

impl Serialize for Metrics<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        let rest = RefCell::new(self.0.metrics().peekable());
        loop {
            let Some(first) = rest.borrow_mut().next() else { break };
            list.serialize_element(&OneMetric { first: &first, rest: &rest })?;
        }
        list.end()
    }
}

impl<I: Iterator<Item = MetricPart>> Serialize for OneMetric<'_, I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let metric = &self.first.metric;
        let (kind, bounds) = match &metric.kind {
            Kind::Counter => ("sum", None),
            Kind::UpDownCounter => ("up_down", None),
            Kind::Histogram { bounds } => {
                ("histogram", Some(bounds.iter().map(|bound| metric.in_unit((*bound).into())).collect()))
            }
            Kind::Exponential { .. } => ("exponential", None),
        };
        let Metric { name, unit, description, .. } = metric;
        MetricHead { name, unit, description, kind, bounds, points: Points(self) }.serialize(serializer)
    }
}

impl<I: Iterator<Item = MetricPart>> Serialize for Points<'_, I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let OneMetric { first, rest } = self.0;
        let mut list = serializer.serialize_seq(None)?;
        let mut write = |part: &MetricPart| {
            part.points().try_for_each(|(series, value)| write_point(&mut list, &part.metric, series, value))
        };
        write(first)?;
        while let Some(part) = rest.borrow_mut().next_if(|part| part.metric == first.metric) {
            write(&part)?;
        }
        list.end()
    }
}

fn write_point<L: SerializeSeq>(
    list: &mut L,
    metric: &Metric,
    series: &Series,
    value: &Value,
) -> Result<(), L::Error> {
    let attributes = Map(|| scalars(&series.attributes));
    let sum = sum(metric, value);
    let mut point = Point {
        attributes,
        value: None,
        count: None,
        sum: None,
        scale: None,
        zero_count: None,
        offset: None,
        buckets: None,
    };
    match value {
        Value::Counter(_) | Value::UpDownCounter(_) => point.value = Some(sum),
        Value::Histogram(histogram) => {
            point.count = Some(count(0, &histogram.buckets));
            point.sum = Some(sum);
            point.buckets = Some(&histogram.buckets);
        }
        Value::ExponentialHistogram(histogram) => {
            point.count = Some(count(histogram.zero_count, &histogram.buckets));
            point.sum = Some(sum);
            point.scale = Some(histogram.scale);
            point.zero_count = Some(histogram.zero_count);
            point.offset = Some(histogram.offset);
            point.buckets = Some(&histogram.buckets);
        }
    }
    list.serialize_element(&point)
}
