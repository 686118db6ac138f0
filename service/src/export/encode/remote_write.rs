//! Prometheus remote write 1.0: each bucket of a histogram is a series, and an exponential histogram is a
//! native histogram.
//!
//! The series of a point differ in few labels, so labels are encoded once and copied, and nothing is
//! allocated for a series. Names and labels follow the OpenTelemetry specification,
//! `compatibility/prometheus_and_openmetrics.md`.

mod labels;
mod native;

use prost::encoding::{int64, message};
use tributary_proto::attributes;
use tributary_proto::batch::Point;
use tributary_proto::exemplar::Exemplar;
use tributary_proto::histogram::Histogram;
use tributary_proto::metric::{Kind, Metric};
use tributary_proto::remote_write::{self as wire, STALE_BITS, metric_metadata::MetricType};
use tributary_proto::{decimal, hex, prometheus};

use self::labels::{Labels, Target, encoded_label};
use super::{Encoded, protobuf};
use crate::aggregate::DataPoint;
use crate::export::points::{MetricPoints, Temporality};
use crate::export::resource::Resource;

// Field numbers in `schema/remote_write.proto`.
const REQUEST_TIMESERIES: u32 = 1;
const REQUEST_METADATA: u32 = 3;
const SERIES_SAMPLES: u32 = 2;
const SERIES_EXEMPLARS: u32 = 3;
const SERIES_HISTOGRAMS: u32 = 4;

/// The number of bytes of a sample's value with its key.
const VALUE_BYTES: usize = 9;

/// The name of the series whose labels are the resource attributes that are not in `job` and `instance`.
const TARGET_INFO: &str = "target_info";

/// Encodes a part of a WriteRequest. The first part, for which a time is given, includes `target_info`.
pub(super) fn part(
    resource: &Resource,
    metrics: &[MetricPoints<'_>],
    first_unix_nano: Option<u64>,
) -> Encoded {
    let target = Target::new(resource);
    let mut request = Request::default();
    let mut counted = Encoded::default();
    for points in metrics {
        let is_cumulative = points.temporality == Temporality::Cumulative;
        let before = counted.points;
        let family = Family::new(points.metric);
        for point in &points.points {
            if is_cumulative && point.fits(&points.metric.kind) && request.point(&family, &target, point) {
                counted.points = counted.points.saturating_add(1);
            } else {
                counted.left_out = counted.left_out.saturating_add(1);
            }
        }
        if counted.points > before {
            request.metadata(&family);
        }
    }
    if let (Some(info), Some(time), true) = (&target.info, first_unix_nano, counted.points > 0) {
        request.set_time(time);
        let name = &encoded_label("__name__", TARGET_INFO);
        request.sample(&Series { labels: info, name, le: &[] }, 1.0, &[]);
    }
    Encoded { bytes: request.out, ..counted }
}

/// The labels and the metric that the series of one metric have in common.
#[derive(Debug)]
struct Family<'a> {
    metric: &'a Metric,
    name: String,
    /// The label `__name__` without a suffix, encoded.
    label: Vec<u8>,
    /// The label `__name__` with the suffix `_bucket`, encoded. The next two fields have the suffixes
    /// `_sum` and `_count`.
    bucket_label: Vec<u8>,
    sum_label: Vec<u8>,
    count_label: Vec<u8>,
    /// The label `le` of each bucket, encoded.
    les: Vec<Vec<u8>>,
}

/// The encoded labels of one series: the labels of its point, and the labels in which the series of the
/// point differ.
#[derive(Clone, Copy, Debug)]
struct Series<'a> {
    labels: &'a Labels,
    name: &'a [u8],
    le: &'a [u8],
}

#[derive(Debug, Default)]
struct Request {
    out: Vec<u8>,
    /// The encoded time of the current samples.
    time: Vec<u8>,
    /// The bytes that follow the labels of the current series.
    rest: Vec<u8>,
}

impl<'a> Family<'a> {
    fn new(metric: &'a Metric) -> Self {
        let name = prometheus::metric_name(&metric.name, &metric.unit, metric.kind == Kind::Counter);
        let label = |suffix: &str| encoded_label("__name__", &format!("{name}{suffix}"));
        let bounds = if let Kind::Histogram { bounds } = &metric.kind { &**bounds } else { &[] };
        let les = bounds.iter().map(|bound| decimal::text(metric.in_unit((*bound).into())));
        let les = les.chain(["+Inf".to_owned()]).map(|le| encoded_label("le", &le)).collect();
        Self {
            metric,
            label: label(""),
            bucket_label: label("_bucket"),
            sum_label: label("_sum"),
            count_label: label("_count"),
            les,
            name,
        }
    }
}

impl Request {
    /// Writes the series of a point. Returns false if remote write cannot represent the point.
    fn point(&mut self, family: &Family<'_>, target: &Target, point: &DataPoint<'_>) -> bool {
        let metric = family.metric;
        let labels = &Labels::new(attributes::iter(point.attributes), target);
        let series = Series { labels, name: &family.label, le: &[] };
        self.set_time(point.time_unix_nano);
        let time = millis(point.time_unix_nano);
        match point.value.as_deref() {
            Some(Point::Counter(count)) => {
                let exemplar = encoded_exemplar(metric, point.exemplar);
                self.sample(&series, metric.in_unit((*count).into()), &exemplar);
            }
            Some(Point::UpDownCounter(value)) => self.sample(&series, metric.in_unit_signed(*value), &[]),
            Some(Point::Histogram(histogram)) => self.classic(family, labels, Some(histogram), point),
            Some(Point::Exponential(histogram)) => {
                let Some(native) = native::histogram(histogram, metric, time) else { return false };
                self.native(&series, &native, &encoded_exemplar(metric, point.exemplar));
            }
            None => match metric.kind {
                Kind::Counter | Kind::UpDownCounter => self.sample(&series, stale(), &[]),
                Kind::Histogram { .. } => self.classic(family, labels, None, point),
                Kind::Exponential { .. } => self.native(&series, &native::stale(time), &[]),
            },
        }
        true
    }

