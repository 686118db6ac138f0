//! Metrics about the service itself, which go out beside those that it was given.
//!
//! They are rows of the table that are set, not added to, when a cycle begins: so they go along with what is exported anyway,
//! behind it, and what an export changes in them waits for the next.

use std::borrow::Cow;

use tributary_host::memory;
use tributary_proto::attributes::{self, text};
use tributary_proto::batch::Point;
use tributary_proto::metric::{Kind, Metric};
use tributary_proto::otlp::KeyValue;

use crate::encode::as_u64;
use crate::exporter::Exporter;
use crate::exporter::tally::{DURATION_BOUNDS_NS, End};
use crate::stats::{Reason, Stats};
use crate::table::{Owner, Table};

/// Where the numbers are put.
struct Sheet<'a> {
    table: &'a mut Table,
    stats: &'a Stats,
    /// Since when the numbers count.
    start_unix_nano: u64,
    now_unix_nano: u64,
}

/// Puts everything that there is to say of a service that began at `start_unix_nano` into the table, as of now.
pub fn put(
    table: &mut Table,
    stats: &Stats,
    exporters: &mut [Exporter],
    start_unix_nano: u64,
    now_unix_nano: u64,
) {
    let series = as_u64(table.series());
    let mut sheet = Sheet { table, stats, start_unix_nano, now_unix_nano };
    for (outcome, count) in [
        ("received", &stats.batches_received),
        ("refused", &stats.batches_refused),
        ("duplicate", &stats.batches_duplicate),
        ("missing", &stats.batches_missing),
    ] {
        let about = ("tributary.batches", "{batch}", "Batches from workers, by what became of them.");
        sheet.count(about, vec![text("tributary.outcome", outcome)], count.total());
    }
    let about = ("tributary.observations", "{observation}", "Observations added up.");
    sheet.count(about, Vec::new(), stats.observations_aggregated.total());
    let about =
        ("tributary.observations.missing", "{observation}", "Observations in batches that never came.");
    sheet.count(about, Vec::new(), stats.observations_missing.total());
    for (reason, points) in stats.points_dropped() {
        let about = ("tributary.points.dropped", "{data_point}", "Data points dropped, by why.");
        sheet.count(about, vec![text("tributary.reason", reason.name())], points);
    }
    sheet.level(("tributary.series", "{series}", "Series in the table."), Vec::new(), series);
    let about = ("tributary.memory", "By", "Memory of the service's module.");
    sheet.level(about, Vec::new(), memory::bytes());
    for exporter in exporters {
        sheet.exporter(exporter);
    }
}

/// Name, unit and description.
type About = (&'static str, &'static str, &'static str);

impl Sheet<'_> {
    /// The metrics of an exporter (OpenTelemetry semantic conventions 1.37, `docs/otel/sdk-metrics.md`).
    fn exporter(&mut self, exporter: &mut Exporter) {
        let component = exporter.component();
        let ledger = exporter.ledger();
        let about =
            ("tributary.observations.exported", "{observation}", "Observations that a collector took.");
        self.count(about, component.clone(), ledger.exported().total());
        for (reason, count) in ledger.dropped() {
            let about = (
                "tributary.observations.dropped",
                "{observation}",
                "Observations that no collector will get, by why.",
            );
            let mut attributes = component.clone();
            attributes.push(text("tributary.reason", reason.name()));
            self.count(about, attributes, count.total());
        }
        let waiting = ledger.waiting(self.stats.observations_aggregated.ever());
        let about = (
            "tributary.observations.waiting",
            "{observation}",
            "Observations that a collector does not have yet.",
        );
        self.level(about, component, waiting);
        for (end, points) in exporter.tally().points() {
            let about = (
                "otel.sdk.exporter.metric_data_point.exported",
                "{data_point}",
                "Data points for which the export has finished, well or not.",
            );
            self.count(about, with(exporter.component(), end), *points);
        }
        let about = (
            "otel.sdk.exporter.metric_data_point.inflight",
            "{data_point}",
            "Data points that are on their way to the collector.",
        );
        self.level(about, exporter.component(), exporter.points_in_flight());
        for (end, durations) in exporter.tally().durations() {
            let metric = Metric {
                divisor: 1_000_000_000,
                kind: Kind::Histogram { bounds: DURATION_BOUNDS_NS.into() },
                ..metric(
                    ("otel.sdk.exporter.operation.duration", "s", "Durations of requests."),
                    Kind::Counter,
                )
            };
            self.put(&metric, with(exporter.component(), end), Point::Histogram(durations.clone()));
        }
    }

    fn count(&mut self, about: About, attributes: Vec<KeyValue>, count: u64) {
        self.put(&metric(about, Kind::Counter), attributes, Point::Counter(count));
    }

    /// What may also fall.
    fn level(&mut self, about: About, attributes: Vec<KeyValue>, level: u64) {
        let level = i64::try_from(level).unwrap_or(i64::MAX);
        self.put(&metric(about, Kind::UpDownCounter), attributes, Point::UpDownCounter(level));
    }

    fn put(&mut self, metric: &Metric, attributes: Vec<KeyValue>, point: Point) {
        let attributes = attributes::encode(attributes);
        let (start, now) = (self.start_unix_nano, self.now_unix_nano);
        if !self.table.set(Owner::Service, metric, &attributes, point, start, now) {
            self.stats.drop_points(Reason::Table, 1);
        }
    }
}

fn metric((name, unit, description): About, kind: Kind) -> Metric {
    let (name, unit, description) = (name.to_owned(), unit.to_owned(), description.to_owned());
    Metric { name, unit, description, divisor: 1, kind }
}

fn with(mut attributes: Vec<KeyValue>, end: &End) -> Vec<KeyValue> {
    attributes.extend(end.as_ref().map(|end: &Cow<'_, str>| text("error.type", end)));
    attributes
}
