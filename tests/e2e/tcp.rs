//! TCP connections: each is counted when it opens and when it closes, with its bytes, whichever side closes
//! it.

use anyhow::Result;
use serde_json::json;
use tributary_tests::client_hello;
use tributary_tests::config::{AttachedPlugin, EnvoyConfig};
use tributary_tests::echo::{CLOSE, EchoClient, EchoServer, RESET};
use tributary_tests::front_proxy::{FrontProxy, HttpVersion, Identity};
use tributary_tests::load::{Load, Mix, Shape};
use tributary_tests::metrics::to_count;
use tributary_tests::ports::ReservedPort;
use tributary_tests::scene::{COUNTER, LIMIT, Scene};
use tributary_tests::sink::Store;

const OPENED: &str = "tcp.connections.opened";
const CLOSED: &str = "tcp.connections.closed";
const RECEIVED: &str = "tcp.received";
const SENT: &str = "tcp.sent";
const DURATION: &str = "tcp.connection.duration";

const SERVER_NAME: &str = "shop.example.com";

/// Starts a scene with a server behind the listener `tcp` and no server behind the listener `broken`.
async fn scene(edit: impl FnOnce(EnvoyConfig) -> EnvoyConfig) -> Result<(Scene, EchoServer)> {
    let (server, closed_port) = (EchoServer::start().await?, ReservedPort::new()?);
    let scene = Scene::of("tests/e2e/config/tcp.yaml", "otlp_collector", 2, |config| {
        edit(config.cluster_port("app", server.address().port()).cluster_port("nowhere", closed_port.port()))
    })
    .await?;
    Ok((scene, server))
}

fn counted(store: &Store) -> [u64; 5] {
    let sum = |name| store.sum(name, &[]);
    [sum(OPENED), sum(CLOSED), sum(RECEIVED), sum(SENT), store.count(DURATION, &[])]
}

async fn wait_for(scene: &Scene, expected: [u64; 5]) -> Result<()> {
    scene.sink.wait_until_equal("opened, closed, received, sent and durations", expected, counted).await
}

/// The stage from which an attach point observes a connection.
enum Stage {
    /// From the start.
    Accepted,
    /// From the choice of a filter chain, after the TLS inspector has read the first bytes.
    Filtered,
}

