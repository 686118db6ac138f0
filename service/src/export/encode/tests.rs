//! The encoders, with decoders that share no code with this project, and with golden files.

mod otlp;
mod prompb;
mod remote_write;

use std::borrow::Cow;
use std::path::Path;

use proptest::prelude::*;
use tributary_proto::attributes;
use tributary_proto::batch::Point;
use tributary_proto::exemplar::Exemplar;
use tributary_proto::exponential::ExponentialHistogram;
use tributary_proto::histogram::Histogram;
use tributary_proto::metric::{Kind, Metric};

use super::*;
use crate::aggregate::DataPoint;
use crate::export::points::Temporality;

const ENCODINGS: [Encoding; 3] = [Encoding::OtlpProtobuf, Encoding::OtlpJson, Encoding::RemoteWrite];

/// 2023-11-14T22:13:20Z and ten seconds later.
const START: u64 = 1_700_000_000_000_000_000;
const NOW: u64 = START + 10_000_000_000;

/// Metrics and points with owned data.
#[derive(Clone, Debug)]
struct OwnedMetrics {
    resource: Resource,
    metrics: Vec<(Metric, Temporality, Vec<OwnedPoint>)>,
}

#[derive(Clone, Debug)]
struct OwnedPoint {
    attributes: Vec<u8>,
    /// `None` if the series has ended.
    value: Option<Point>,
    exemplar: Option<Exemplar>,
}

impl OwnedMetrics {
    fn points(&self) -> Vec<MetricPoints<'_>> {
        self.metrics
            .iter()
            .map(|(metric, temporality, points)| MetricPoints {
                metric,
                temporality: *temporality,
                points: points.iter().map(OwnedPoint::point).collect(),
            })
            .collect()
    }

    fn encode(&self, encoding: Encoding) -> Encoded {
        whole(encoding, &self.resource, &self.points())
    }
}

/// Encodes a body of one part.
fn whole(encoding: Encoding, resource: &Resource, metrics: &[MetricPoints<'_>]) -> Encoded {
    let [before, _, after] = encoding.frame();
    let part = encoding.part(resource, metrics, Some(NOW));
    Encoded { bytes: [before, &part.bytes, after].concat(), ..part }
}

impl OwnedPoint {
    fn point(&self) -> DataPoint<'_> {
        DataPoint {
            attributes: &self.attributes,
            start_unix_nano: START,
            time_unix_nano: NOW,
            value: self.value.as_ref().map(Cow::Borrowed),
            exemplar: self.exemplar.as_ref(),
        }
    }
}

fn metric(name: &str, unit: &str, divisor: u64, kind: Kind) -> Metric {
    Metric { name: name.into(), unit: unit.into(), description: format!("What {name} is."), divisor, kind }
}

fn histogram(values: &[u64], bounds: &[u64]) -> Option<Point> {
    let mut histogram = Histogram::new(bounds.len());
    values.iter().for_each(|value| histogram.record(*value, bounds));
    Some(Point::Histogram(histogram))
}

fn exponential(values: &[u64], divisor: u64, max_size: usize) -> Option<Point> {
    let mut histogram = ExponentialHistogram::new(max_size);
    values.iter().for_each(|value| histogram.record(*value, divisor));
    Some(Point::Exponential(histogram.into()))
}

/// Returns one metric of each kind, with an active series and one that has ended.
fn example() -> OwnedMetrics {
    let route = |route: &str| {
        attributes::encode(vec![attributes::text("http.route", route), attributes::integer("code", 200)])
    };
    let trace_id = *b"\x01\x23\x45\x67\x89\xab\xcd\xef\xfe\xdc\xba\x98\x76\x54\x32\x10";
    let span_id = *b"\x00\x11\x22\x33\x44\x55\x66\x77";
    let exemplar = Exemplar::new(7_000_000, NOW - 1_000_000, trace_id, span_id);
    let series = |value: Option<Point>, exemplar: Option<Exemplar>| {
        vec![
            OwnedPoint { attributes: route("/a\"é"), value, exemplar },
            OwnedPoint { attributes: route("/b"), value: None, exemplar: None },
        ]
    };
    let bounds = [5_000_000, 10_000_000];
    let times = [1_000_000, 7_000_000, 7_000_000, 90_000_000];
    let nanos = 1_000_000_000;
    let cumulative = |metric, points| (metric, Temporality::Cumulative, points);
    OwnedMetrics {
        resource: Resource::new(vec![
            attributes::text("service.name", "edge"),
            attributes::text("service.instance.id", "one"),
            attributes::text("cloud.region", "eu"),
        ]),
        metrics: vec![
            cumulative(
                metric("bytes.sent", "By", 1, Kind::Counter),
                series(Some(Point::Counter(u64::MAX)), exemplar),
            ),
            cumulative(
                metric("busy", "s", nanos, Kind::Counter),
                series(Some(Point::Counter(1_500_000_000)), None),
            ),
            cumulative(
                metric("energy", "J", 10, Kind::UpDownCounter),
                vec![OwnedPoint {
                    attributes: vec![],
                    value: Some(Point::UpDownCounter(-5)),
                    exemplar: None,
                }],
            ),
            cumulative(
                metric("http.server.request.duration", "s", nanos, Kind::Histogram { bounds: bounds.into() }),
                series(histogram(&times, &bounds), exemplar),
            ),
            cumulative(
                metric("http.client.request.duration", "s", nanos, Kind::Exponential { max_size: 8 }),
                series(exponential(&[0, 1_000_000, 7_000_000, 7_000_000, 90_000_000], nanos, 8), exemplar),
            ),
        ],
    }
}