    /// Writes a histogram with explicit bounds. If there is no histogram, writes staleness markers for its
    /// series.
    fn classic(
        &mut self,
        family: &Family<'_>,
        labels: &Labels,
        histogram: Option<&Histogram>,
        point: &DataPoint<'_>,
    ) {
        let Kind::Histogram { bounds } = &family.metric.kind else { return };
        // The exemplar belongs to the bucket that counted its value.
        let exemplar_at =
            point.exemplar.map(|exemplar| bounds.partition_point(|bound| *bound < exemplar.value()));
        let exemplar = encoded_exemplar(family.metric, point.exemplar);
        let mut below: u64 = 0;
        for (bucket, le) in family.les.iter().enumerate() {
            let count = histogram.and_then(|histogram| histogram.buckets().get(bucket)).copied();
            below = below.saturating_add(count.unwrap_or(0));
            let value = if histogram.is_some() { double(below) } else { stale() };
            let exemplar = if exemplar_at == Some(bucket) { exemplar.as_slice() } else { &[] };
            self.sample(&Series { labels, name: &family.bucket_label, le }, value, exemplar);
        }
        let sum = histogram.map_or_else(stale, |histogram| family.metric.in_unit(histogram.sum()));
        self.sample(&Series { labels, name: &family.sum_label, le: &[] }, sum, &[]);
        let count = if histogram.is_some() { double(below) } else { stale() };
        self.sample(&Series { labels, name: &family.count_label, le: &[] }, count, &[]);
    }

    /// Sets the time of the following samples.
    fn set_time(&mut self, unix_nano: u64) {
        self.time.clear();
        int64::encode(2, &millis(unix_nano), &mut self.time);
    }

    fn sample(&mut self, series: &Series<'_>, value: f64, exemplar: &[u8]) {
        self.rest.clear();
        protobuf::length(&mut self.rest, SERIES_SAMPLES, self.time.len().saturating_add(VALUE_BYTES));
        protobuf::fixed64(&mut self.rest, 1, value.to_le_bytes());
        self.rest.extend_from_slice(&self.time);
        self.series(series, exemplar);
    }

    fn native(&mut self, series: &Series<'_>, histogram: &wire::Histogram, exemplar: &[u8]) {
        self.rest.clear();
        message::encode(SERIES_HISTOGRAMS, histogram, &mut self.rest);
        self.series(series, exemplar);
    }

    /// Writes a series: its labels in order, then `rest`, then an encoded exemplar.
    fn series(&mut self, series: &Series<'_>, exemplar: &[u8]) {
        let [before_name, name, before_le, le, after] = series.labels.with(series.name, series.le);
        let parts = [before_name, name, before_le, le, after, &self.rest, exemplar];
        protobuf::length(&mut self.out, REQUEST_TIMESERIES, parts.iter().map(|part| part.len()).sum());
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            self.out.extend_from_slice(part);
        }
    }

    fn metadata(&mut self, family: &Family<'_>) {
        let r#type = match family.metric.kind {
            Kind::Counter => MetricType::Counter,
            Kind::UpDownCounter => MetricType::Gauge,
            Kind::Histogram { .. } | Kind::Exponential { .. } => MetricType::Histogram,
        };
        let metadata = wire::MetricMetadata {
            r#type: r#type.into(),
            metric_family_name: family.name.clone(),
            help: family.metric.description.clone(),
            unit: prometheus::unit(&family.metric.unit),
        };
        message::encode(REQUEST_METADATA, &metadata, &mut self.out);
    }
}

/// Encodes an exemplar as a field of a series; returns no bytes if there is no exemplar.
fn encoded_exemplar(metric: &Metric, exemplar: Option<&Exemplar>) -> Vec<u8> {
    let Some(exemplar) = exemplar else { return Vec::new() };
    let id = |name: &str, id: &[u8]| wire::Label {
        name: name.to_owned(),
        value: id.iter().flat_map(|byte| hex::of(*byte)).map(char::from).collect(),
    };
    let message = wire::Exemplar {
        labels: vec![id("span_id", exemplar.span_id()), id("trace_id", exemplar.trace_id())],
        value: metric.in_unit(exemplar.value().into()),
        timestamp: millis(exemplar.time_unix_nano()),
    };
    let mut out = Vec::new();
    message::encode(SERIES_EXEMPLARS, &message, &mut out);
    out
}

fn millis(unix_nano: u64) -> i64 {
    i64::try_from(unix_nano / 1_000_000).unwrap_or(i64::MAX)
}

/// Returns the staleness marker: the value of a series that has ended.
fn stale() -> f64 {
    f64::from_bits(STALE_BITS)
}

#[expect(clippy::cast_precision_loss, reason = "samples are doubles, which have 53 bits")]
fn double(count: u64) -> f64 {
    count as f64
}
