//! The presets `istio` and `istio_tcp` in an Istio sidecar: Istio's own metrics, labels and values.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};
use serde_json::{Value, json};
use tributary_tests::config::EnvoyConfig;
use tributary_tests::echo::{EchoClient, EchoServer};
use tributary_tests::envoy::{Envoy, EnvoyOptions};
use tributary_tests::load::{Load, Mix, Shape, Tally};
use tributary_tests::metrics::{Attributes, HistogramPoint, matches, to_count, to_f64};
use tributary_tests::poll::Seen;
use tributary_tests::ports::ReservedPort;
use tributary_tests::scene::{LIMIT, Scene};
use tributary_tests::sink::{Sink, Store};
use tributary_tests::upstream::Upstream;

const REQUESTS: &str = "istio_requests_total";
const DURATION: &str = "istio_request_duration_milliseconds";
const REQUEST_BYTES: &str = "istio_request_bytes";
const RESPONSE_BYTES: &str = "istio_response_bytes";
const OPENED: &str = "istio_tcp_connections_opened_total";
const CLOSED: &str = "istio_tcp_connections_closed_total";
const RECEIVED: &str = "istio_tcp_received_bytes_total";
const SENT: &str = "istio_tcp_sent_bytes_total";

const CALLER: &str = "spiffe://cluster.local/ns/shop/sa/bookinfo-reviews";
const CALLED: &str = "spiffe://cluster.local/ns/prod/sa/bookinfo-ratings";

/// The labels of the sidecar's own workload, after `source_` or `destination_`.
const OWN: [(&str, &str); 7] = [
    ("workload", "ratings-v1"),
    ("workload_namespace", "prod"),
    ("cluster", "Kubernetes"),
    ("app", "ratings"),
    ("version", "v1"),
    ("canonical_service", "ratings"),
    ("canonical_revision", "v1"),
];

/// The labels of an unknown peer.
const UNKNOWN: [(&str, &str); 7] = [
    ("workload", "unknown"),
    ("workload_namespace", "unknown"),
    ("cluster", "unknown"),
    ("app", "unknown"),
    ("version", "unknown"),
    ("canonical_service", "unknown"),
    ("canonical_revision", "latest"),
];

/// Combines the labels of both sides, with prefixes, and other labels.
fn labels(source: &[(&str, &str)], destination: &[(&str, &str)], others: &[(&str, &str)]) -> Attributes {
    let prefixed = |prefix: &'static str, labels: &[(&str, &str)]| -> Vec<_> {
        labels.iter().map(|(name, value)| (format!("{prefix}{name}"), (*value).into())).collect()
    };
    [prefixed("source_", source), prefixed("destination_", destination), prefixed("", others)]
        .concat()
        .into_iter()
        .collect()
}

/// The labels of a service.
fn service(
    host: &'static str,
    name: &'static str,
    namespace: &'static str,
) -> [(&'static str, &'static str); 3] {
    [("service", host), ("service_name", name), ("service_namespace", namespace)]
}

/// Replaces or adds labels.
fn with(
    labels: &[(&'static str, &'static str)],
    changed: &[(&'static str, &'static str)],
) -> Vec<(&'static str, &'static str)> {
    let mut all: BTreeMap<_, _> = labels.iter().copied().collect();
    all.extend(changed.iter().copied());
    all.into_iter().collect()
}

/// Makes the TLS identity of one side as Envoy's `common_tls_context`.
fn identity(principal: &str, authority: &CertifiedIssuer<'_, KeyPair>) -> Result<Value> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.subject_alt_names = vec![SanType::URI(principal.try_into()?)];
    let key = KeyPair::generate()?;
    Ok(json!({
        "tls_certificates": [{
            "certificate_chain": {"inline_string": params.signed_by(&key, authority)?.pem()},
            "private_key": {"inline_string": key.serialize_pem()}
        }],
        "validation_context": {"trusted_ca": {"inline_string": authority.pem()}}
    }))
}