/// Compares bytes with a golden file, in which the version is `0.0.0`.
fn assert_golden(golden: &str, bytes: &[u8]) {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(golden);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, bytes).unwrap();
    }
    assert!(
        std::fs::read(&golden).unwrap_or_default() == bytes,
        "{} differs: run UPDATE_GOLDEN=1 cargo test -p tributary-service, and check the difference",
        golden.display()
    );
}

fn any_value() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0u32..64).prop_map(|(value, shift)| value >> shift)
}

fn any_attributes() -> impl Strategy<Value = Vec<u8>> {
    let text = prop_oneof!["[a-z._]{1,12}", "\\PC{1,8}", "[\\x00-\\x1f\"\\\\]{1,8}"];
    let attribute = (text.clone(), prop_oneof![text.prop_map(Err), any::<i64>().prop_map(Ok)]).prop_map(
        |(key, value)| match value {
            Ok(value) => attributes::integer(&key, value),
            Err(value) => attributes::text(&key, &value),
        },
    );
    prop::collection::vec(attribute, 0..8).prop_map(attributes::encode)
}

fn any_exemplar() -> impl Strategy<Value = Option<Exemplar>> {
    let trace_id = prop_oneof![Just([0; 16]), any::<[u8; 16]>()];
    (any_value(), any::<u64>(), trace_id, any::<[u8; 8]>())
        .prop_map(|(value, time, trace_id, span_id)| Exemplar::new(value, time, trace_id, span_id))
}

fn any_metric() -> impl Strategy<Value = Metric> {
    let bounds = prop::collection::btree_set(any_value(), 0..20)
        .prop_map(|bounds| Kind::Histogram { bounds: bounds.into_iter().collect() });
    let kind = prop_oneof![
        Just(Kind::Counter),
        Just(Kind::UpDownCounter),
        bounds,
        (2usize..160).prop_map(|max_size| Kind::Exponential { max_size })
    ];
    let divisor = prop_oneof![Just(1), Just(1_000_000_000), 1..=u64::MAX];
    (
        "[a-z][a-z._]{0,30}",
        prop_oneof![Just("s"), Just("By"), Just("KiBy/mo"), Just("{a}"), Just("1")],
        divisor,
        kind,
    )
        .prop_map(|(name, unit, divisor, kind)| metric(&name, unit, divisor, kind))
}

fn any_series() -> impl Strategy<Value = (Metric, Temporality, Vec<OwnedPoint>)> {
    let point = (any_attributes(), prop::collection::vec(any_value(), 0..60), 0u8..8, any_exemplar());
    let temporality = prop_oneof![Just(Temporality::Cumulative), Just(Temporality::Delta)];
    let series = (any_metric(), temporality, prop::collection::vec(point, 0..4));
    series.prop_map(|(metric, temporality, points)| {
        let value = |values: &[u64], pick: u8| match &metric.kind {
            _ if pick == 0 => None,
            Kind::UpDownCounter => {
                Some(Point::UpDownCounter(values.first().map_or(0, |value| value.cast_signed())))
            }
            Kind::Counter => Some(Point::Counter(values.first().copied().unwrap_or(0))),
            Kind::Histogram { bounds } => histogram(values, bounds),
            Kind::Exponential { max_size } => exponential(values, metric.divisor, *max_size),
        };
        let points = points
            .into_iter()
            .map(|(attributes, values, pick, exemplar)| OwnedPoint {
                attributes,
                value: value(&values, pick),
                exemplar,
            })
            .collect();
        (metric, temporality, points)
    })
}

fn any_stock() -> impl Strategy<Value = OwnedMetrics> {
    let resource = any_attributes().prop_map(|bytes| {
        let own = [attributes::text("service.name", "edge"), attributes::text("service.instance.id", "one")];
        Resource::new(own.into_iter().chain(attributes::decode(&bytes).unwrap()).collect())
    });
    (resource, prop::collection::vec(any_series(), 0..5))
        .prop_map(|(resource, metrics)| OwnedMetrics { resource, metrics })
}

