//! Metrics of the service about itself.
//!
//! They are set in the table when a cycle starts, and exported with it after all other metrics. What an
//! export changes in them is in the next one.

use tributary_host::memory;
use tributary_proto::attributes::{self, text};
use tributary_proto::batch::Point;
use tributary_proto::metric::{Kind, Metric};
use tributary_proto::otlp::KeyValue;

use super::exporter::Exporter;
use super::exporter::totals::{DURATION_BOUNDS_NS, ErrorType};
use crate::aggregate::{MetricOrigin, Table};
use crate::stats::{DropReason, ServiceStats};

/// Writes metrics into the table.
struct MetricWriter<'a> {
    table: &'a mut Table,
    stats: &'a ServiceStats,
    /// The start of all counts.
    start_unix_nano: u64,
    now_unix_nano: u64,
}

/// Writes all metrics of a service that started at `start_unix_nano` into the table.
pub fn write(
    table: &mut Table,
    stats: &ServiceStats,
    exporters: &[Exporter],
    start_unix_nano: u64,
    now_unix_nano: u64,
) {
    let series = u64::try_from(table.series()).unwrap_or(u64::MAX);
    let mut writer = MetricWriter { table, stats, start_unix_nano, now_unix_nano };
    for (outcome, count) in [
        ("received", &stats.batches_received),
        ("invalid", &stats.batches_invalid),
        ("duplicate", &stats.batches_duplicate),
        ("missing", &stats.batches_missing),
    ] {
        let about = ("tributary.batches", "{batch}", "Batches from workers, by outcome.");
        writer.count(about, vec![text("tributary.outcome", outcome)], count.since_start());
    }
    let about =
        ("tributary.observations.aggregated", "{observation}", "Observations that the service aggregated.");
    writer.count(about, Vec::new(), stats.observations_aggregated.since_start());
    let about =
        ("tributary.observations.missing", "{observation}", "Observations in batches that never arrived.");
    writer.count(about, Vec::new(), stats.observations_missing.since_start());
    for (reason, points) in stats.points_dropped() {
        let about = ("tributary.points.dropped", "{data_point}", "Dropped data points, by reason.");
        writer.count(about, vec![text("tributary.reason", reason.name())], points);
    }
    writer.level(("tributary.series", "{series}", "Series in the table."), Vec::new(), series);
    let about = ("tributary.memory", "By", "Memory of the service's module.");
    writer.level(about, Vec::new(), memory::bytes());
    for exporter in exporters {
        writer.exporter(exporter);
    }
}

/// Name, unit and description.
type About = (&'static str, &'static str, &'static str);

impl MetricWriter<'_> {
    /// Writes the metrics of an exporter (OpenTelemetry semantic conventions 1.37,
    /// `docs/otel/sdk-metrics.md`).
    fn exporter(&mut self, exporter: &Exporter) {
        let (component, ledger) = (exporter.destination.component(), &exporter.ledger);
        let about =
            ("tributary.observations.exported", "{observation}", "Observations that the collector accepted.");
        self.count(about, component.clone(), ledger.exported.since_start());
        for (reason, count) in ledger.dropped() {
            let about = (
                "tributary.observations.dropped",
                "{observation}",
                "Observations that the collector will never get, by reason.",
            );
            let reason = text("tributary.reason", reason.name());
            let attributes = component.iter().cloned().chain([reason]).collect();
            self.count(about, attributes, count.since_start());
        }
        let waiting = ledger.waiting(self.stats.observations_aggregated.of_process());
        let about = (
            "tributary.observations.waiting",
            "{observation}",
            "Observations that the collector does not have yet.",
        );
        self.level(about, component.clone(), waiting);
        for (error, points) in &exporter.totals().points {
            let about = (
                "otel.sdk.exporter.metric_data_point.exported",
                "{data_point}",
                "Data points for which the export has finished, with or without success.",
            );
            self.count(about, with(&component, error), *points);
        }
        let about = (
            "otel.sdk.exporter.metric_data_point.inflight",
            "{data_point}",
            "Data points in the request that has no response yet.",
        );
        self.level(about, component.clone(), exporter.points_in_flight());
        for (error, durations) in &exporter.totals().durations {
            let metric = Metric {
                divisor: 1_000_000_000,
                kind: Kind::Histogram { bounds: DURATION_BOUNDS_NS.into() },
                ..metric(
                    ("otel.sdk.exporter.operation.duration", "s", "Durations of requests."),
                    Kind::Counter,
                )
            };
            self.set(&metric, with(&component, error), Point::Histogram(durations.clone()));
        }
    }

    fn count(&mut self, about: About, attributes: Vec<KeyValue>, count: u64) {
        self.set(&metric(about, Kind::Counter), attributes, Point::Counter(count));
    }

    /// Writes a number that may decrease.
    fn level(&mut self, about: About, attributes: Vec<KeyValue>, level: u64) {
        let level = i64::try_from(level).unwrap_or(i64::MAX);
        self.set(&metric(about, Kind::UpDownCounter), attributes, Point::UpDownCounter(level));
    }

    fn set(&mut self, metric: &Metric, attributes: Vec<KeyValue>, point: Point) {
        let attributes = attributes::encode(attributes);
        let (start, now) = (self.start_unix_nano, self.now_unix_nano);
        if !self.table.set(MetricOrigin::Service, metric, &attributes, point, start, now) {
            self.stats.drop_points(DropReason::Table, 1);
        }
    }
}

fn metric((name, unit, description): About, kind: Kind) -> Metric {
    let (name, unit, description) = (name.to_owned(), unit.to_owned(), description.to_owned());
    Metric { name, unit, description, divisor: 1, kind }
}

fn with(attributes: &[KeyValue], error: &Option<ErrorType>) -> Vec<KeyValue> {
    attributes.iter().cloned().chain(error.as_ref().map(|error| text("error.type", error))).collect()
}
