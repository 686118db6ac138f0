//! The metrics of the service about itself.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};

use super::*;

fn with_self_metrics(more: &str) -> Vm {
    fake::reset();
    let json = format!(r#"{{"interval": "1s", "destinations": [{{"cluster": "collector"{more}}}]}}"#);
    start(&json)
}

/// Each series of the last request as `name{key=value}`, and its value, which is the count for a histogram.
fn last_values() -> BTreeMap<String, i64> {
    let request = decode(&last_body());
    let mut values = BTreeMap::new();
    for metric in metrics(&request) {
        let points: Vec<(&Vec<KeyValue>, i64)> = match metric.data.as_ref().unwrap() {
            Data::Sum(sum) => {
                sum.data_points.iter().map(|point| (&point.attributes, integer(point))).collect()
            }
            Data::Histogram(all) => all
                .data_points
                .iter()
                .map(|point| (&point.attributes, i64::try_from(point.count).unwrap()))
                .collect(),
            other => panic!("a sum or a histogram, not {other:?}"),
        };
        for (attributes, value) in points {
            let text = |attribute: &KeyValue| match attribute.value.as_ref().unwrap().value.as_ref().unwrap()
            {
                any_value::Value::StringValue(text) => format!("{}={text}", attribute.key),
                other => panic!("text, not {other:?}"),
            };
            let attributes: Vec<String> = attributes.iter().map(text).collect();
            let name = format!("{}{{{}}}", metric.name, attributes.join(","));
            assert_eq!(values.insert(name.clone(), value), None, "{name} is duplicated");
        }
    }
    values
}

const COMPONENT: &str = "otel.component.name=collector,otel.component.type=otlp_http_metric_exporter";

fn exported(error: &str) -> String {
    format!("otel.sdk.exporter.metric_data_point.exported{{{}}}", with_error(error))
}

fn durations(error: &str) -> String {
    format!("otel.sdk.exporter.operation.duration{{{}}}", with_error(error))
}

fn with_error(error: &str) -> String {
    if error.is_empty() { COMPONENT.to_owned() } else { format!("error.type={error},{COMPONENT}") }
}

#[test]
fn batches_and_exports_are_in_the_next_cycle() {
    let service = with_self_metrics("");
    enqueue(&batch(1, &[("a", 2)]));
    enqueue(&batch(1, &[("a", 2)]));
    enqueue(&batch(4, &[("b", 3)]));
    enqueue(b"garbage");
    tick_at(&service, 1);
    let values = last_values();
    for (name, expected) in [
        ("tributary.batches{tributary.outcome=received}", 2),
        ("tributary.batches{tributary.outcome=invalid}", 1),
        ("tributary.batches{tributary.outcome=duplicate}", 1),
        ("tributary.batches{tributary.outcome=missing}", 2),
        ("tributary.observations.aggregated{}", 5),
        ("tributary.points.dropped{tributary.reason=table}", 0),
        ("tributary.series{}", 2),
        ("requests{route=a}", 2),
    ] {
        assert_eq!(values.get(name), Some(&expected), "{name} in {values:?}");
    }
    assert!(!values.contains_key(&exported("")), "nothing was exported yet");
    let points = i64::try_from(values.len()).unwrap();
    respond(&service, "200");
    tick_at(&service, 2);
    let values = last_values();
    assert_eq!((values[&exported("")], values[&durations("")]), (points, 1));
    assert_eq!(values[&format!("otel.sdk.exporter.metric_data_point.inflight{{{COMPONENT}}}")], 0);
}

/// A service that trapped at each response would export only the start of each cycle.
#[test]
fn metrics_of_workers_precede_those_of_the_service() {
    let service = with_self_metrics("");
    tick_at(&service, 1);
    respond(&service, "200");
    enqueue(&batch(1, &[("a", 2)]));
    tick_at(&service, 2);
    let request = decode(&last_body());
    let names: Vec<&str> = metrics(&request).map(|metric| metric.name.as_str()).collect();
    assert_eq!(
        names.get(..3),
        Some(["requests", "tributary.counter", "tributary.batches"].as_slice()),
        "{names:?}"
    );
}

#[test]
fn failures_are_counted_by_error_type() {
    let service = with_self_metrics(r#", "retry": {"initial_interval": "10ms", "max_interval": "10ms"}"#);
    tick_at(&service, 1);
    respond(&service, "503");
    tick_at(&service, 2);
    respond(&service, "400");
    let dropped = stat("points_dropped");
    tick_at(&service, 3);
    let partial = ExportMetricsPartialSuccess { rejected_data_points: 3, error_message: String::new() };
    let body = ExportMetricsServiceResponse { partial_success: Some(partial) }.encode_to_vec();
    respond_with(&service, "200", body);
    tick_at(&service, 4);
    tick_at(&service, 100);
    let values = last_values();
    assert_eq!(values.get(&exported("503")), None, "a retried export has not finished");
    assert_eq!(values[&exported("400")], i64::try_from(dropped).unwrap());
    assert_eq!(
        values["tributary.points.dropped{tributary.reason=collector}"],
        i64::try_from(dropped).unwrap()
    );
    assert_eq!(values[&exported("rejected")], 3);
    for error in ["503", "400", "rejected"] {
        assert_eq!(values[&durations(error)], 1, "{error}");
    }
}

#[test]
fn a_collector_cannot_reject_more_than_it_was_sent() {
    let service = with_self_metrics("");
    tick_at(&service, 1);
    let sent = u64::try_from(last_values().len()).unwrap();
    let partial = ExportMetricsPartialSuccess { rejected_data_points: i64::MAX, error_message: "all".into() };
    let body = ExportMetricsServiceResponse { partial_success: Some(partial) }.encode_to_vec();
    respond_with(&service, "200", body);
    assert_eq!((stat("points_rejected"), stat("points_exported")), (sent, 0));
}

#[test]
fn a_warning_of_a_collector_is_logged_as_no_loss() {
    let service = with_self_metrics("");
    tick_at(&service, 1);
    let partial = ExportMetricsPartialSuccess { rejected_data_points: 0, error_message: "old API".into() };
    let body = ExportMetricsServiceResponse { partial_success: Some(partial) }.encode_to_vec();
    respond_with(&service, "200", body);
    let log = fake::with(|host| host.logged(LogLevel::Warn).join("\n"));
    let expected = "the collector accepted all points with a warning: \"old API\"; nothing is lost";
    assert!(log.contains(expected), "{log}");
}

#[test]
fn a_missing_response_is_counted() {
    let service = with_self_metrics("");
    (1..50).for_each(|seconds| tick_at(&service, seconds));
    assert_eq!(posts(), 2);
    respond(&service, "200");
    tick_at(&service, 50);
    assert_eq!(last_values()[&durations("no_response")], 1);
}

#[test]
fn a_known_address_is_an_attribute() {
    let service = with_self_metrics(r#", "authority": "otel.example.com:4318""#);
    tick_at(&service, 1);
    let inflight = format!(
        "otel.sdk.exporter.metric_data_point.inflight{{{COMPONENT},server.address=otel.example.com}}"
    );
    assert!(last_values().contains_key(&inflight), "{:?}", last_values());
}

#[test]
fn the_metrics_of_an_export_do_not_cause_another_one() {
    let service = with_self_metrics(r#", "temporality": "delta""#);
    enqueue(&batch(1, &[("a", 1)]));
    for second in 1..10 {
        tick_at(&service, second);
        respond(&service, "200");
        (0..50).for_each(|_| service.tick());
        assert_eq!(posts() as u64, second, "one request a cycle");
    }
}

#[test]
fn self_metrics_can_be_turned_off() {
    fake::reset();
    let service =
        start(r#"{"interval": "1s", "self_metrics": false, "destinations": [{"cluster": "collector"}]}"#);
    enqueue(&batch(1, &[("a", 1)]));
    tick_at(&service, 1);
    assert_eq!(
        last_values().keys().collect::<Vec<_>>(),
        ["requests{route=a}", "tributary.counter{key=requests}"]
    );
}
