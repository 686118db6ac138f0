//! TCP connections in a worker on the in-memory Envoy.

use super::*;

fn connection(received: i64) -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("source.address", b"10.0.0.1:4711".to_vec()),
        ("destination.address", b"10.0.0.2:443".to_vec()),
        ("connection.requested_server_name", b"a.example".to_vec()),
        ("response.flags", 0_i64.to_le_bytes().to_vec()),
        ("request.size", received.to_le_bytes().to_vec()),
        ("response.size", 0_i64.to_le_bytes().to_vec()),
        ("request.time", 1_000_000_000_i64.to_le_bytes().to_vec()),
    ]
}

#[test]
fn a_long_connection_is_reported_while_it_is_open_and_closed_once() {
    fake::reset();
    let token = fake::with(|host| host.queues.register(QUEUE_TCP, "service"));
    let mut worker = worker(r#"{"preset": "tcp", "report_interval": "5s"}"#);
    let stream = ContextId::new(9);
    let at = |seconds: u64, received: i64| {
        fake::with(|host| {
            host.now_unix_nano = seconds * 1_000_000_000;
            let attributes = connection(received).into_iter().map(|(path, value)| (path.to_owned(), value));
            host.streams.open = [(9, attributes.collect())].into();
        });
    };
    at(1, 0);
    worker.connection_opened(stream);
    at(3, 10);
    worker.tick();
    assert_eq!(batches(token).len(), 0, "not yet due");
    let mut seen = Vec::new();
    for (seconds, received, ended) in [(6, 100, false), (11, 250, false), (12, 300, true)] {
        at(seconds, received);
        if ended {
            fake::with(|host| host.streams.begin(connection(received)));
            worker.stream_ended(stream, true);
        }
        worker.tick();
        let batch = batches(token).remove(0);
        let [series] = &batch.groups[0].series[..] else { panic!("one series") };
        let [
            Point::Counter(opened),
            Point::Counter(closed),
            Point::Counter(bytes),
            _,
            Point::Histogram(duration),
        ] = &series.points[..]
        else {
            panic!("{:?}", series.points)
        };
        seen.push((batch.observations(), *opened, *closed, *bytes, duration.sum()));
        assert_eq!(attribute(series, "source.address"), "10.0.0.1");
    }
    assert_eq!(seen, [(0, 1, 0, 100, 0), (0, 0, 0, 150, 0), (1, 0, 1, 50, 11_000_000_000)]);
    let (evaluations, slow) =
        fake::with(|host| (host.streams.evaluations, host.stat("tributary_read_one_by_one")));
    assert_eq!((evaluations, slow), (1, 0), "only at the end: Envoy evaluates no expressions on a tick");
}

#[test]
fn a_connection_in_a_mesh_has_its_final_attributes_while_it_is_open() {
    fake::reset();
    let token = fake::with(|host| host.queues.register(QUEUE_TCP, "service"));
    let mut worker = worker(r#"{"preset": "istio_tcp"}"#);
    let principal = "spiffe://cluster.local/ns/prod/sa/mysql";
    let attributes = [
        connection(10),
        vec![
            ("xds.listener_direction", 2_i64.to_le_bytes().to_vec()),
            (
                "xds.upstream_host_metadata.filter_metadata.istio.workload",
                b"mysql-v1;prod;mysql;v2;c1".to_vec(),
            ),
            ("upstream.uri_san_peer_certificate", principal.as_bytes().to_vec()),
        ],
    ]
    .concat();
    let owned = attributes.into_iter().map(|(path, value)| (path.to_owned(), value));
    fake::with(|host| host.streams.open = [(9, owned.collect())].into());
    worker.connection_opened(ContextId::new(9));
    fake::with(|host| host.now_unix_nano = 100_000_000_000);
    worker.tick();
    let batch = batches(token).remove(0);
    let [series] = &batch.groups[0].series[..] else { panic!("one series") };
    for (name, value) in [
        ("reporter", "source"),
        ("destination_workload", "mysql-v1"),
        ("destination_workload_namespace", "prod"),
        ("destination_canonical_revision", "v2"),
        ("destination_cluster", "c1"),
        ("destination_app", "unknown"),
        ("destination_principal", principal),
        ("source_principal", "unknown"),
        ("connection_security_policy", "unknown"),
    ] {
        assert_eq!(attribute(series, name), value, "{name}");
    }
}

#[test]
fn a_connection_whose_attributes_need_an_expression_is_observed_only_at_its_end() {
    fake::reset();
    let token = fake::with(|host| host.queues.register(QUEUE_TCP, "service"));
    let json =
        r#"{"preset": "tcp", "dimensions": [{"name": "tenant", "cel": "tenant()", "default": "none"}]}"#;
    let mut worker = worker(json);
    let attributes = || [connection(10), vec![("tenant()", b"acme".to_vec())]].concat();
    let stream = ContextId::new(9);
    fake::with(|host| {
        let owned = attributes().into_iter().map(|(path, value)| (path.to_owned(), value));
        host.streams.open = [(9, owned.collect())].into();
    });
    worker.connection_opened(stream);
    fake::with(|host| host.now_unix_nano = 100_000_000_000);
    worker.tick();
    assert_eq!(batches(token).len(), 0, "it would be counted without its tenant");
    fake::with(|host| host.streams.begin(attributes()));
    worker.stream_ended(stream, true);
    worker.tick();
    let batch = batches(token).remove(0);
    let [series] = &batch.groups[0].series[..] else { panic!("one series") };
    assert_eq!(attribute(series, "tenant"), "acme");
    assert!(matches!(series.points[..2], [Point::Counter(1), Point::Counter(1)]), "{:?}", series.points);
}

#[test]
fn a_network_filter_configured_for_http_logs_it_once() {
    fake::reset();
    let mut worker = worker("");
    worker.connection_opened(ContextId::new(1));
    worker.connection_opened(ContextId::new(2));
    let lines =
        fake::with(|host| host.logged(LogLevel::Warn).into_iter().map(str::to_owned).collect::<Vec<_>>());
    assert!(matches!(&lines[..], [line] if line.contains("set preset to \"tcp\"")), "{lines:?}");
}