#[test]
fn each_encoding_has_its_path_headers_and_compression() {
    use Compression::{Gzip, None, Snappy};
    for (encoding, content_type, path, compressions) in [
        (Encoding::OtlpProtobuf, "application/x-protobuf", "/v1/metrics", [None, Gzip]),
        (Encoding::OtlpJson, "application/json", "/v1/metrics", [None, Gzip]),
        (Encoding::RemoteWrite, "application/x-protobuf", "/api/v1/write", [Snappy, Snappy]),
    ] {
        assert_eq!((encoding.content_type(), encoding.default_path()), (content_type, path));
        assert_eq!([None, Gzip].map(|configured| encoding.compression(configured)), compressions);
    }
    assert_eq!(ENCODINGS.map(Encoding::protocol_version), [Option::None, Option::None, Some("0.1.0")]);
    assert_eq!(
        [None, Gzip, Snappy].map(Compression::content_encoding),
        [Option::None, Some("gzip"), Some("snappy")]
    );
}

#[test]
fn an_empty_part_has_no_points() {
    for encoding in ENCODINGS {
        let encoded = encoding.part(&Resource::default(), &[], Some(NOW));
        assert_eq!((encoded.points, encoded.left_out), (0, 0), "{encoding:?}");
    }
}

#[test]
fn points_that_do_not_fit_their_metric_are_left_out_and_counted() {
    let mut stock = example();
    let points = stock.points().iter().map(|metric| metric.points.len() as u64).sum::<u64>();
    stock.metrics[0].2[0].value = histogram(&[], &[]);
    stock.metrics[3].2[0].value = histogram(&[], &[1]);
    stock.metrics[4].2[0].value = Some(Point::Counter(1));
    for encoding in ENCODINGS {
        let encoded = stock.encode(encoding);
        assert_eq!((encoded.points, encoded.left_out), (points - 3, 3), "{encoding:?}");
    }
}

proptest! {
    #[test]
    fn sizes_are_upper_bounds_and_not_much_too_large(stock in any_stock()) {
        for encoding in ENCODINGS {
            let size = SizeHint::new(encoding, &stock.resource);
            let points: Vec<_> = stock.points().into_iter().filter(|of| !of.points.is_empty()).collect();
            let of_points: usize =
                points.iter().flat_map(|of| of.points.iter().map(|point| size.point(of.metric, point))).sum();
            let bound = size.request + points.iter().map(|of| size.metric(of.metric)).sum::<usize>() + of_points;
            let encoded = stock.encode(encoding);
            prop_assert!(encoded.bytes.len() <= bound, "{:?}: {} bytes, bound {}", encoding, encoded.bytes.len(), bound);
            if encoded.left_out == 0 && encoded.points > 0 {
                let least = (bound - size.request) / 8;
                prop_assert!(encoded.bytes.len() >= least, "{:?}: {} bytes, bound {}", encoding, encoded.bytes.len(), bound);
            }
        }
    }

    #[test]
    fn parts_together_equal_one_part(stock in any_stock()) {
        for encoding in ENCODINGS {
            let [before, between, after] = encoding.frame();
            let points = stock.points();
            let parts: Vec<Encoded> = points.chunks(1).map(|of_one| encoding.part(&stock.resource, of_one, None)).collect();
            let counted = parts.iter().fold((0, 0), |sum, part| (sum.0 + part.points, sum.1 + part.left_out));
            let all = whole(encoding, &stock.resource, &points);
            prop_assert_eq!(counted, (all.points, all.left_out));
            let parts: Vec<&[u8]> = parts.iter().filter(|part| part.points > 0).map(|part| part.bytes.as_slice()).collect();
            let bytes = [before, &parts.join(between), after].concat();
            match encoding {
                Encoding::OtlpProtobuf => {
                    let metrics = |bytes: &[u8]| otlp::all_metrics(otlp::from_protobuf(bytes));
                    prop_assert_eq!(metrics(&bytes), metrics(&all.bytes));
                }
                Encoding::OtlpJson => {
                    let metrics = |bytes: &[u8]| otlp::all_metrics(otlp::from_json(bytes));
                    prop_assert_eq!(metrics(&bytes), metrics(&all.bytes));
                }
                Encoding::RemoteWrite => {
                    // Only the first part has `target_info`.
                    let series = |bytes: &[u8]| {
                        let lines = remote_write::series(bytes).into_iter();
                        lines.filter(|line| !line.contains("target_info")).collect::<Vec<_>>()
                    };
                    prop_assert_eq!(series(&bytes), series(&all.bytes));
                }
            }
        }
    }

    #[test]
    fn every_point_is_in_the_request_or_left_out(stock in any_stock()) {
        let points: u64 = stock.points().iter().map(|metric| metric.points.len() as u64).sum();
        for encoding in ENCODINGS {
            let encoded = stock.encode(encoding);
            prop_assert_eq!(encoded.points + encoded.left_out, points);
            if encoding != Encoding::RemoteWrite {
                prop_assert_eq!(encoded.left_out, 0);
            }
        }
    }
}
