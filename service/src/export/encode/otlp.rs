//! OTLP requests in protobuf and in JSON. The two differ only in how a field is written, so both use the
//! same code to iterate over the points.
//!
//! `schema/otlp.proto` lists the fields; the code has the number of each for protobuf and its key for
//! JSON. The attributes of a point are copied unchanged, so nothing is allocated for a point in protobuf.

mod writer;

use tributary_proto::batch::Point;
use tributary_proto::exemplar::Exemplar;
use tributary_proto::metric::{Kind, Metric};
use tributary_proto::otlp::{AggregationTemporality, DataPointFlags};

pub(super) use self::writer::Notation;
use self::writer::Writer;
use super::{Encoded, as_u64};
use crate::aggregate::DataPoint;
use crate::export::points::{MetricPoints, Temporality};
use crate::export::resource::Resource;

const SCOPE_NAME: &str = "tributary";

/// Encodes an item of `resourceMetrics` in an ExportMetricsServiceRequest.
pub(super) fn part(notation: Notation, resource: &Resource, metrics: &[MetricPoints<'_>]) -> Encoded {
    let (mut out, mut counted) = (Writer::new(notation), Encoded::default());
    out.item(1, |out| {
        out.object(1, "resource", |out| out.attributes(1, resource.canonical()));
        out.list("scopeMetrics", |out| out.item(2, |out| scope_metrics(out, metrics, &mut counted)));
    });
    Encoded { bytes: out.out, ..counted }
}

fn scope_metrics(out: &mut Writer, metrics: &[MetricPoints<'_>], counted: &mut Encoded) {
    out.object(1, "scope", |out| {
        out.text(1, "name", SCOPE_NAME);
        out.text(2, "version", env!("CARGO_PKG_VERSION"));
    });
    out.list("metrics", |out| {
        for points in metrics {
            let fit = as_u64(points.points.iter().filter(|point| point.fits(&points.metric.kind)).count());
            counted.points = counted.points.saturating_add(fit);
            counted.left_out =
                counted.left_out.saturating_add(as_u64(points.points.len()).saturating_sub(fit));
            if fit > 0 {
                out.item(2, |out| metric(out, points));
            }
        }
    });
}

fn metric(out: &mut Writer, points: &MetricPoints<'_>) {
    let metric = points.metric;
    out.text(1, "name", &metric.name);
    out.text(2, "description", &metric.description);
    out.text(3, "unit", &metric.unit);
    let (field, key) = match metric.kind {
        Kind::Counter | Kind::UpDownCounter => (7, "sum"),
        Kind::Histogram { .. } => (9, "histogram"),
        Kind::Exponential { .. } => (10, "exponentialHistogram"),
    };
    // The bounds are the same in each point, so they are encoded once.
    let bounds = out.separately(|out| {
        if let Kind::Histogram { bounds } = &metric.kind {
            let bounds: Vec<f64> = bounds.iter().map(|bound| metric.in_unit((*bound).into())).collect();
            out.doubles(7, "explicitBounds", &bounds);
        }
    });
    out.object(field, key, |out| {
        out.list("dataPoints", |out| {
            for fitting in points.points.iter().filter(|point| point.fits(&metric.kind)) {
                out.item(1, |out| point(out, metric, &bounds, fitting));
            }
        });
        let temporality = match points.temporality {
            Temporality::Cumulative => AggregationTemporality::Cumulative,
            Temporality::Delta => AggregationTemporality::Delta,
        };
        out.int32(2, "aggregationTemporality", temporality.into());
        if metric.kind == Kind::Counter {
            out.boolean(3, "isMonotonic", true);
        }
    });
}

/// Writes a point of any kind. `bounds` is the encoded field with the bounds of its buckets.
fn point(out: &mut Writer, metric: &Metric, bounds: &[u8], point: &DataPoint<'_>) {
    let (attributes, exemplars, flags) = match metric.kind {
        Kind::Counter | Kind::UpDownCounter => (7, 5, 8),
        Kind::Histogram { .. } => (9, 8, 10),
        Kind::Exponential { .. } => (1, 11, 10),
    };
    out.attributes(attributes, point.attributes);
    out.fixed64(2, "startTimeUnixNano", point.start_unix_nano);
    out.fixed64(3, "timeUnixNano", point.time_unix_nano);
    let is_whole = metric.divisor == 1;
    match point.value.as_deref() {
        Some(Point::Counter(count)) if is_whole => {
            out.sfixed64(6, "asInt", i64::try_from(*count).unwrap_or(i64::MAX))
        }
        Some(Point::Counter(count)) => out.double(4, "asDouble", metric.in_unit((*count).into())),
        Some(Point::UpDownCounter(sum)) if is_whole => out.sfixed64(6, "asInt", *sum),
        Some(Point::UpDownCounter(sum)) => out.double(4, "asDouble", metric.in_unit_signed(*sum)),
        Some(Point::Histogram(histogram)) => {
            let extremes = [(11, "min", histogram.min()), (12, "max", histogram.max())];
            totals(out, metric, histogram.count(), histogram.sum(), extremes);
            out.fixed64s(6, "bucketCounts", histogram.buckets());
            out.encoded(bounds);
        }
        Some(Point::Exponential(histogram)) => {
            let extremes = [(12, "min", histogram.min()), (13, "max", histogram.max())];
            totals(out, metric, histogram.count(), histogram.sum(), extremes);
            out.sint32(6, "scale", histogram.scale());
            out.fixed64(7, "zeroCount", histogram.zero_count());
            if !histogram.buckets().is_empty() {
                out.object(8, "positive", |out| {
                    out.sint32(1, "offset", histogram.offset());
                    out.uint64s(2, "bucketCounts", histogram.buckets());
                });
            }
        }
        None => {}
    }
    if let Some(of) = point.exemplar {
        out.list("exemplars", |out| out.item(exemplars, |out| exemplar(out, metric, of)));
    }
    if point.value.is_none() {
        out.int32(flags, "flags", DataPointFlags::NoRecordedValueMask.into());
    }
}

/// Writes the fields that both kinds of histograms have: count, sum, minimum and maximum.
fn totals(out: &mut Writer, metric: &Metric, count: u64, sum: u128, extremes: [(u32, &str, Option<u64>); 2]) {
    out.fixed64(4, "count", count);
    out.double(5, "sum", metric.in_unit(sum));
    for (field, key, value) in extremes {
        if let Some(value) = value {
            out.double(field, key, metric.in_unit(value.into()));
        }
    }
}

fn exemplar(out: &mut Writer, metric: &Metric, exemplar: &Exemplar) {
    out.fixed64(2, "timeUnixNano", exemplar.time_unix_nano());
    match i64::try_from(exemplar.value()) {
        Ok(value) if metric.divisor == 1 => out.sfixed64(6, "asInt", value),
        _ => out.double(3, "asDouble", metric.in_unit(exemplar.value().into())),
    }
    out.id(4, "spanId", exemplar.span_id());
    out.id(5, "traceId", exemplar.trace_id());
}