/// Configures mutual TLS from the outbound clusters to the inbound listeners.
fn with_mutual_tls(config: EnvoyConfig) -> Result<EnvoyConfig> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.distinguished_name.push(DnType::CommonName, "the mesh");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    let socket = |context: &str, principal: &str| {
        let context = json!({
            "@type": format!("type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.{context}"),
            "common_tls_context": identity(principal, &authority)?
        });
        Ok::<_, anyhow::Error>(json!({"name": "envoy.transport_sockets.tls", "typed_config": context}))
    };
    let caller = socket("UpstreamTlsContext", CALLER)?;
    let called = socket("DownstreamTlsContext", CALLED)?;
    let sockets = [
        ("listeners[1].filter_chains[0]", &called),
        ("listeners[4].filter_chains[0]", &called),
        ("clusters[0]", &caller),
        ("clusters[1]", &caller),
    ];
    Ok(sockets.into_iter().fold(config, |config, (place, socket)| {
        let place = format!("static_resources.{place}.transport_socket");
        let config = config.set(&place, socket);
        if place.contains("listeners") {
            return config.set(&format!("{place}.typed_config.require_client_certificate"), true);
        }
        config
    }))
}

/// Starts a sidecar and its upstreams.
async fn sidecar(echo: &EchoServer) -> Result<Scene> {
    let (upstream, sink, closed_port) =
        (Upstream::start(0).await?, Sink::start(0).await?, ReservedPort::new()?);
    let config = with_mutual_tls(EnvoyConfig::load("tests/e2e/config/istio.yaml")?.free_ports())?;
    let inbound = config.listener_address("inbound")?.port();
    let tcp_inbound = config.listener_address("tcp_inbound")?.port();
    let config = [
        ("outbound|9080||details.prod.svc.cluster.local", inbound),
        ("outbound|3306||mysql.prod.svc.cluster.local", tcp_inbound),
        ("outbound|80||api.example.com", upstream.port()),
        ("outbound|9081||gone.prod.svc.cluster.local", closed_port.port()),
        ("PassthroughCluster", upstream.port()),
        ("inbound|9080||", upstream.port()),
        ("inbound|3306||", echo.address().port()),
        ("otlp_collector", sink.port()),
    ]
    .into_iter()
    .fold(config, |config, (cluster, port)| config.cluster_port(cluster, port))
    .worker("flush", json!({"interval": "200ms"}))
    .worker("report_interval", "200ms")
    .service("interval", "200ms");
    let envoy = Envoy::start(&config, &EnvoyOptions::workers(2)).await?;
    Ok(Scene { upstream, sink, envoy })
}

/// Requests with every outcome within a mesh.
fn calls() -> Vec<Shape> {
    vec![
        Shape::get("details", "/details").body_bytes(5_000).weight(10),
        Shape::new("create", "POST", "/details").body(vec![b'.'; 3_000]).status(201).weight(4),
        Shape::get("failing", "/details").status(500).weight(2),
        Shape::get("slow", "/slow").delay_ms(60_000),
        Shape::get("external", "/external").weight(2),
        Shape::get("gone", "/gone"),
        Shape::get("anywhere", "/anywhere").weight(2),
        Shape::get("blocked", "/nowhere"),
        Shape::get("no route", "/unrouted"),
    ]
}

/// The labels of an HTTP series besides those of both sides.
fn http<'a>(reporter: &'a str, code: &'a str, flags: &'a str, policy: &'a str) -> [(&'a str, &'a str); 5] {
    [
        ("reporter", reporter),
        ("request_protocol", "http"),
        ("response_code", code),
        ("response_flags", flags),
        ("connection_security_policy", policy),
    ]
}

/// The non-zero series of the metric `name`, by labels.
fn counted(store: &Store, name: &str) -> BTreeMap<Attributes, u64> {
    let points = store.number_points(name).into_iter();
    let counts = points.map(|point| (point.attributes, to_count(point.value)));
    counts.filter(|(_, count)| *count > 0).collect()
}

