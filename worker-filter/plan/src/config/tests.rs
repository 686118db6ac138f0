use tributary_proto::metric::Kind;

use super::*;
use crate::plan::{CounterConfig, DimensionValue, Measure, MeasureInput, When};
use crate::transform::Transform;

fn problems(json: &str) -> Vec<String> {
    let problems = WorkerConfig::parse(json.as_bytes()).map(|_| ()).unwrap_err();
    problems.iter().map(ToString::to_string).collect()
}

fn parsed(json: &str) -> WorkerConfig {
    WorkerConfig::parse(json.as_bytes()).unwrap_or_else(|problems| {
        panic!("{:?}", problems.iter().map(ToString::to_string).collect::<Vec<_>>())
    })
}

fn dimensions(config: &WorkerConfig) -> Vec<&str> {
    config.plan.main.dimensions.iter().map(|dimension| dimension.name.as_str()).collect()
}

fn metrics(config: &WorkerConfig) -> Vec<&str> {
    config.plan.main.measures.iter().map(|measure| measure.metric.name.as_str()).collect()
}

#[test]
fn an_empty_configuration_is_the_default() {
    let config = parsed("");
    assert_eq!(config, parsed("{}"));
    assert_eq!(config, parsed(r#"{"preset": "otel"}"#));
    assert_eq!(config.flush, FlushConfig { interval: Duration::from_secs(1), max_requests: None });
    let requests =
        CounterConfig { key: "requests".into(), when: When::Flush, condition: None, response_header: None };
    assert_eq!(config.plan.counters, [requests]);
    assert_eq!((config.series_max, config.service_vm_id.as_str()), (2_000, ""));
}

#[test]
fn every_key_is_read() {
    let json = r#"{"preset": "otel", "grpc_messages": true, "in_flight": true,
        "drop": ["http.server.request.body.size", "http.server.response.body.size", "url.scheme"],
        "dimensions": [
            {"name": "tenant", "request_header": "x-tenant", "default": "none", "allow": ["a", "b"], "max_values": 9, "max_bytes": 8},
            {"name": "cache", "response_header": "x-cache"},
            {"name": "zone", "value": "z1"},
            {"name": "http.route", "attribute": "request.url_path", "paths": {"templates": ["/users/{id}"]}},
            {"name": "big", "cel": "request.size > 1000", "type": "boolean"},
            {"name": "port", "attribute": "destination.port", "default": "0"}],
        "metrics": [
            {"name": "requests", "kind": "counter", "unit": "{request}", "description": "All."},
            {"name": "wait", "kind": "histogram", "value": "response.backend_latency", "unit": "ms", "bounds": [0.5, 1, 2.25]},
            {"name": "score", "kind": "counter", "value": "int(request.headers['x-score'])"}],
        "histogram": {"kind": "exponential", "max_size": 20}, "flush": {"interval": "250ms", "max_requests": 1},
        "report_interval": "1s",
        "counters": [{"key": "a", "when": "request", "condition": "response.code >= 500"}, {"key": "b"}],
        "limits": {"series": 10}, "service_vm_id": "elsewhere"}"#;
    let config = parsed(json);
    assert_eq!(config.flush, FlushConfig { interval: Duration::from_millis(250), max_requests: Some(1) });
    assert_eq!(config.report_interval, Duration::from_secs(1));
    assert_eq!((config.series_max, config.service_vm_id.as_str()), (10, "elsewhere"));
    assert_eq!(metrics(&config), ["http.server.request.duration", "requests", "wait", "score"]);
    assert_eq!(
        dimensions(&config),
        [
            "http.request.method",
            "http.response.status_code",
            "error.type",
            "tenant",
            "cache",
            "zone",
            "http.route",
            "big",
            "port"
        ]
    );
    let main = &config.plan.main;
    for measure in &main.measures {
        assert_ne!(
            matches!(measure.metric.kind, Kind::Counter),
            matches!(measure.metric.kind, Kind::Exponential { max_size: 20 })
        );
    }
    let [.., tenant, _, zone, route, big, port] = &main.dimensions[..] else { panic!("six") };
    assert_eq!(
        (tenant.default.as_deref(), tenant.max_values, tenant.max_bytes),
        (Some(&b"none"[..]), Some(9), 8)
    );
    assert_eq!(zone.value, DimensionValue::Constant("z1".into()));
    assert!(matches!(&route.transform, Transform::Path(paths) if paths.templates.len() == 1));
    assert_eq!((&big.transform, &port.transform), (&Transform::Boolean, &Transform::Integer));
    assert_eq!(port.default.as_deref(), Some(&0_i64.to_le_bytes()[..]));
    let [errors, all] = &config.plan.counters[..] else { panic!("two") };
    assert_eq!((errors.when, all.when, all.condition), (When::Request, When::Flush, None));
    let condition = &main.sources[errors.condition.unwrap()];
    assert_eq!(condition.written(), "response.code >= 500");
    assert!(config.plan.in_flight);
    let calls = config.plan.calls.unwrap();
    assert_eq!(main.sources[calls.method].item, "request.method");
    assert_eq!(calls.group.measures.len(), 3);
}

#[test]
fn an_attribute_with_type_text_is_formatted_or_rejected() {
    let dimension = |attribute: &str| {
        format!(
            r#"{{"dimensions": [{{"name": "d", "attribute": "{attribute}", "type": "text", "default": "none"}}]}}"#
        )
    };
    for (attribute, value, expected) in [
        ("response.code", &503_i64.to_le_bytes()[..], "503"),
        ("response.backend_latency", &7_i64.to_le_bytes(), "7"),
        ("request.host", b"a.example", "a.example"),
    ] {
        let config = parsed(&dimension(attribute));
        let Some(dimension) = config.plan.main.dimensions.last() else { panic!("one") };
        let mut written = Vec::new();
        assert!(dimension.transform.write(value, 99, &mut written));
        assert_eq!(String::from_utf8_lossy(&written), expected, "{attribute}");
        assert_eq!(dimension.default.as_deref(), Some(&b"none"[..]));
    }
    assert_eq!(
        problems(&dimension("connection.mtls")),
        [r#"dimensions[0].type: found "text", allowed: "boolean" for a boolean attribute"#]
    );
}

#[test]
fn bounds_are_in_the_metrics_unit_and_converted_to_integers() {
    let metric = |unit: &str, bounds: &str| {
        let json = format!(
            r#"{{"preset": "none", "metrics": [{{"name": "m", "kind": "histogram", "value": "request.duration", {unit} {bounds}}}]}}"#
        );
        let Measure { metric, input } = parsed(&json).plan.main.measures.remove(0);
        assert_eq!(input, MeasureInput::Source(0));
        let Kind::Histogram { bounds } = metric.kind else { panic!("a histogram") };
        (metric.unit, metric.divisor, bounds.first().copied(), bounds.len())
    };
    assert_eq!(
        metric(r#""unit": "ms","#, r#""bounds": [0.25, 1]"#),
        ("ms".into(), 1_000_000, Some(250_000), 2)
    );
    assert_eq!(metric("", r#""bounds": [0.005, 0.3]"#), ("s".into(), 1_000_000_000, Some(5_000_000), 2));
    assert_eq!(metric(r#""unit": "ns","#, r#""bounds": [7]"#), ("ns".into(), 1, Some(7), 1));
    assert_eq!(metric("", r#""description": """#), ("s".into(), 1_000_000_000, Some(5_000_000), 14));
}

#[test]
fn dropped_metrics_and_dimensions_are_not_read() {
    let reads = |json: &str| parsed(json).plan.main.sources.len();
    let all = reads("{}");
    assert_eq!(reads(r#"{"drop": ["url.scheme"]}"#), all - 1);
    let dropped = parsed(r#"{"drop": ["rpc.server.call.duration", "error.type"]}"#).plan;
    assert_eq!(dropped.calls, None, "a group without metrics is removed");
    assert_eq!(reads(r#"{"preset": "none", "counters": []}"#), 0);
}

#[test]
fn only_presets_with_grpc_calls_count_messages() {
    for (preset, is_taken) in
        [("otel", true), ("istio", true), ("istio_tcp", false), ("tcp", false), ("none", false)]
    {
        let json = format!(r#"{{"preset": "{preset}", "grpc_messages": true}}"#);
        let expected = r#"grpc_messages: found true, allowed: only with preset "otel" or "istio""#;
        match WorkerConfig::parse(json.as_bytes()) {
            Ok(config) => assert!(is_taken && config.plan.counts_grpc_messages(), "{preset}"),
            Err(_) => assert_eq!((problems(&json), is_taken), (vec![expected.to_owned()], false), "{preset}"),
        }
    }
}

#[test]
fn preset_none_can_be_for_tcp() {
    assert_eq!(parsed(r#"{"preset": "none", "streams": "tcp"}"#).plan.streams, Streams::Tcp);
    assert_eq!(parsed(r#"{"preset": "tcp"}"#).plan.streams, Streams::Tcp);
    assert_eq!(parsed(r#"{"preset": "istio"}"#).plan.streams, Streams::Http);
}

#[test]
fn metadata_of_the_node_becomes_labels_of_istio() {
    let node = |path: &str| match path {
        "metadata\0WORKLOAD_NAME" => Some("shop-v1".to_owned()),
        "metadata\0LABELS\0app" => Some("it's".to_owned()),
        _ => None,
    };
    let config = WorkerConfig::parse_for(br#"{"preset": "istio"}"#, &node).unwrap();
    let own = |name: &str| {
        let main = &config.plan.main;
        let dimension = main.dimensions.iter().find(|dimension| dimension.name == name).unwrap();
        let mut written = Vec::new();
        let _ = dimension.transform.write(crate::fallback::OWN_WORKLOAD, 99, &mut written);
        String::from_utf8(written).unwrap()
    };
    assert_eq!(own("destination_workload"), "shop-v1");
    assert_eq!(own("source_app"), "it's");
    assert_eq!(own("source_version"), "");
}

#[test]
fn every_problem_is_reported_at_once() {
    let json = r#"{"preset": "other", "streams": "tcp", "drop": ["nothing"], "flush": {"interval": "1ms", "max_requests": 0},
        "counters": [{"key": "a b"}, {}, {"key": "a"}, {"key": "a", "when": "never"}], "limits": {"series": 0},
        "service_vm_id": 5, "dimension": [], "histogram": {"max_size": 20}, "in_flight": 1,
        "dimensions": [{"name": "a"}, {"name": "a", "value": "x", "cel": "y"}, {"request_header": "X-Up"},
            {"name": "b", "attribute": "route.name"}, {"name": "c", "attribute": "response.code", "default": "x", "type": "float"},
            {"name": "d", "attribute": "request.path", "paths": {"templates": ["no"], "more": 1}},
            {"name": "e", "value": "1"}, {"name": "e", "value": "2"}],
        "metrics": [{"name": "1st", "kind": "gauge"}, {"name": "2", "kind": "counter", "bounds": [1]},
            {"name": "h", "kind": "histogram"}, {"name": "i", "kind": "histogram", "value": "request.duration", "unit": "By"},
            {"name": "j", "kind": "histogram", "value": "request.size", "bounds": [0.5]}]}"#;
    let expected = [
        r#"preset: found "other", allowed: one of otel, istio, istio_tcp, tcp, none"#,
        r#"streams: found a value, allowed: only with preset "none""#,
        r#"drop: found "nothing", allowed: dimensions and metrics of the preset"#,
        "dimensions[0].attribute: found nothing, allowed: exactly one of attribute, request_header, response_header, cel, value",
        "dimensions[1].attribute: found cel and value, allowed: exactly one of attribute, request_header, response_header, cel, value",
        "dimensions[2].name: found nothing, allowed: text of 1 to 255 bytes",
        r#"dimensions[2].request_header: found "X-Up", allowed: a header's name in lower case"#,
        r#"dimensions[3].attribute: found "route.name", allowed: an attribute of Envoy under request, response, connection, source, destination, upstream, xds, metadata, filter_state, upstream_filter_state"#,
        r#"dimensions[4].type: found "float", allowed: one of text, integer, boolean"#,
        r#"dimensions[4].default: found "x", allowed: values of the dimension's type"#,
        r#"dimensions[5].paths.templates: found "no", allowed: paths such as "/users/{id}" or "/static/**", without a query"#,
        "dimensions[5].paths.more: found an unknown key, allowed: one of templates, unmatched",
        r#"dimensions[7].name: found "e" again, allowed: each name once"#,
        r#"metrics[0].kind: found "gauge", allowed: one of counter, histogram"#,
        r#"metrics[1].name: found "2", allowed: a letter, then letters, digits, '_', '.', '-' and '/'"#,
        r#"metrics[1].bounds: found bounds of a counter, allowed: only with kind "histogram""#,
        "metrics[2].value: found nothing, allowed: an attribute or a CEL expression with the value of a histogram",
        r#"metrics[3].unit: found "By", allowed: one of s, ms, us, ns for a duration"#,
        "metrics[4].bounds: found bounds that are too precise, allowed: numbers from 0 in whole units",
        r#"histogram.max_size: found a size of explicit histograms, allowed: only with kind "exponential""#,
        "in_flight: found 1, allowed: true or false",
        r#"flush.interval: found "1ms", allowed: a duration from 10ms to 5m, such as "1s" or "250ms""#,
        "flush.max_requests: found 0, allowed: a whole number from 1 to 1000000000",
        r#"counters[0].key: found "a b", allowed: letters, digits, '_', '.' and '-'"#,
        "counters[1].key: found nothing, allowed: text of 1 to 128 bytes",
        r#"counters[3].when: found "never", allowed: one of request, flush"#,
        r#"counters[3].key: found "a" again, allowed: each key once"#,
        "limits.series: found 0, allowed: a whole number from 1 to 1000000",
        "service_vm_id: found 5, allowed: text of 0 to 255 bytes",
        "dimension: found an unknown key, allowed: one of preset, grpc_messages, streams, drop, dimensions, metrics, histogram, exemplars, observed, in_flight, flush, report_interval, counters, headers, tap, log_stream, limits, service_vm_id",
    ];
    let found = problems(json);
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), expected.len());
}

#[test]
fn a_log_stream_measures_requests_that_have_ended() {
    let dimensions = r#""dimensions": [{"name": "t", "request_header": "t"}]"#;
    let log = parsed(&format!(r#"{{"log_stream": true, {dimensions}}}"#));
    assert_eq!((log.log_stream, log.plan.calls), (true, None));
    assert_eq!(
        log.plan.main.dimensions,
        parsed(&format!(r#"{{"log_stream": false, {dimensions}}}"#)).plan.main.dimensions
    );
    for (config, found) in [
        (r#""grpc_messages": true"#, "grpc_messages: found true"),
        (r#""in_flight": true"#, "in_flight: found true"),
        (r#""preset": "tcp""#, "streams: found TCP connections"),
    ] {
        assert_eq!(
            problems(&format!(r#"{{"log_stream": true, {config}}}"#)),
            [no_log_stream(found)],
            "{config}"
        );
    }
    assert_eq!(
        problems(r#"{"log_stream": true, "preset": "istio"}"#),
        [
            "preset: found a preset whose values have several sources, allowed: \"otel\" or \"none\" with log_stream"
        ]
    );
}

fn no_log_stream(found: &str) -> String {
    format!("{found}, allowed: only without log_stream, whose records describe requests that have ended")
}

#[cfg(not(feature = "full"))]
#[test]
fn keys_of_the_full_module_are_rejected() {
    let json = r#"{"headers": [], "tap": {}, "counters": [{"key": "a", "response_header": "x-a"}]}"#;
    let found = "found a key of worker_filter_full.wasm, allowed: only in that module";
    let expected = ["counters[0].response_header", "headers", "tap"].map(|key| format!("{key}: {found}"));
    assert_eq!(problems(json), expected);
}

#[cfg(feature = "full")]
mod streams_in_progress {
    use super::*;
    use crate::plan::{HeaderAction, Side};

    #[test]
    fn header_rules_are_read() {
        let json = r#"{"headers": [{"name": "authorization", "value": "Bearer {value:jwt}", "if_missing": "deny"},
            {"on": "response", "action": "append", "name": "x-wasm-filter", "value": "tributary"},
            {"action": "remove", "name": "x-secret"}],
            "counters": [{"key": "a", "response_header": "x-request-count"}]}"#;
        let plan = parsed(json).plan;
        let seen: Vec<_> = plan.rules.iter().map(|rule| (rule.side, rule.action, rule.denies)).collect();
        assert_eq!(
            seen,
            [
                (Side::Request, HeaderAction::Set, true),
                (Side::Response, HeaderAction::Append, false),
                (Side::Request, HeaderAction::Remove, false),
            ]
        );
        assert_eq!(plan.rules[0].template.values().collect::<Vec<_>>(), ["jwt"]);
        let [counter] = &plan.counters[..] else { panic!("one") };
        assert_eq!(
            (counter.when, counter.response_header.as_deref()),
            (When::Request, Some("x-request-count"))
        );
    }

    #[test]
    fn a_tap_masks_secrets_by_default() {
        assert_eq!(parsed("").plan.tap, None);
        let tap = parsed(r#"{"tap": {"condition": "true"}}"#).plan.tap.unwrap();
        assert_eq!((tap.per_minute, tap.body_bytes), (10, 256));
        assert!(tap.masked.contains(&"authorization".to_owned()));
    }

    #[test]
    fn the_records_of_a_log_stream_are_of_ended_requests() {
        for (config, found) in [
            (r#""headers": [{"name": "a", "value": "b"}]"#, "headers: found a list"),
            (r#""tap": {"condition": "true"}"#, "tap: found a tap"),
            (
                r#""counters": [{"key": "a", "response_header": "a"}]"#,
                "counters: found a counter with a response_header",
            ),
        ] {
            let json = format!(r#"{{"log_stream": true, {config}}}"#);
            assert_eq!(problems(&json), [no_log_stream(found)], "{config}");
        }
    }

    #[test]
    fn tcp_connections_have_no_headers() {
        for (config, expected) in [
            (r#""headers": [{"name": "a", "value": "b"}]"#, "headers: found headers"),
            (r#""counters": [{"key": "a", "response_header": "b"}]"#, "counters: found a response_header"),
        ] {
            let allowed = "allowed: none for TCP connections, which have no headers";
            let found = problems(&format!(r#"{{"preset": "tcp", {config}}}"#));
            assert_eq!(found, [format!("{expected}, {allowed}")], "{config}");
        }
    }

    #[test]
    fn every_problem_with_streams_in_progress_is_reported() {
        let json = r#"{"headers": [{"name": "Host", "value": "x"}, {"name": "a", "value": "{x}"}, {"name": "a"},
            {"action": "remove", "name": "a", "value": "x"}, {"on": "response", "name": "a", "value": "{value:b}", "if_missing": "deny"}],
            "tap": {"mask": ["A B"]}, "counters": [{"key": "a", "response_header": "x-a", "condition": "true"}]}"#;
        assert_eq!(
            problems(json),
            [
                r#"counters[0].response_header: found "x-a", allowed: no condition and no "when": "flush", because every response counts before it is sent"#,
                r#"headers[0].name: found "Host", allowed: a header's name in lower case, except content-length, transfer-encoding, connection and host"#,
                r#"headers[1].value: found "{x}", allowed: text with {value:NAME}, {counter:KEY} or {attribute:PATH}; {{ and }} are braces"#,
                "headers[2].value: found nothing, allowed: text with {value:NAME}, {counter:KEY} or {attribute:PATH}; {{ and }} are braces",
                "headers[3].value: found a value, allowed: no value with action \"remove\"",
                r#"headers[4].if_missing: found "deny", allowed: only on requests"#,
                "tap.condition: found nothing, allowed: text of 1 to 1024 bytes",
                r#"tap.mask: found "A B", allowed: headers' names in lower case"#,
            ]
        );
    }
}
