//! Collectors read what the service exports in each encoding and temporality.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::json;
use tributary_tests::load::Shape;
use tributary_tests::metrics::Attributes;
use tributary_tests::poll::Seen;
use tributary_tests::prometheus::{self, Prometheus};
use tributary_tests::rotel::{self, Rotel};
use tributary_tests::scene::{DURATION, LIMIT, Scene, wait_for, with_destinations};
use tributary_tests::sink::{Fault, RequestEncoding, Sink, Store};

const REQUESTS: u64 = 4_000;

fn shapes() -> [Shape; 4] {
    [
        Shape::get("users", "/users/1").weight(5),
        Shape::new("create", "POST", "/orders").status(201).weight(3),
        Shape::get("missing", "/orders/3").status(404).weight(2),
        Shape::get("slow", "/payments").delay_ms(20).weight(1),
    ]
}

/// Returns the count of each series of the duration metric.
fn counts(store: &Store) -> BTreeMap<Attributes, u64> {
    let points = store.histogram_points(DURATION).into_iter();
    points.map(|point| (point.attributes, point.histogram.count)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_encoding_and_temporality_exports_the_same_and_survives_an_outage() -> Result<()> {
    let (protobuf, json, delta) = (Sink::start(0).await?, Sink::start(0).await?, Sink::start(0).await?);
    let retry = json!({"initial_interval": "50ms", "max_interval": "200ms"});
    let destinations = [
        ("protobuf", protobuf.address(), json!({"compression": "gzip", "retry": retry})),
        ("json", json.address(), json!({"encoding": "otlp_json", "retry": retry})),
        ("delta", delta.address(), json!({"temporality": "delta", "compression": "gzip", "retry": retry})),
    ];
    let scene = Scene::start(2, |config| with_destinations(config, &destinations)).await?;
    scene.load(REQUESTS, shapes()).await?;
    for sink in [&protobuf, &json, &delta] {
        wait_for(sink, REQUESTS).await?;
    }
    for fault in [Fault::status(503), Fault::status(429).header("retry-after", "1"), Fault::Close] {
        for sink in [&protobuf, &json, &delta] {
            sink.fail_next(3, &fault);
        }
        scene.load(REQUESTS, shapes()).await?;
    }
    for sink in [&protobuf, &json, &delta] {
        wait_for(sink, 4 * REQUESTS).await?;
        assert_eq!(sink.problems(), Vec::<String>::new());
        assert_eq!(counts(&sink.store()), counts(&protobuf.store()));
    }
    let encodings =
        |sink: &Sink| sink.received().iter().filter_map(|received| received.encoding).collect::<Vec<_>>();
    assert!(encodings(&protobuf).iter().all(|encoding| *encoding == RequestEncoding::OtlpProtobuf));
    assert!(encodings(&json).iter().all(|encoding| *encoding == RequestEncoding::OtlpJson));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_reads_sums_and_quantiles_from_remote_write() -> Result<()> {
    let prometheus = Prometheus::start(0).await?;
    let otlp = Sink::start(0).await?;
    let destinations = [
        (
            "prometheus",
            prometheus.address(),
            json!({"encoding": "remote_write", "path": prometheus::REMOTE_WRITE_PATH}),
        ),
        ("otlp", otlp.address(), json!({})),
    ];
    let scene = Scene::start(2, |config| with_destinations(config, &destinations)).await?;
    scene.load(REQUESTS, shapes()).await?;
    wait_for(&otlp, REQUESTS).await?;

    let query = prometheus.query();
    query.wait_for_number("sum(http_server_request_duration_seconds_count)", 4_000.0).await?;
    query.wait_for_number("sum(tributary_counter_total)", 4_000.0).await?;
    let slow = query
        .quantile(0.5, "http_server_request_duration_seconds", &[("http_route", "payments")], None)
        .await?;
    assert!(slow.is_some_and(|slow| (0.01..=0.05).contains(&slow)), "expected about 20 ms, not {slow:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn exponential_histograms_reach_prometheus_and_an_otlp_collector_completely() -> Result<()> {
    let prometheus = Prometheus::start(0).await?;
    let behind_rotel = Sink::start(0).await?;
    let rotel = Rotel::start(0, Some(behind_rotel.address())).await?;
    let destinations = [
        (
            "prometheus",
            prometheus.address(),
            json!({"encoding": "remote_write", "path": prometheus::REMOTE_WRITE_PATH}),
        ),
        ("rotel", rotel.address(), json!({"compression": "gzip", "path": rotel::OTLP_PATH})),
    ];
    let exponential = json!({"kind": "exponential", "max_size": 80});
    let scene =
        Scene::start(2, |config| with_destinations(config, &destinations).worker("histogram", exponential))
            .await?;
    scene.load(REQUESTS, shapes()).await?;

    let forwarded = |store: &Store| store.count(DURATION, &[]);
    behind_rotel.wait_until_equal("the requests behind rotel", REQUESTS, forwarded).await?;
    let points = behind_rotel.store().exponential_points(DURATION);
    assert!(points.iter().all(|point| point.histogram.positive.counts.len() <= 80));

    let query = prometheus.query();
    let count = "sum(histogram_count(http_server_request_duration_seconds))";
    query.wait_for_number(count, 4_000.0).await?;
    let slow = query
        .native_quantile(0.5, "http_server_request_duration_seconds", &[("http_route", "payments")], None)
        .await?;
    assert!(slow.is_some_and(|slow| (0.02..=0.05).contains(&slow)), "expected about 20 ms, not {slow:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_self_metrics_match_what_the_collector_received() -> Result<()> {
    let (otlp, remote) = (Sink::start(0).await?, Sink::start(0).await?);
    let destinations = [
        ("otlp", otlp.address(), json!({"temporality": "delta"})),
        ("remote", remote.address(), json!({"encoding": "remote_write"})),
    ];
    let scene = Scene::start(2, |config| with_destinations(config, &destinations)).await?;
    otlp.fail_next(2, &Fault::status(503));
    scene.load(REQUESTS, shapes()).await?;
    wait_for(&otlp, REQUESTS).await?;
    let observations = |store: &Store| store.sum("tributary.observations.aggregated", &[]);
    otlp.wait_until_equal("the observations", REQUESTS, observations).await?;

    // Self metrics are read at the start of an export, so they reach the current statistic and do not exceed
    // it.
    let exported = "otel.sdk.exporter.metric_data_point.exported";
    let statistic = "wasmcustom.tributary_points_exported";
    let now = scene.envoy.admin().counter(statistic).await?;
    let caught_up = |store: &Store| Seen::when(store.sum(exported, &[]) >= now, store.sum(exported, &[]));
    otlp.wait_until("the exported points in the self metrics", LIMIT, caught_up).await?;
    let exported_points = otlp.store().sum(exported, &[]);
    assert!(exported_points <= scene.envoy.admin().counter(statistic).await?, "{exported_points}");
    let duration = "otel.sdk.exporter.operation.duration";
    let of = [("otel.component.name", "otlp")];
    let failed = [of[0], ("error.type", "503")];
    assert_eq!(otlp.store().count(duration, &failed), 2, "exactly both failures");
    assert!(otlp.store().count(duration, &of) > 2);
    let name = "otel_sdk_exporter_metric_data_point_exported_total";
    let seen = |store: &Store| {
        let sum = store.remote_write().sum(name, &[("otel_component_name", "remote")]);
        Seen::when(sum > 0, sum)
    };
    remote.wait_until("the self metrics by remote write", LIMIT, seen).await?;
    assert_eq!((otlp.problems(), remote.problems()), (vec![], vec![]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_series_ends_at_every_destination_and_starts_again() -> Result<()> {
    let (otlp, remote) = (Sink::start(0).await?, Sink::start(0).await?);
    let destinations = [
        ("otlp", otlp.address(), json!({})),
        ("remote", remote.address(), json!({"encoding": "remote_write"})),
    ];
    let scene = Scene::start(2, |config| {
        with_destinations(config, &destinations).service("limits", json!({"idle": "1s"}))
    })
    .await?;
    scene.load(100, [Shape::get("users", "/users/1")]).await?;
    wait_for(&otlp, 100).await?;
    let route = [("http.route", "users")];
    otlp.wait_until_equal("the ended series", 1, |store| store.ended(DURATION, &route)).await?;
    let name = "http_server_request_duration_seconds_count";
    remote.wait_until_equal("the ended series", 1, |store| store.remote_write().ended(name, &[])).await?;

    scene.load(50, [Shape::get("users", "/users/1")]).await?;
    wait_for(&otlp, 150).await?;
    assert_eq!((otlp.problems(), remote.problems()), (vec![], vec![]));
    Ok(())
}
