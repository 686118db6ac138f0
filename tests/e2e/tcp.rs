//! TCP connections: each is counted when it opens and when it closes, with its bytes, whoever it ends by.

use anyhow::Result;
use tributary_tests::config::EnvoyConfig;
use tributary_tests::echo::{EchoClient, EchoServer};
use tributary_tests::poll::Seen;
use tributary_tests::ports::ReservedPort;
use tributary_tests::scene::{COUNTER, LIMIT, Scene};
use tributary_tests::sink::Store;

const OPENED: &str = "tcp.connections.opened";
const CLOSED: &str = "tcp.connections.closed";
const RECEIVED: &str = "tcp.received";
const SENT: &str = "tcp.sent";
const DURATION: &str = "tcp.connection.duration";

const SERVER_NAME: &str = "shop.example.com";

/// A scene with a server behind the listener `tcp` and nobody behind `broken`.
async fn scene(edit: impl FnOnce(EnvoyConfig) -> EnvoyConfig) -> Result<(Scene, EchoServer)> {
    let (server, nobody) = (EchoServer::start().await?, ReservedPort::new()?);
    let scene = Scene::of("tests/e2e/config/tcp.yaml", "otlp_collector", 2, |config| {
        edit(config.cluster_port("app", server.address().port()).cluster_port("nowhere", nobody.port()))
    })
    .await?;
    Ok((scene, server))
}

/// A TLS ClientHello that names [`SERVER_NAME`], as short as it can be (RFC 8446 section 4.1.2, RFC 6066 section 3).
fn client_hello() -> Result<Vec<u8>> {
    let with_length = |bytes: &[u8]| -> Result<Vec<u8>> {
        Ok([&u16::try_from(bytes.len())?.to_be_bytes(), bytes].concat())
    };
    let name = [&[0][..], &with_length(SERVER_NAME.as_bytes())?].concat();
    let server_name = [&[0, 0][..], &with_length(&with_length(&name)?)?].concat();
    let random = [7; 32];
    let one_cipher = [0, 2, 0xc0, 0x2f];
    let no_compression = [1, 0];
    let body =
        [&[3, 3][..], &random[..], &[0], &one_cipher, &no_compression, &with_length(&server_name)?].concat();
    let handshake = [&[1, 0][..], &with_length(&body)?].concat();
    Ok([&[22, 3, 1][..], &with_length(&handshake)?].concat())
}

fn counted(store: &Store) -> [u64; 5] {
    let sum = |name| store.sum(name, &[]);
    [sum(OPENED), sum(CLOSED), sum(RECEIVED), sum(SENT), store.count(DURATION, &[])]
}

async fn wait_for(scene: &Scene, expected: [u64; 5]) -> Result<()> {
    let what = format!("{expected:?} opened, closed, received, sent and measured");
    let probe = |store: &Store| Seen::when(counted(store) == expected, counted(store));
    scene.sink.wait_until(&what, LIMIT, probe).await.map(|_| ())
}

/// Connections that end in three ways: closed by the client, reset by it, and closed by Envoy for want of an upstream.
async fn each_connection_is_counted(attach: fn(EnvoyConfig) -> EnvoyConfig) -> Result<()> {
    let (scene, _server) = scene(attach).await?;
    let (tcp, broken) = (scene.envoy.listener("tcp")?, scene.envoy.listener("broken")?);
    let (connections, mut bytes) = (50_u64, 0);
    for number in 0..connections {
        let size = usize::try_from(number * 997 + 100)?;
        let mut plain = EchoClient::connect(tcp).await?;
        plain.exchange(&vec![b'.'; size]).await?;
        plain.close().await?;

        let mut tls = EchoClient::connect(tcp).await?;
        let hello = client_hello()?;
        tls.exchange(&hello).await?;
        tls.reset()?;

        EchoClient::connect(broken).await?.send_in_vain(b"").await?;
        bytes += u64::try_from(size + hello.len())?;
    }
    let total = 3 * connections;
    wait_for(&scene, [total, total, bytes, bytes, total]).await?;

    let (stats, store) = (scene.stats().await?, scene.sink.store());
    let envoy = |name: &str| stats.counter(&format!("tcp.{name}"));
    assert_eq!(envoy("tcp.downstream_cx_total")? + envoy("broken.downstream_cx_total")?, total);
    assert_eq!(envoy("tcp.downstream_cx_rx_bytes_total")?, bytes);
    assert_eq!(envoy("tcp.downstream_cx_tx_bytes_total")?, bytes);
    for (key, value, expected) in [
        ("source.address", "127.0.0.1", total),
        ("destination.address", "127.0.0.1", total),
        ("upstream.address", "127.0.0.1", total),
        ("tls.client.server_name", SERVER_NAME, connections),
        ("error.type", "upstream_connection_failure", connections),
    ] {
        for metric in [OPENED, CLOSED] {
            assert_eq!(store.sum(metric, &[(key, value)]), expected, "{metric} {key}");
        }
        assert_eq!(store.count(DURATION, &[(key, value)]), expected, "{key}");
    }
    assert_eq!(store.number_points(CLOSED).len(), 3, "{:?}", store.number_points(CLOSED));
    assert_eq!(scene.sink.sum(COUNTER, &[]), total);
    assert_eq!(stats.counter("wasmcustom.tributary_observations_aggregated")?, total);
    assert_eq!(stats.counter("wasmcustom.tributary_read_one_by_one")?, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_network_filter_counts_each_connection() -> Result<()> {
    each_connection_is_counted(|config| config).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_access_logger_of_a_tcp_proxy_counts_each_connection() -> Result<()> {
    each_connection_is_counted(EnvoyConfig::as_tcp_proxy_logger).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_access_logger_of_a_listener_counts_each_connection() -> Result<()> {
    each_connection_is_counted(EnvoyConfig::as_listener_logger).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_connection_shows_up_while_it_lives_and_is_closed_once() -> Result<()> {
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
async fn a_connection_that_is_open_when_envoy_ends_is_handed_over() -> Result<()> {
    let (mut scene, _server) = scene(|config| config).await?;
    let mut client = EchoClient::connect(scene.envoy.listener("tcp")?).await?;
    client.exchange(&[b'.'; 1_000]).await?;
    assert!(scene.envoy.terminate(LIMIT).await?.success());
    let log = scene.envoy.log()?;
    assert!(log.contains("the service ends: 1 requests taken over in all"), "{log}");
    Ok(())
}
