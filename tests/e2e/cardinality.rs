//! Values that clients invent: in each preset, a flood of such values does not hide the errors that come
//! after the flood.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use http::Request;
use serde_json::json;
use tributary_tests::client_hello;
use tributary_tests::config::EnvoyConfig;
use tributary_tests::echo::{EchoClient, EchoServer};
use tributary_tests::http2::Http2Client;
use tributary_tests::load::{Shape, Tally};
use tributary_tests::ports::ReservedPort;
use tributary_tests::scene::{DURATION, Scene};
use tributary_tests::sink::{Sink, Store};

/// The duration of gRPC calls in the `otel` preset.
const CALL_DURATION: &str = "rpc.server.call.duration";

/// The number of invented values of an attribute: three times the series of [`limits`].
const INVENTED: u64 = 300;

/// The number of requests after the flood.
const REQUESTS: u64 = 1_000;

/// How a worker filter is attached.
type Attach = fn(EnvoyConfig) -> EnvoyConfig;

/// Limits that a flood exceeds, and a flush after the requests that follow it.
fn limits(config: EnvoyConfig) -> EnvoyConfig {
    config.worker("limits", json!({"series": 100})).worker("flush", json!({"interval": "2s"}))
}

/// Starts one worker, which has all series.
async fn http_scene(attach: Attach, preset: &str) -> Result<Scene> {
    Scene::start(1, |config| attach(limits(config.worker("preset", preset)))).await
}

/// Sends requests that succeed and, to two routes, requests that fail.
async fn load_with_errors(scene: &Scene) -> Result<Tally> {
    let shapes = [
        Shape::get("users", "/users/1"),
        Shape::get("orders that fail", "/orders/1").status(500),
        Shape::get("payments that fail", "/payments/1").status(500),
    ];
    scene.load(REQUESTS, shapes).await
}

/// Returns the values of an attribute.
fn values(store: &Store, metric: &str, key: &str) -> BTreeSet<String> {
    let points = store.histogram_points(metric).into_iter();
    points.filter_map(|point| Some(point.attributes.get(key)?.to_string())).collect()
}

/// Waits for a number of observations, and expects each in a series with attributes.
async fn wait_for_count(sink: &Sink, metric: &'static str, count: u64) -> Result<()> {
    sink.wait_until_equal(metric, count, |store| store.count(metric, &[])).await?;
    assert_eq!(sink.store().count(metric, &[("otel.metric.overflow", "true")]), 0, "{metric}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn invented_schemes_and_grpc_methods_do_not_hide_errors() -> Result<()> {
    for attach in [|config| config, EnvoyConfig::as_access_logger] as [Attach; 2] {
        let scene = http_scene(attach, "otel").await?;
        let client = Http2Client::connect(scene.envoy.listener("ingress")?).await?;
        for number in 0..INVENTED {
            // Without an upstream: Envoy's router replaces schemes that it does not know (1.40.0).
            let scheme = Request::get(format!("s{number}://shop/health")).body(())?;
            let call = Request::post(format!("http://shop/users/m{number}"));
            let call = call.header("content-type", "application/grpc").header("te", "trailers").body(())?;
            for request in [scheme, call] {
                assert_eq!(client.send(request).await?, 200, "{number}");
            }
        }
        let tally = load_with_errors(&scene).await?;
        wait_for_count(&scene.sink, DURATION, 2 * INVENTED + REQUESTS).await?;
        wait_for_count(&scene.sink, CALL_DURATION, INVENTED).await?;

        let store = scene.sink.store();
        for (route, shape) in [("orders", "orders that fail"), ("payments", "payments that fail")] {
            let error = [("http.route", route), ("http.response.status_code", "500"), ("error.type", "500")];
            assert_eq!(store.count(DURATION, &error), tally.sent_of(&[shape]), "{route}");
        }
        assert_eq!(values(&store, DURATION, "url.scheme"), ["_OTHER", "http"].map(str::to_owned).into());
        assert_eq!(store.count(DURATION, &[("url.scheme", "_OTHER")]), INVENTED);
        let methods = values(&store, CALL_DURATION, "rpc.method");
        ensure!((2..=201).contains(&methods.len()) && methods.contains("_OTHER"), "{methods:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn invented_hosts_do_not_hide_errors_in_istios_metrics() -> Result<()> {
    const REQUEST_DURATION: &str = "istio_request_duration_milliseconds";
    for attach in [|config| config, EnvoyConfig::as_access_logger] as [Attach; 2] {
        let scene = http_scene(attach, "istio").await?;
        let client = Http2Client::connect(scene.envoy.listener("ingress")?).await?;
        for number in 0..INVENTED {
            let request = Request::get(format!("http://invented-{number}/health")).body(())?;
            assert_eq!(client.send(request).await?, 200, "{number}");
        }
        let tally = load_with_errors(&scene).await?;
        wait_for_count(&scene.sink, REQUEST_DURATION, INVENTED + REQUESTS).await?;

        let store = scene.sink.store();
        let failed = tally.sent_of(&["orders that fail", "payments that fail"]);
        assert_eq!(store.count(REQUEST_DURATION, &[("response_code", "500")]), failed);
        assert_eq!(store.sum("istio_requests_total", &[("response_code", "500")]), failed);
        let hosts = values(&store, REQUEST_DURATION, "destination_service");
        ensure!((2..=101).contains(&hosts.len()) && hosts.contains("_OTHER"), "{hosts:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn invented_server_names_do_not_hide_failed_connections() -> Result<()> {
    const FAILED: u64 = 20;
    for attach in [|config| config, EnvoyConfig::as_tcp_proxy_logger] as [Attach; 2] {
        let (server, closed_port) = (EchoServer::start().await?, ReservedPort::new()?);
        let scene = Scene::of("tests/e2e/config/tcp.yaml", "otlp_collector", 1, |config| {
            let config = config.cluster_port("app", server.address().port());
            attach(limits(config.cluster_port("nowhere", closed_port.port())))
        })
        .await?;
        for number in 0..INVENTED {
            let mut client = EchoClient::connect(scene.envoy.listener("tcp")?).await?;
            client.exchange(&client_hello::encode(&format!("invented-{number}"))?).await?;
            client.close().await?;
        }
        for _ in 0..FAILED {
            EchoClient::connect(scene.envoy.listener("broken")?).await?.send_until_closed(b"").await?;
        }
        let metric = "tcp.connection.duration";
        wait_for_count(&scene.sink, metric, INVENTED + FAILED).await?;

        let store = scene.sink.store();
        let error = [("error.type", "upstream_connection_failure")];
        assert_eq!(store.count(metric, &error), FAILED);
        assert_eq!(store.sum("tcp.connections.closed", &error), FAILED);
        let names = values(&store, metric, "tls.client.server_name");
        ensure!((2..=101).contains(&names.len()) && names.contains("_OTHER"), "{names:?}");
    }
    Ok(())
}
