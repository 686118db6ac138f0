//! Making an OTLP request of a slice of the table.

use prost::Message;
use tributary_proto::attributes;
use tributary_proto::batch::Point;
use tributary_proto::metric::{Kind, Metric};
use tributary_proto::otlp::{self, AggregationTemporality, metric, number_data_point};

use crate::table::Row;

/// Rows in one request: about half a megabyte of histograms, and a few milliseconds of the main thread.
pub const ROWS_MAX: usize = 1_000;

/// The metric under which counters in shared data are exported, with their key as the attribute `key`.
pub const COUNTER_METRIC: &str = "tributary.counter";

const SCOPE_NAME: &str = "tributary";

/// A request to be sent.
#[derive(Clone, Debug, PartialEq)]
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
    resource: &otlp::Resource,
    rows: &[(&Metric, &[Row])],
    counters: &[SharedCounter],
    start_unix_nano: u64,
    now_unix_nano: u64,
) -> Option<Export> {
    let points: usize = rows.iter().map(|(_, rows)| rows.len()).sum::<usize>().saturating_add(counters.len());
    if points == 0 {
        return None;
    }
    let mut metrics: Vec<otlp::Metric> =
        rows.iter().map(|(metric, rows)| series(metric, rows, now_unix_nano)).collect();
    if !counters.is_empty() {
        metrics.push(shared_counters(counters, start_unix_nano, now_unix_nano));
    }
    let scope = otlp::InstrumentationScope {
        name: SCOPE_NAME.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let scope_metrics = vec![otlp::ScopeMetrics { scope: Some(scope), metrics, schema_url: String::new() }];
    let resource_metrics = vec![otlp::ResourceMetrics {
        resource: Some(resource.clone()),
        scope_metrics,
        schema_url: String::new(),
    }];
    let body = otlp::ExportMetricsServiceRequest { resource_metrics }.encode_to_vec();
    Some(Export { body, points: u64::try_from(points).unwrap_or(u64::MAX) })
}

fn series(metric: &Metric, rows: &[Row], now_unix_nano: u64) -> otlp::Metric {
    let temporality = AggregationTemporality::Cumulative.into();
    let data = match &metric.kind {
        Kind::Counter => metric::Data::Sum(otlp::Sum {
            data_points: rows.iter().filter_map(|row| number_point(metric, row, now_unix_nano)).collect(),
            aggregation_temporality: temporality,
            is_monotonic: true,
        }),
        Kind::Histogram { bounds } => {
            let explicit_bounds: Vec<f64> =
                bounds.iter().map(|bound| metric.in_unit((*bound).into())).collect();
            let point = |row| histogram_point(metric, &explicit_bounds, row, now_unix_nano);
            metric::Data::Histogram(otlp::Histogram {
                data_points: rows.iter().filter_map(point).collect(),
                aggregation_temporality: temporality,
            })
        }
    };
    let (name, description, unit) = (metric.name.clone(), metric.description.clone(), metric.unit.clone());
    otlp::Metric { name, description, unit, data: Some(data) }
}

fn number_point(metric: &Metric, row: &Row, now_unix_nano: u64) -> Option<otlp::NumberDataPoint> {
    let Point::Counter(count) = row.point else { return None };
    let value = if metric.divisor == 1 {
        number_data_point::Value::AsInt(i64::try_from(count).unwrap_or(i64::MAX))
    } else {
        number_data_point::Value::AsDouble(metric.in_unit(count.into()))
    };
    Some(otlp::NumberDataPoint {
        start_time_unix_nano: row.start_unix_nano,
        time_unix_nano: now_unix_nano,
        value: Some(value),
        // The table holds what intake has read, so these bytes can be read.
        attributes: attributes::decode(&row.attributes).unwrap_or_default(),
        flags: 0,
    })
}

fn histogram_point(
    metric: &Metric,
    explicit_bounds: &[f64],
    row: &Row,
    now_unix_nano: u64,
) -> Option<otlp::HistogramDataPoint> {
    let Point::Histogram(histogram) = &row.point else { return None };
    Some(otlp::HistogramDataPoint {
        start_time_unix_nano: row.start_unix_nano,
        time_unix_nano: now_unix_nano,
        count: histogram.count(),
        sum: Some(metric.in_unit(histogram.sum())),
        bucket_counts: histogram.buckets().to_vec(),
        explicit_bounds: explicit_bounds.to_vec(),
        attributes: attributes::decode(&row.attributes).unwrap_or_default(),
        flags: 0,
        min: histogram.min().map(|min| metric.in_unit(min.into())),
        max: histogram.max().map(|max| metric.in_unit(max.into())),
    })
}

fn shared_counters(counters: &[SharedCounter], start_unix_nano: u64, now_unix_nano: u64) -> otlp::Metric {
    let point = |counter: &SharedCounter| otlp::NumberDataPoint {
        start_time_unix_nano: start_unix_nano,
        time_unix_nano: now_unix_nano,
        value: Some(number_data_point::Value::AsInt(i64::try_from(counter.value).unwrap_or(i64::MAX))),
        attributes: vec![attributes::text("key", &counter.key)],
        flags: 0,
    };
    otlp::Metric {
        name: COUNTER_METRIC.to_owned(),
        description: "Counters that all workers keep in shared data.".to_owned(),
        unit: "1".to_owned(),
        data: Some(metric::Data::Sum(otlp::Sum {
            data_points: counters.iter().map(point).collect(),
            aggregation_temporality: AggregationTemporality::Cumulative.into(),
            is_monotonic: true,
        })),
    }
}

#[cfg(test)]
mod tests;