fn histograms(store: &Store, name: &str) -> BTreeMap<Attributes, HistogramPoint> {
    store.histogram_points(name).into_iter().map(|point| (point.attributes.clone(), point)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_is_counted_by_both_sides_with_istios_labels() -> Result<()> {
    let (calls_sent, plain) = (1_000, 100);
    let scene = sidecar(&EchoServer::start().await?).await?;
    let send = async |listener: &str, requests, shapes: Vec<Shape>| -> Result<Tally> {
        let target = scene.envoy.listener(listener)?;
        let tally = Load::new(target, requests, Mix::new(20, shapes)?).run(|_| ()).await?;
        ensure!(tally.failed() == 0, "{:?}", tally.first_failure);
        Ok(tally)
    };
    let tally = send("outbound", calls_sent, calls()).await?;
    send("inbound_plain", plain, vec![Shape::get("plain", "/").header("x-forwarded-for", "10.0.0.9")])
        .await?;
    let sent = |shapes: &[&str]| tally.sent_of(shapes);
    let through = sent(&["details", "create", "failing", "slow"]);

    // Endpoint metadata of the control plane has neither app nor version, and certificates take precedence
    // over it.
    let details = with(
        &OWN,
        &[
            ("workload", "details-v1"),
            ("app", "unknown"),
            ("version", "unknown"),
            ("canonical_service", "details"),
            ("principal", CALLED),
        ],
    );
    let details = with(&details, &service("details.prod.svc.cluster.local", "details", "prod"));
    let caller = with(&OWN, &[("principal", CALLER)]);
    let no_principal = with(&OWN, &[("principal", "unknown")]);
    let unknown_peer = with(&UNKNOWN, &[("principal", "unknown")]);
    let unknown = |host, name, namespace| with(&unknown_peer, &service(host, name, namespace));
    let ratings = with(&OWN, &service("ratings.prod.svc.cluster.local", "ratings", "prod"));
    let (ratings_tls, ratings_plain) =
        (with(&ratings, &[("principal", CALLED)]), with(&ratings, &[("principal", "unknown")]));
    let reviews = with(&UNKNOWN, &[("workload_namespace", "shop"), ("principal", CALLER)]);
    let outbound = |destination: &[(&str, &str)], code, flags, source: &[(&str, &str)]| {
        labels(source, destination, &http("source", code, flags, "unknown"))
    };
    let inbound =
        |code, flags| labels(&reviews, &ratings_tls, &http("destination", code, flags, "mutual_tls"));
    let expected: BTreeMap<Attributes, u64> = [
        (outbound(&details, "200", "-", &caller), sent(&["details"])),
        (outbound(&details, "201", "-", &caller), sent(&["create"])),
        (outbound(&details, "500", "-", &caller), sent(&["failing"])),
        (outbound(&details, "504", "UT", &caller), sent(&["slow"])),
        (
            outbound(&unknown("api.example.com", "api.example.com", "egress"), "200", "-", &no_principal),
            sent(&["external"]),
        ),
        (outbound(&unknown("shop", "shop", "unknown"), "503", "UF", &no_principal), sent(&["gone"])),
        (
            outbound(&unknown("shop", "PassthroughCluster", "unknown"), "200", "-", &no_principal),
            sent(&["anywhere"]),
        ),
        (
            outbound(&unknown("shop", "BlackHoleCluster", "unknown"), "502", "-", &no_principal),
            sent(&["blocked"]),
        ),
        (outbound(&unknown("shop", "shop", "unknown"), "404", "NR", &no_principal), sent(&["no route"])),
        (inbound("200", "-"), sent(&["details"])),
        (inbound("201", "-"), sent(&["create"])),
        (inbound("500", "-"), sent(&["failing"])),
        (inbound("0", "DC"), sent(&["slow"])),
        (labels(&unknown_peer, &ratings_plain, &http("destination", "200", "-", "none")), plain),
    ]
    .into();
    let total = expected.values().sum::<u64>();
    scene.sink.wait_until_equal("the requests", total, |store| store.sum(REQUESTS, &[])).await?;
    let (stats, store) = (scene.stats().await?, scene.sink.store());
    let counts = counted(&store, REQUESTS);
    for (labels, count) in &expected {
        assert_eq!(counts.get(labels), Some(count), "{labels:?} is not in {counts:#?}");
    }
    assert_eq!(counts, expected);
    assert_eq!(stats.counter("http.outbound.downstream_rq_total")?, calls_sent);
    assert_eq!(stats.counter("http.inbound.downstream_rq_total")?, through + plain);
    assert_eq!(stats.counter("wasmcustom.tributary_read_one_by_one")?, 0);

    for name in [DURATION, REQUEST_BYTES, RESPONSE_BYTES] {
        let counts: BTreeMap<_, _> = histograms(&store, name)
            .into_iter()
            .map(|(labels, point)| (labels, point.histogram.count))
            .collect();
        assert_eq!(counts, expected, "{name}");
    }
    // The byte counts include bodies, and at most 1 KiB of headers per request.
    let bytes = |name, reporter| {
        let points = store.histogram_points(name).into_iter();
        let wanted = points.filter(|point| matches(&point.attributes, &[("reporter", reporter)]));
        wanted.map(|point| to_count(point.histogram.sum)).sum::<u64>()
    };
    for (reporter, requests) in [("source", calls_sent), ("destination", through + plain)] {
        let (posted, answered) = (3_000 * sent(&["create"]), 5_000 * sent(&["details"]));
        for (name, bodies) in [(REQUEST_BYTES, posted), (RESPONSE_BYTES, answered)] {
            let bytes = bytes(name, reporter);
            assert!(
                (bodies..bodies + 1_024 * requests).contains(&bytes),
                "{name} of the {reporter}: {bytes}"
            );
        }
    }
    let point = histograms(&store, DURATION).remove(&outbound(&details, "504", "UT", &caller));
    let slow = point.context("no such series")?.histogram.sum / to_f64(sent(&["slow"]));
    // The unit is milliseconds, neither seconds nor nanoseconds.
    assert!((50.0..60_000.0).contains(&slow), "{slow} ms, with a timeout of 400 ms");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_connection_is_counted_by_both_sides_and_reported_while_it_is_open() -> Result<()> {
    let echo = EchoServer::start().await?;
    let scene = sidecar(&echo).await?;
    let tcp = |reporter, flags, policy| {
        [
            ("reporter", reporter),
            ("request_protocol", "tcp"),
            ("response_flags", flags),
            ("connection_security_policy", policy),
        ]
    };
    let mysql = with(
        &OWN,
        &[
            ("workload", "mysql-v1"),
            ("app", "unknown"),
            ("version", "unknown"),
            ("canonical_service", "mysql"),
            ("principal", CALLED),
        ],
    );
    let mysql = with(&mysql, &service("mysql.prod.svc.cluster.local", "mysql", "prod"));
    let own = with(&with(&OWN, &[("principal", CALLED)]), &service("ratings", "ratings", "prod"));
    let unknown = with(&UNKNOWN, &[("principal", "unknown")]);
    let nowhere = with(&unknown, &service("unknown", "BlackHoleCluster", "unknown"));
    let (caller, no_principal) =
        (with(&OWN, &[("principal", CALLER)]), with(&OWN, &[("principal", "unknown")]));
    let reviews = with(&UNKNOWN, &[("workload_namespace", "shop"), ("principal", CALLER)]);
    let source = labels(&caller, &mysql, &tcp("source", "-", "unknown"));
    let destination = labels(&reviews, &own, &tcp("destination", "-", "mutual_tls"));
    let blocked = labels(&no_principal, &nowhere, &tcp("source", "UH", "unknown"));

    let both = |count: u64| BTreeMap::from([(source.clone(), count), (destination.clone(), count)]);
    let wait_for = async |wanted: [(&str, BTreeMap<Attributes, u64>); 4]| {
        let probe = |store: &Store| {
            let seen: Vec<_> = wanted.iter().map(|(name, _)| counted(store, name)).collect();
            Seen::when(seen.iter().eq(wanted.iter().map(|(_, counts)| counts)), seen)
        };
        scene.sink.wait_until("every connection and byte", LIMIT, probe).await
    };

    let mut long = EchoClient::connect(scene.envoy.listener("tcp_outbound")?).await?;
    long.exchange(&[b'.'; 1_000]).await?;
    wait_for([(OPENED, both(1)), (RECEIVED, both(1_000)), (SENT, both(1_000)), (CLOSED, BTreeMap::new())])
        .await?;

    let (connections, mut bytes) = (20, 1_000);
    for number in 1..=connections {
        let mut client = EchoClient::connect(scene.envoy.listener("tcp_outbound")?).await?;
        let size = number * 997;
        client.exchange(&vec![b'.'; size]).await?;
        client.close().await?;
        bytes += u64::try_from(size)?;
        EchoClient::connect(scene.envoy.listener("tcp_nowhere")?).await?.send_until_closed(b"").await?;
    }
    long.close().await?;
    let connections = u64::try_from(connections)?;
    let mut all = both(connections + 1);
    all.insert(blocked, connections);
    wait_for([(OPENED, all.clone()), (RECEIVED, both(bytes)), (SENT, both(bytes)), (CLOSED, all)]).await?;

    let stats = scene.stats().await?;
    for name in ["tcp_outbound", "tcp_inbound"] {
        assert_eq!(stats.counter(&format!("tcp.{name}.downstream_cx_total"))?, connections + 1, "{name}");
        assert_eq!(stats.counter(&format!("tcp.{name}.downstream_cx_rx_bytes_total"))?, bytes, "{name}");
        assert_eq!(stats.counter(&format!("tcp.{name}.downstream_cx_tx_bytes_total"))?, bytes, "{name}");
    }
    assert_eq!(stats.counter("tcp.tcp_nowhere.downstream_cx_total")?, connections);
    assert_eq!(stats.counter("wasmcustom.tributary_read_one_by_one")?, 0);
    Ok(())
}
