//! Metrics of the service about itself.
//!
//! These metrics are set in the table when a cycle starts, and exported in this cycle after all other
//! metrics. If an export changes them, the next cycle exports the change.

use tributary_host::memory;
use tributary_proto::attributes::{self, text};
use tributary_proto::batch::Point;
use tributary_proto::metric::{Kind, Metric};
use tributary_proto::otlp::KeyValue;

use super::exporter::Exporter;
use super::exporter::totals::{ErrorType, duration_bounds_ns};
use crate::aggregate::{MetricOrigin, Table};
use crate::stats::{DropReason, ServiceStats};

/// Writes metrics into the table.
struct MetricWriter<'a> {
    table: &'a mut Table,
    stats: &'a ServiceStats,
    /// The time from which all metrics count, in Unix nanoseconds.
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
        writer.count(about, &[], Some(text("tributary.outcome", outcome)), count.since_start());
    }
    let about =
        ("tributary.observations.aggregated", "{observation}", "Observations that the service aggregated.");
    writer.count(about, &[], None, stats.observations_aggregated.since_start());
    let about =
        ("tributary.observations.missing", "{observation}", "Observations in batches that never arrived.");
    writer.count(about, &[], None, stats.observations_missing.since_start());
    for (reason, points) in stats.points_dropped() {
        let about = ("tributary.points.dropped", "{data_point}", "Dropped data points, by reason.");
        writer.count(about, &[], Some(text("tributary.reason", reason.name())), points);
    }
    writer.level(("tributary.series", "{series}", "Series in the table."), &[], series);
    let about = ("tributary.memory", "By", "Memory of the service's module.");
    writer.level(about, &[], memory::bytes());
    for exporter in exporters {
        writer.exporter(exporter);
    }
}

/// The name, the unit and the description of a metric.
type About = (&'static str, &'static str, &'static str);

impl MetricWriter<'_> {
    /// Writes the metrics of an exporter (OpenTelemetry semantic conventions 1.37,
    /// `docs/otel/sdk-metrics.md`).
    fn exporter(&mut self, exporter: &Exporter) {
        let (component, ledger) = (&exporter.destination.component(), &exporter.ledger);
        let about =
            ("tributary.observations.exported", "{observation}", "Observations that the collector accepted.");
        self.count(about, component, None, ledger.exported.since_start());
        let about = (
            "tributary.points.possibly_duplicated",
            "{data_point}",
            "Data points that were sent again although the collector may have counted them.",
        );
        self.count(about, component, None, exporter.status.points_possibly_duplicated.since_start());
        for (reason, count) in ledger.dropped() {
            let about = (
                "tributary.observations.dropped",
                "{observation}",
                "Observations that the collector will never get, by reason.",
            );
            let reason = text("tributary.reason", reason.name());
            self.count(about, component, Some(reason), count.since_start());
        }
        let waiting = ledger.waiting(self.stats.observations_aggregated.of_process());
        let about = (
            "tributary.observations.waiting",
            "{observation}",
            "Observations that the collector does not have yet.",
        );
        self.level(about, component, waiting);
        for (error, points) in &exporter.status.totals.points {
            let about = (
                "otel.sdk.exporter.metric_data_point.exported",
                "{data_point}",
                "Data points for which the export has finished, with or without success.",
            );
            self.count(about, component, error_type(error), *points);
        }
        let about = (
            "otel.sdk.exporter.metric_data_point.inflight",
            "{data_point}",
            "Data points in the request that has no response yet.",
        );
        self.level(about, component, exporter.points_in_flight());
        for (error, durations) in &exporter.status.totals.durations {
            let about = ("otel.sdk.exporter.operation.duration", "s", "Durations of requests.");
            let metric = metric(about, Kind::Histogram { bounds: duration_bounds_ns().into() });
            let metric = Metric { divisor: 1_000_000_000, ..metric };
            self.set(&metric, component, error_type(error), Point::Histogram(durations.clone()));
        }
    }

    fn count(&mut self, about: About, component: &[KeyValue], other: Option<KeyValue>, count: u64) {
        self.set(&metric(about, Kind::Counter), component, other, Point::Counter(count));
    }

    /// Writes a number that may decrease, as an up-down counter.
    fn level(&mut self, about: About, component: &[KeyValue], level: u64) {
        let level = i64::try_from(level).unwrap_or(i64::MAX);
        self.set(&metric(about, Kind::UpDownCounter), component, None, Point::UpDownCounter(level));
    }

    /// Writes a point with the attributes of a component and, if given, one other attribute.
    fn set(&mut self, metric: &Metric, component: &[KeyValue], other: Option<KeyValue>, point: Point) {
        let attributes = attributes::encode(component.iter().cloned().chain(other).collect());
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

fn error_type(error: &Option<ErrorType>) -> Option<KeyValue> {
    error.as_ref().map(|error| text("error.type", error))
}
