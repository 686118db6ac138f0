//! Making a request of a slice of the table.

use std::borrow::Cow;

use tributary_proto::attributes;
use tributary_proto::batch::Point;
use tributary_proto::metric::{Kind, Metric};
use tributary_proto::otlp::Resource;

use crate::encode::Encoding;
use crate::points::{DataPoint, MetricPoints, Temporality, Value};
use crate::table::Row;

/// Rows in one request: about half a megabyte of histograms, and a few milliseconds of the main thread.
pub const ROWS_MAX: usize = 1_000;

/// The metric under which counters in shared data are exported, with their key as the attribute `key`.
pub const COUNTER_METRIC: &str = "tributary.counter";

/// A request to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// ExportMetricsServiceRequest in protobuf.
    pub body: Vec<u8>,
    /// Data points in it.
    pub points: u64,
}

/// A counter in shared data as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedCounter {
    /// As the configuration calls it.
    pub key: String,
    /// Its value.
    pub value: u64,
}

/// Encodes rows and counters as cumulative points at `now_unix_nano`; none if there is neither. Counters count since
/// `start_unix_nano`.
pub fn encode(
    resource: &Resource,
    rows: &[(&Metric, &[Row])],
    counters: &[SharedCounter],
    start_unix_nano: u64,
    now_unix_nano: u64,
) -> Option<Export> {
    let mut metrics: Vec<MetricPoints<'_>> =
        rows.iter().map(|(metric, rows)| cumulative(metric, rows, now_unix_nano)).collect();
    let metric = counter_metric();
    let key = |counter: &SharedCounter| attributes::encode(vec![attributes::text("key", &counter.key)]);
    let keys: Vec<Vec<u8>> = counters.iter().map(key).collect();
    if !counters.is_empty() {
        let point = |(counter, attributes): (&SharedCounter, _)| DataPoint {
            attributes,
            start_unix_nano,
            time_unix_nano: now_unix_nano,
            value: Value::Counter(counter.value),
            exemplars: &[],
        };
        let points = counters.iter().zip(keys.iter().map(Vec::as_slice)).map(point).collect();
        metrics.push(MetricPoints { metric: &metric, temporality: Temporality::Cumulative, points });
    }
    let encoded = Encoding::OtlpProtobuf.encode(resource, &metrics);
    (encoded.points > 0).then_some(Export { body: encoded.bytes, points: encoded.points })
}

/// The rows of a metric as they stand.
fn cumulative<'a>(metric: &'a Metric, rows: &'a [Row], time_unix_nano: u64) -> MetricPoints<'a> {
    let point = |row: &'a Row| DataPoint {
        attributes: &row.attributes,
        start_unix_nano: row.start_unix_nano,
        time_unix_nano,
        value: match &row.point {
            Point::Counter(count) => Value::Counter(*count),
            Point::Histogram(histogram) => Value::Histogram(Cow::Borrowed(histogram)),
            Point::Exponential(histogram) => Value::Exponential(Cow::Borrowed(histogram)),
        },
        exemplars: &[],
    };
    MetricPoints { metric, temporality: Temporality::Cumulative, points: rows.iter().map(point).collect() }
}

fn counter_metric() -> Metric {
    Metric {
        name: COUNTER_METRIC.to_owned(),
        unit: "1".to_owned(),
        description: "Counters that all workers keep in shared data.".to_owned(),
        divisor: 1,
        kind: Kind::Counter,
    }
}

#[cfg(test)]
mod tests;