/// Opens connections that are closed by the client, by the upstream and by Envoy, with bytes and without.
async fn each_connection_is_counted(attach: fn(EnvoyConfig) -> EnvoyConfig, from: Stage) -> Result<()> {
    let (scene, _server) = scene(attach).await?;
    let listener = |name| scene.envoy.listener(name);
    let [tcp, broken, empty, idle] = ["tcp", "broken", "empty", "idle"].map(listener);
    let (tcp, broken, empty, idle) = (tcp?, broken?, empty?, idle?);
    let (rounds, mut echoed) = (10_u64, 0);
    let no_hello = b"\x16\x03\x01\x00\x05no hello";
    for number in 0..rounds {
        let size = usize::try_from(number * 997 + 100)?;
        let mut plain = EchoClient::connect(tcp).await?;
        plain.exchange(&vec![b'.'; size]).await?;
        plain.close().await?;

        let mut tls = EchoClient::connect(tcp).await?;
        let hello = client_hello::encode(SERVER_NAME)?;
        tls.exchange(&hello).await?;
        tls.reset()?;

        let mut malformed = EchoClient::connect(tcp).await?;
        malformed.exchange(no_hello).await?;
        malformed.close().await?;

        EchoClient::connect(tcp).await?.close().await?;
        EchoClient::connect(tcp).await?.send_until_closed(CLOSE).await?;
        EchoClient::connect(tcp).await?.send_until_closed(RESET).await?;
        EchoClient::connect(broken).await?.send_until_closed(b"").await?;
        EchoClient::connect(empty).await?.send_until_closed(b"").await?;
        EchoClient::connect(idle).await?.send_until_closed(b"").await?;
        echoed += u64::try_from(size + hello.len() + no_hello.len())?;
    }
    // Eight of nine connections get a filter chain; the client that sends nothing closes its connection
    // before.
    let filtered = 8 * rounds;
    let total = match from {
        Stage::Accepted => filtered + rounds,
        Stage::Filtered => filtered,
    };
    let received = echoed + rounds * u64::try_from(CLOSE.len() + RESET.len())?;
    wait_for(&scene, [total, total, received, echoed, total]).await?;

    let (stats, store) = (scene.stats().await?, scene.sink.store());
    let envoy = |name: &str| {
        let of = |listener: &&str| stats.counter(&format!("tcp.{listener}.downstream_cx_{name}"));
        ["tcp", "broken", "empty", "idle"].iter().map(of).sum::<Result<u64>>()
    };
    assert_eq!(envoy("total")?, filtered);
    assert_eq!(envoy("rx_bytes_total")?, received);
    assert_eq!(envoy("tx_bytes_total")?, echoed);
    // A connection with up to three attempts is counted once.
    let attempts = stats.counter("cluster.nowhere.upstream_cx_connect_fail")?;
    assert!((2 * rounds..=3 * rounds).contains(&attempts), "{attempts} attempts for {rounds} connections");
    for (key, value, expected) in [
        ("source.address", "127.0.0.1", total),
        ("destination.address", "127.0.0.1", total),
        ("upstream.address", "127.0.0.1", filtered - rounds),
        ("tls.client.server_name", SERVER_NAME, rounds),
        ("error.type", "upstream_connection_failure", rounds),
        ("error.type", "no_healthy_upstream", rounds),
    ] {
        for metric in [OPENED, CLOSED] {
            assert_eq!(store.sum(metric, &[(key, value)]), expected, "{metric} {key}");
        }
        assert_eq!(store.count(DURATION, &[(key, value)]), expected, "{key}");
    }
    // Envoy 1.40.0 has a response flag for an upstream reset, Envoy 1.36.4 does not.
    let reset = store.sum(CLOSED, &[("error.type", "upstream_remote_reset")]);
    assert!([0, rounds].contains(&reset), "{reset}");
    let closed = store.number_points(CLOSED);
    let clean = closed.iter().filter(|point| !point.attributes.contains_key("error.type"));
    assert_eq!(clean.map(|point| to_count(point.value)).sum::<u64>(), total - 2 * rounds - reset);
    let series = 4 + u64::from(reset > 0) + u64::from(total > filtered);
    assert_eq!(u64::try_from(closed.len())?, series, "{closed:?}");
    // A worker that could not add to the counter tries again with its next flush.
    scene.sink.wait_until_equal("the counter", total, |store| store.sum(COUNTER, &[])).await?;
    assert_eq!(stats.counter("wasmcustom.tributary_observations_aggregated")?, total);
    assert_eq!(stats.counter("wasmcustom.tributary_read_one_by_one")?, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_network_filter_counts_each_connection() -> Result<()> {
    each_connection_is_counted(|config| config, Stage::Filtered).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_access_logger_of_a_tcp_proxy_counts_each_connection() -> Result<()> {
    each_connection_is_counted(EnvoyConfig::as_tcp_proxy_logger, Stage::Filtered).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_access_logger_of_a_listener_counts_each_connection() -> Result<()> {
    each_connection_is_counted(EnvoyConfig::as_listener_logger, Stage::Accepted).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_connection_is_reported_while_it_is_open_and_closed_once() -> Result<()> {
    let (scene, _server) = scene(|config| config.worker("report_interval", "200ms")).await?;
    let mut client = EchoClient::connect(scene.envoy.listener("tcp")?).await?;
    for expected in [[1, 0, 1_000, 1_000, 0], [1, 0, 2_000, 2_000, 0]] {
        client.exchange(&[b'.'; 1_000]).await?;
        wait_for(&scene, expected).await?;
    }
    client.close().await?;
    wait_for(&scene, [1, 1, 2_000, 2_000, 1]).await?;
    assert_eq!(scene.sink.store().number_points(OPENED).len(), 1, "one series from the beginning to the end");
    assert_eq!(scene.stats().await?.counter("wasmcustom.tributary_read_one_by_one")?, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_open_when_envoy_ends_is_flushed() -> Result<()> {
    let (mut scene, _server) = scene(|config| config).await?;
    let mut client = EchoClient::connect(scene.envoy.listener("tcp")?).await?;
    client.exchange(&[b'.'; 1_000]).await?;
    assert!(scene.envoy.terminate(LIMIT).await?.success());
    let log = scene.envoy.log()?;
    assert!(log.contains("the service shuts down: 1 observations aggregated"), "{log}");
    Ok(())
}

/// One root context serves both filters of the chain, because their configurations are identical. A
/// connection of HTTP/3 has a protocol, like a request.
#[tokio::test(flavor = "multi_thread")]
async fn a_network_filter_in_front_of_an_identical_http_filter_never_traps() -> Result<()> {
    let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let identity = Identity { certificate: signed.cert.pem(), key: signed.signing_key.serialize_pem() };
    let filters = "static_resources.listeners[0].filter_chains[0].filters";
    for module in ["worker_filter", "worker_filter_full"] {
        let plugin = serde_json::to_value(AttachedPlugin::new("tributary", module, &json!({})))?;
        for version in HttpVersion::ALL {
            let mut scene = Scene::start(1, |config| {
                let http_filter = format!("{filters}[0].typed_config.http_filters[0].typed_config.config");
                let config = version.taken_by(config.set(&http_filter, &plugin), &identity);
                let manager = config.get(&format!("{filters}[0]")).cloned().unwrap_or_default();
                let network_filter = json!({"name": "tributary", "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.network.wasm.v3.Wasm",
                    "config": plugin
                }});
                config.set(filters, json!([network_filter, manager]))
            })
            .await?;
            let front = FrontProxy::start(scene.envoy.listener("ingress")?, version, &identity).await?;
            let shapes = [Shape::get("users", "/users/1"), Shape::get("nowhere", "/nowhere")];
            let tally = Load::new(front.address()?, 100, Mix::in_turn(shapes)?).run(|_| ()).await?;
            assert_eq!(tally.by_status(), [(200, 50), (404, 50)].into(), "{version:?}");
            drop(front);
            assert!(scene.envoy.terminate(LIMIT).await?.success());
            assert_eq!(scene.envoy.traps()?, Vec::<String>::new(), "{module}, {version:?}");
        }
    }
    Ok(())
}
