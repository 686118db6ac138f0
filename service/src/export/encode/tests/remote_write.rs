//! Remote write, with types that are independent of the schema.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use prost::Message;

use super::prompb::{self, Label, TimeSeries, WriteRequest};
use super::*;

const STALE: u64 = 0x7ff0_0000_0000_0002;

fn read(encoded: &Encoded) -> WriteRequest {
    WriteRequest::decode(encoded.bytes.as_slice()).unwrap()
}

/// Returns a line for each series.
pub(super) fn series(bytes: &[u8]) -> Vec<String> {
    let request = WriteRequest::decode(bytes).unwrap();
    text(&WriteRequest { metadata: vec![], ..request }).lines().map(str::to_owned).collect()
}

fn braced(labels: &[Label]) -> String {
    let labels: Vec<String> =
        labels.iter().map(|label| format!("{}={:?}", label.name, label.value)).collect();
    format!("{{{}}}", labels.join(", "))
}

fn shown(value: f64) -> String {
    if value.to_bits() == STALE { "stale".to_owned() } else { value.to_string() }
}

/// Returns a readable text with a line for each series.
fn text(request: &WriteRequest) -> String {
    let mut text = String::new();
    for series in &request.timeseries {
        let labels = braced(&series.labels);
        for sample in &series.samples {
            writeln!(text, "{labels} {} @{}", shown(sample.value), sample.timestamp).unwrap();
        }
        for histogram in &series.histograms {
            let prompb::NativeHistogram { schema, zero_threshold, timestamp, .. } = histogram;
            let count = histogram.count_int.unwrap();
            let count = if count == STALE { "stale".to_owned() } else { count.to_string() };
            let (sum, zeros) = (shown(histogram.sum), histogram.zero_count_int.unwrap_or(0));
            let spans: Vec<_> =
                histogram.positive_spans.iter().map(|span| (span.offset, span.length)).collect();
            let deltas = &histogram.positive_deltas;
            writeln!(
                text,
                "{labels} count {count} sum {sum} schema {schema} zeros {zeros} within {zero_threshold:e} spans {spans:?} deltas {deltas:?} @{timestamp}"
            )
            .unwrap();
        }
        for exemplar in &series.exemplars {
            writeln!(
                text,
                "  exemplar {} {} @{}",
                braced(&exemplar.labels),
                exemplar.value,
                exemplar.timestamp
            )
            .unwrap();
        }
    }
    for metadata in &request.metadata {
        let prompb::MetricMetadata { kind, metric_family_name, help, unit } = metadata;
        writeln!(text, "# {metric_family_name} is of type {kind} in {unit:?}: {help}").unwrap();
    }
    text
}

fn label<'a>(series: &'a TimeSeries, name: &str) -> Option<&'a str> {
    series.labels.iter().find(|label| label.name == name).map(|label| label.value.as_str())
}

#[test]
fn the_series_equal_the_golden_files() {
    let encoded = example().encode(Encoding::RemoteWrite);
    assert_golden("points.remote_write.bin", &encoded.bytes);
    assert_golden("points.remote_write.txt", text(&read(&encoded)).as_bytes());
}

#[test]
fn a_histogram_is_cumulative_buckets() {
    let request = read(&example().encode(Encoding::RemoteWrite));
    let of = |name: &str, route: &str| {
        let series = request.timeseries.iter();
        let series = series.filter(|series| label(series, "__name__") == Some(name));
        let series = series.filter(|series| label(series, "http_route") == Some(route));
        series.map(|series| (label(series, "le").unwrap_or(""), series.samples[0].value)).collect::<Vec<_>>()
    };
    let (name, route) = ("http_server_request_duration_seconds", "/a\"é");
    assert_eq!(of(&format!("{name}_bucket"), route), [("0.005", 1.0), ("0.01", 3.0), ("+Inf", 4.0)]);
    assert_eq!(of(&format!("{name}_count"), route), [("", 4.0)]);
    assert_eq!(of(&format!("{name}_sum"), route), [("", 0.105)]);
    for suffix in ["bucket", "count", "sum"] {
        let ended = of(&format!("{name}_{suffix}"), "/b");
        assert!(!ended.is_empty() && ended.iter().all(|(_, value)| value.to_bits() == STALE), "{suffix}");
    }
}

#[test]
fn an_exemplar_is_only_in_its_bucket() {
    let request = read(&example().encode(Encoding::RemoteWrite));
    let at: Vec<_> = request
        .timeseries
        .iter()
        .filter(|series| !series.exemplars.is_empty())
        .map(|series| (label(series, "__name__").unwrap(), label(series, "le")))
        .collect();
    let expected = [
        ("bytes_sent_total", None),
        ("http_server_request_duration_seconds_bucket", Some("0.01")),
        ("http_client_request_duration_seconds", None),
    ];
    assert_eq!(at, expected);
}

