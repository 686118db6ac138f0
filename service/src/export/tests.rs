//! Requests, read by a decoder that shares no code with this project, and held to a golden file.

use std::path::Path;
use std::rc::Rc;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::{metric::Data, number_data_point::Value};
use prost::Message;
use tributary_proto::histogram::Histogram;
use tributary_proto::otlp;

use super::{Export, Kind, Metric, Point, Row, SharedCounter, attributes, encode};

fn metric(name: &str, unit: &str, divisor: u64, kind: Kind) -> Metric {
    Metric { name: name.into(), unit: unit.into(), description: "What it is.".into(), divisor, kind }
}

fn row(route: &str, point: Point) -> Row {
    let attributes =
        attributes::encode(vec![attributes::text("http.route", route), attributes::integer("code", 200)]);
    Row { attributes: Rc::from(attributes), start_unix_nano: 1_000, point }
}

/// A counter of bytes, a counter of time, a histogram of time, and a shared counter.
fn example() -> Export {
    let bounds: Box<[u64]> = [5_000_000, 10_000_000].into();
    let mut histogram = Histogram::new(bounds.len());
    [1_000_000, 7_000_000, 7_000_000, 90_000_000].iter().for_each(|value| histogram.record(*value, &bounds));
    let bytes = metric("bytes", "By", 1, Kind::Counter);
    let time = metric("time", "s", 1_000_000_000, Kind::Counter);
    let duration = metric("http.server.request.duration", "s", 1_000_000_000, Kind::Histogram { bounds });
    let byte_rows = [row("a", Point::Counter(5)), row("b", Point::Counter(u64::MAX))];
    let time_rows = [row("a", Point::Counter(1_500_000_000))];
    let duration_rows = [row("a", Point::Histogram(histogram))];
    let rows = [(&bytes, &byte_rows[..]), (&time, &time_rows[..]), (&duration, &duration_rows[..])];
    let counters = [SharedCounter { key: "requests".into(), value: 7 }];
    let resource = otlp::Resource { attributes: vec![attributes::text("service.name", "edge")] };
    encode(&resource, &rows, &counters, 1_000, 2_000).unwrap()
}

#[test]
fn a_collector_reads_what_was_counted() {
    let export = example();
    assert_eq!(export.points, 5);
    let request = <ExportMetricsServiceRequest as Message>::decode(export.body.as_slice()).unwrap();
    let [resource] = request.resource_metrics.as_slice() else { panic!("one resource") };
    let [scope] = resource.scope_metrics.as_slice() else { panic!("one scope") };
    let [bytes, time, duration, counter] = scope.metrics.as_slice() else { panic!("four metrics") };

    let numbers = |data: &Option<Data>| {
        let Some(Data::Sum(sum)) = data else { panic!("a sum") };
        assert!(sum.is_monotonic && sum.aggregation_temporality == 2);
        sum.data_points.iter().map(|point| point.value.unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(
        numbers(&bytes.data),
        [Value::AsInt(5), Value::AsInt(i64::MAX)],
        "clamped, never wrapped to a negative"
    );
    assert_eq!(numbers(&time.data), [Value::AsDouble(1.5)]);
    assert_eq!(numbers(&counter.data), [Value::AsInt(7)]);

    let Some(Data::Histogram(histogram)) = &duration.data else { panic!("a histogram") };
    let point = &histogram.data_points[0];
    assert_eq!((point.start_time_unix_nano, point.time_unix_nano), (1_000, 2_000));
    assert_eq!((point.count, point.sum, point.min, point.max), (4, Some(0.105), Some(0.001), Some(0.09)));
    assert_eq!((&point.bucket_counts[..], &point.explicit_bounds[..]), (&[1, 2, 1][..], &[0.005, 0.01][..]));
    let keys: Vec<&str> = point.attributes.iter().map(|attribute| attribute.key.as_str()).collect();
    assert_eq!(keys, ["code", "http.route"]);
}

#[test]
fn the_bytes_are_those_of_the_golden_file() {
    // Without the version, which changes with each release.
    let mut request =
        <otlp::ExportMetricsServiceRequest as Message>::decode(example().body.as_slice()).unwrap();
    request.resource_metrics[0].scope_metrics[0].scope.as_mut().unwrap().version = "0.0.0".into();
    let bytes = request.encode_to_vec();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/export.otlp.bin");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, &bytes).unwrap();
    }
    assert!(
        std::fs::read(&golden).unwrap() == bytes,
        "run UPDATE_GOLDEN=1 cargo test -p tributary-service and look at why"
    );
}

#[test]
fn nothing_is_no_request() {
    assert_eq!(encode(&otlp::Resource::default(), &[], &[], 0, 0), None);
}
