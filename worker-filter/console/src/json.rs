//! A snapshot as JSON: for the page, and for whoever reads it by script.

use serde::{Serialize, Serializer};
use tributary_proto::attributes::Value as Attribute;
use tributary_proto::exports::Export;

use crate::ledger::Ledger;
use crate::snapshot::{Family, Form, Number, Point, Snapshot};

/// Writes all of it, as of `now_unix_nano`.
pub fn text(snapshot: &Snapshot<'_>, ledger: &Ledger, exports: &[Export], now_unix_nano: u64) -> Vec<u8> {
    let all = All {
        version: env!("CARGO_PKG_VERSION"),
        time_unix_ms: snapshot.time_unix_nano / 1_000_000,
        is_cut: snapshot.is_cut,
        resource: Object::of(&snapshot.resource()),
        ledger: Object(ledger.values().map(|(name, _, value)| (name, Scalar::Unsigned(value))).collect()),
        destinations: exports.iter().map(|export| Destination::new(export, now_unix_nano)).collect(),
        metrics: metrics(snapshot),
    };
    // Writing to memory does not fail, and every key is text.
    serde_json::to_vec(&all).unwrap_or_default()
}

#[derive(Serialize)]
struct All<'a> {
    version: &'static str,
    time_unix_ms: u64,
    is_cut: bool,
    resource: Object<'a>,
    ledger: Object<'a>,
    destinations: Vec<Destination<'a>>,
    metrics: Vec<Metric<'a>>,
}

#[derive(Serialize)]
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

/// Those points of one metric that follow each other and have the same bounds.
#[derive(Serialize)]
struct Metric<'a> {
    #[serde(skip)]
    family: Family<'a>,
    name: &'a str,
    unit: &'a str,
    description: &'a str,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    bounds: Option<Vec<f64>>,
    points: Vec<PointOf<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum PointOf<'a> {
    Sum {
        attributes: Object<'a>,
        value: Scalar<'a>,
    },
    Histogram {
        attributes: Object<'a>,
        count: u64,
        sum: f64,
        buckets: Vec<u64>,
    },
    Exponential {
        attributes: Object<'a>,
        count: u64,
        sum: f64,
        scale: i64,
        zero_count: u64,
        offset: i64,
        buckets: Vec<u64>,
    },
}

#[derive(Serialize)]
#[serde(untagged)]
enum Scalar<'a> {
    Text(&'a str),
    Truth(bool),
    Unsigned(u64),
    Signed(i64),
    Double(f64),
}

/// A JSON object of values, in this order.
struct Object<'a>(Vec<(&'a str, Scalar<'a>)>);

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

impl<'a> Metric<'a> {
    fn new(family: Family<'a>, bounds: Option<Vec<f64>>, first: PointOf<'a>) -> Self {
        let Family { name, unit, description, form } = family;
        let kind = match form {
            Form::Sum => "sum",
            Form::UpDown => "up_down",
            Form::Histogram => "histogram",
            Form::Exponential => "exponential",
        };
        Self { family, name, unit, description, kind, bounds, points: vec![first] }
    }
}

impl<'a> Object<'a> {
    fn of(attributes: &[(&'a str, Attribute<'a>)]) -> Self {
        let scalar = |value| match value {
            Attribute::Text(text) => Scalar::Text(text),
            Attribute::Truth(truth) => Scalar::Truth(truth),
            Attribute::Integer(number) => Scalar::Signed(number),
        };
        Self(attributes.iter().map(|(key, value)| (*key, scalar(*value))).collect())
    }
}

impl<'a> PointOf<'a> {
    fn new(form: Form, point: Point<'a>) -> Self {
        let Point { count, sum, scale, zero_count, offset, buckets, .. } = point;
        let attributes = Object::of(&point.attributes);
        match form {
            Form::Sum | Form::UpDown => Self::Sum {
                attributes,
                value: match point.number {
                    Number::Whole(number) => Scalar::Signed(number),
                    Number::Double(number) => Scalar::Double(number),
                },
            },
            Form::Histogram => Self::Histogram { attributes, count, sum, buckets },
            Form::Exponential => {
                Self::Exponential { attributes, count, sum, scale, zero_count, offset, buckets }
            }
        }
    }
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

fn metrics<'a>(snapshot: &Snapshot<'a>) -> Vec<Metric<'a>> {
    let mut metrics: Vec<Metric<'a>> = Vec::new();
    for part in snapshot.parts() {
        let family = part.family;
        for mut point in part.points().filter(|point| !point.has_ended) {
            let bounds = (family.form == Form::Histogram).then(|| std::mem::take(&mut point.bounds));
            let point = PointOf::new(family.form, point);
            match metrics.last_mut() {
                Some(open) if open.family == family && open.bounds == bounds => open.points.push(point),
                _ => metrics.push(Metric::new(family, bounds, point)),
            }
        }
    }
    metrics
}