#[test]
fn deltas_are_left_out_and_up_down_counters_are_gauges() {
    let mut stock = example();
    for (metric, temporality, _) in &mut stock.metrics {
        if metric.kind != Kind::UpDownCounter {
            *temporality = Temporality::Delta;
        }
    }
    let encoded = stock.encode(Encoding::RemoteWrite);
    assert_eq!((encoded.points, encoded.left_out), (1, 8));
    let [metadata] = &read(&encoded).metadata[..] else { panic!("one metric") };
    // MetricType.GAUGE
    assert_eq!(metadata.kind, 2);
    let names: Vec<_> = read(&encoded)
        .timeseries
        .iter()
        .map(|series| label(series, "__name__").unwrap().to_owned())
        .collect();
    assert_eq!(names, ["energy_joules", "target_info"]);
}

#[test]
fn a_histogram_that_is_too_coarse_for_native_schemas_is_left_out() {
    let mut stock = example();
    stock.metrics.truncate(1);
    stock.metrics[0].0.kind = Kind::Exponential { max_size: 2 };
    stock.metrics[0].2[0].value = exponential(&[1, u64::MAX], 1, 2);
    let encoded = stock.encode(Encoding::RemoteWrite);
    assert_eq!((encoded.points, encoded.left_out), (1, 1));
}

proptest! {
    #[test]
    fn every_series_is_valid_for_a_receiver(stock in any_stock()) {
        let request = read(&stock.encode(Encoding::RemoteWrite));
        for series in &request.timeseries {
            let names: Vec<&str> = series.labels.iter().map(|label| label.name.as_str()).collect();
            prop_assert!(names.windows(2).all(|pair| pair[0] < pair[1]), "sorted and unique: {:?}", names);
            prop_assert!(names.contains(&"__name__") && names.contains(&"job") && names.contains(&"instance"));
            for Label { name, value } in &series.labels {
                prop_assert!(!value.is_empty(), "{} is empty", name);
                let legal = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
                prop_assert!(legal && !name.starts_with(|first: char| first.is_ascii_digit()), "{}", name);
            }
            prop_assert_eq!(series.samples.len() + series.histograms.len(), 1);
        }
    }

    #[test]
    fn counts_equal_those_of_the_points(values in prop::collection::vec(any_value(), 0..90), bounds in prop::collection::btree_set(any_value(), 0..9)) {
        let bounds: Vec<u64> = bounds.into_iter().collect();
        let mut stock = example();
        stock.metrics.truncate(2);
        stock.metrics[0].0.kind = Kind::Histogram { bounds: bounds.clone().into() };
        stock.metrics[0].2 = vec![OwnedPoint { attributes: vec![], value: histogram(&values, &bounds), exemplar: None }];
        stock.metrics[1].0.kind = Kind::Exponential { max_size: 100 };
        stock.metrics[1].2 = vec![OwnedPoint { attributes: vec![], value: exponential(&values, 1, 100), exemplar: None }];
        let request = read(&stock.encode(Encoding::RemoteWrite));

        // The bounds are compared as numbers, because their text may or may not have an exponent.
        let number = |le: &str| le.parse::<f64>().unwrap().to_string();
        let buckets: BTreeMap<String, String> = request.timeseries.iter()
            .filter_map(|series| Some((number(label(series, "le")?), series.samples[0].value.to_string())))
            .collect();
        for bound in &bounds {
            let below = values.iter().filter(|value| *value <= bound).count();
            prop_assert_eq!(&buckets[&stock.metrics[0].0.in_unit((*bound).into()).to_string()], &below.to_string());
        }
        prop_assert_eq!(&buckets["inf"], &values.len().to_string());

        let native = &request.timeseries.iter().find(|series| !series.histograms.is_empty()).unwrap().histograms[0];
        let (mut count, mut sum) = (0, 0);
        for delta in &native.positive_deltas {
            count += delta;
            prop_assert!(count >= 0);
            sum += u64::try_from(count).unwrap();
        }
        prop_assert_eq!(sum + native.zero_count_int.unwrap(), native.count_int.unwrap());
        prop_assert_eq!(native.count_int, Some(values.len() as u64));
        prop_assert!((-4..=8).contains(&native.schema));
    }

    #[test]
    fn the_series_of_a_point_are_unique(stock in any_stock()) {
        for of_metric in stock.points() {
            for point in &of_metric.points {
                let one = MetricPoints { points: vec![point.clone()], ..of_metric.clone() };
                let request = read(&whole(Encoding::RemoteWrite, &stock.resource, &[one]));
                let all: BTreeSet<String> = request.timeseries.iter().map(|series| braced(&series.labels)).collect();
                // Bounds that are the same double are the only exception.
                let doubles: BTreeSet<String> = match &of_metric.metric.kind {
                    Kind::Histogram { bounds } => bounds.iter().map(|b| of_metric.metric.in_unit((*b).into()).to_string()).collect(),
                    _ => BTreeSet::new(),
                };
                if let Kind::Histogram { bounds } = &of_metric.metric.kind && doubles.len() < bounds.len() {
                    continue;
                }
                prop_assert_eq!(all.len(), request.timeseries.len());
            }
        }
    }
}
