//! OTLP requests, in protobuf and in JSON, which differ only in how a field is written: one walk over the
//! points serves both.
//!
//! `schema/otlp.proto` has the fields: each has its number for protobuf and its key for JSON here. The
//! attributes of a point are copied unchanged, so nothing is allocated for a point in protobuf.

mod writer;

use tributary_proto::exponential::ExponentialHistogram;
use tributary_proto::histogram::Histogram;
use tributary_proto::metric::Metric;
use tributary_proto::otlp::{AggregationTemporality, DataPointFlags};

pub(super) use self::writer::Notation;
use self::writer::Writer;
use super::{Encoded, as_u64};
use crate::export::points::{DataPoint, MetricPoints, PointKind, PointValue, Temporality};
use crate::export::resource::Resource;

const SCOPE_NAME: &str = "tributary";

/// Encodes an item of `resourceMetrics` in an ExportMetricsServiceRequest.
pub(super) fn part(notation: Notation, resource: &Resource, metrics: &[MetricPoints<'_>]) -> Encoded {
    let (mut out, mut counted) = (Writer::new(notation), Encoded::default());
    out.item(1, |out| {
        out.object(1, "resource", |out| out.attributes(1, resource.canonical()));
        out.list("scopeMetrics", |out| out.item(2, |out| scope_metrics(out, metrics, &mut counted)));
    });
    Encoded { bytes: out.finish(), ..counted }
}

fn scope_metrics(out: &mut Writer, metrics: &[MetricPoints<'_>], counted: &mut Encoded) {
    out.object(1, "scope", |out| {
        out.text(1, "name", SCOPE_NAME);
        out.text(2, "version", env!("CARGO_PKG_VERSION"));
    });
    out.list("metrics", |out| {
        for points in metrics {
            let kind = points.kind();
            let fit = as_u64(points.points.iter().filter(|point| point.value.fits(kind)).count());
            counted.points = counted.points.saturating_add(fit);
            counted.left_out =
                counted.left_out.saturating_add(as_u64(points.points.len()).saturating_sub(fit));
            if fit > 0 {
                out.item(2, |out| metric(out, points, kind));
            }
        }
    });
}

fn metric(out: &mut Writer, points: &MetricPoints<'_>, kind: PointKind<'_>) {
    let metric = points.metric;
    out.text(1, "name", &metric.name);
    out.text(2, "description", &metric.description);
    out.text(3, "unit", &metric.unit);
    let (field, key) = match kind {
        PointKind::Sum | PointKind::UpDown => (7, "sum"),
        PointKind::Histogram { .. } => (9, "histogram"),
        PointKind::Exponential => (10, "exponentialHistogram"),
    };
    // The bounds are the same in each point, so they are encoded once.
    let bounds = out.separately(|out| {
        if let PointKind::Histogram { bounds } = kind {
            let bounds: Vec<f64> = bounds.iter().map(|bound| metric.in_unit((*bound).into())).collect();
            out.doubles(7, "explicitBounds", &bounds);
        }
    });
    out.object(field, key, |out| {
        out.list("dataPoints", |out| {
            for point in points.points.iter().filter(|point| point.value.fits(kind)) {
                out.item(1, |out| match kind {
                    PointKind::Sum | PointKind::UpDown => number(out, metric, point),
                    PointKind::Histogram { .. } => histogram(out, metric, &bounds, point),
                    PointKind::Exponential => exponential(out, metric, point),
                });
            }
        });
        let temporality = match points.temporality {
            Temporality::Cumulative => AggregationTemporality::Cumulative,
            Temporality::Delta => AggregationTemporality::Delta,
        };
        out.int32(2, "aggregationTemporality", temporality.into());
        if kind == PointKind::Sum {
            out.boolean(3, "isMonotonic", true);
        }
    });
}

fn number(out: &mut Writer, metric: &Metric, point: &DataPoint<'_>) {
    out.attributes(7, point.attributes);
    times(out, 2, 3, point);
    let whole = metric.divisor == 1;
    match &point.value {
        PointValue::Counter(count) if whole => {
            out.sfixed64(6, "asInt", i64::try_from(*count).unwrap_or(i64::MAX))
        }
        PointValue::Counter(count) => out.double(4, "asDouble", metric.in_unit((*count).into())),
        PointValue::UpDown(value) if whole => out.sfixed64(6, "asInt", *value),
        PointValue::UpDown(value) => out.double(4, "asDouble", metric.in_unit_signed(*value)),
        PointValue::Histogram(_) | PointValue::Exponential(_) | PointValue::NoRecordedValue => {}
    }
    exemplar(out, 5, metric, point);
    flags(out, 8, point);
}

/// `bounds` is the encoded field.
fn histogram(out: &mut Writer, metric: &Metric, bounds: &[u8], point: &DataPoint<'_>) {
    out.attributes(9, point.attributes);
    times(out, 2, 3, point);
    if let PointValue::Histogram(histogram) = &point.value {
        let histogram: &Histogram = histogram;
        out.fixed64(4, "count", histogram.count());
        out.double(5, "sum", metric.in_unit(histogram.sum()));
        extremes(out, (11, histogram.min()), (12, histogram.max()), metric);
        out.fixed64s(6, "bucketCounts", histogram.buckets());
        out.encoded(bounds);
    }
    exemplar(out, 8, metric, point);
    flags(out, 10, point);
}

fn exponential(out: &mut Writer, metric: &Metric, point: &DataPoint<'_>) {
    out.attributes(1, point.attributes);
    times(out, 2, 3, point);
    if let PointValue::Exponential(histogram) = &point.value {
        let histogram: &ExponentialHistogram = histogram;
        out.fixed64(4, "count", histogram.count());
        out.double(5, "sum", metric.in_unit(histogram.sum()));
        extremes(out, (12, histogram.min()), (13, histogram.max()), metric);
        out.sint32(6, "scale", histogram.scale());
        out.fixed64(7, "zeroCount", histogram.zero_count());
        if !histogram.buckets().is_empty() {
            out.object(8, "positive", |out| {
                out.sint32(1, "offset", histogram.offset());
                out.uint64s(2, "bucketCounts", histogram.buckets());
            });
        }
    }
    exemplar(out, 11, metric, point);
    flags(out, 10, point);
}

fn times(out: &mut Writer, start_field: u32, time_field: u32, point: &DataPoint<'_>) {
    out.fixed64(start_field, "startTimeUnixNano", point.start_unix_nano);
    out.fixed64(time_field, "timeUnixNano", point.time_unix_nano);
}

fn extremes(out: &mut Writer, min: (u32, Option<u64>), max: (u32, Option<u64>), metric: &Metric) {
    for (key, (field, value)) in [("min", min), ("max", max)] {
        if let Some(value) = value {
            out.double(field, key, metric.in_unit(value.into()));
        }
    }
}

fn exemplar(out: &mut Writer, field: u32, metric: &Metric, point: &DataPoint<'_>) {
    let Some(exemplar) = point.exemplar else { return };
    out.list("exemplars", |out| {
        out.item(field, |out| {
            out.fixed64(2, "timeUnixNano", exemplar.time_unix_nano());
            match i64::try_from(exemplar.value()) {
                Ok(value) if metric.divisor == 1 => out.sfixed64(6, "asInt", value),
                _ => out.double(3, "asDouble", metric.in_unit(exemplar.value().into())),
            }
            out.id(4, "spanId", exemplar.span_id());
            out.id(5, "traceId", exemplar.trace_id());
        });
    });
}

fn flags(out: &mut Writer, field: u32, point: &DataPoint<'_>) {
    if point.value == PointValue::NoRecordedValue {
        out.int32(field, "flags", DataPointFlags::NoRecordedValueMask.into());
    }
}
