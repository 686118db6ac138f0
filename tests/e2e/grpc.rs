//! gRPC calls: each is counted once, by its method and status, with its messages.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tokio::task::JoinSet;
use tributary_tests::admin::AdminStats;
use tributary_tests::config::EnvoyConfig;
use tributary_tests::grpc::{GrpcClient, GrpcResponse, GrpcServer, MESSAGE, method};
use tributary_tests::metrics::to_count;
use tributary_tests::poll::{self, Seen};
use tributary_tests::ports::{ReservedPort, localhost};
use tributary_tests::scene::{COUNTER, DURATION, LIMIT, Scene};
use tributary_tests::sink::Store;

const CALL_DURATION: &str = "rpc.server.call.duration";
const REQUESTS: &str = "rpc.server.requests_per_rpc";
const RESPONSES: &str = "rpc.server.responses_per_rpc";

/// The number of calls of each case, each on a separate connection.
const ROUNDS: u64 = 10;

/// The number of messages of a long stream.
const MANY: u64 = 500;

/// The behaviour of a client.
#[derive(Clone, Copy, Debug)]
enum Client {
    /// Sends this many messages and receives all answers.
    Send(u64),
    /// Requests this many messages.
    Ask(u64),
    /// Sends this many messages, each after the answer to the previous one.
    InTurn(u64),
    /// Sends one message with a deadline of 100 ms.
    Deadline,
    /// Cancels after the first message of the answer.
    Cancel,
    /// Cancels before the answer, once the server has received the call.
    CancelEarly,
}

/// A call with the expected values of `rpc.method`, `rpc.status_code` (here a number) and `error.type`.
#[derive(Clone, Copy, Debug)]
struct Case {
    path: &'static str,
    client: Client,
    method: &'static str,
    status: i64,
    error: Option<&'static str>,
    /// Checks the answer that the client received.
    seen: fn(&GrpcResponse) -> bool,
}

/// A case whose `rpc.method` is the path.
fn case(
    path: &'static str,
    client: Client,
    (status, error): (i64, Option<&'static str>),
    seen: fn(&GrpcResponse) -> bool,
) -> Case {
    Case { path, client, method: path.trim_start_matches('/'), status, error, seen }
}

/// Calls whose client receives a status.
fn answered() -> Vec<Case> {
    let one = Client::Send(1);
    let (ok, internal, unavailable) = ((0, None), (13, Some("INTERNAL")), (14, Some("UNAVAILABLE")));
    let unimplemented = |path| {
        // Clients can send any method, so unknown methods are not values.
        let seen: fn(&GrpcResponse) -> bool = |answer| answer.status == Some(12);
        Case { method: "_OTHER", ..case(path, one, (12, Some("UNIMPLEMENTED")), seen) }
    };
    vec![
        case(method::GET, one, ok, |answer| (answer.status, answer.messages) == (Some(0), 1)),
        case(method::UPLOAD, Client::Send(MANY), ok, |answer| {
            (answer.status, answer.messages) == (Some(0), 1)
        }),
        case(method::LIST, Client::Ask(MANY), ok, |answer| {
            (answer.status, answer.messages) == (Some(0), MANY)
        }),
        case(method::CHAT, Client::Send(MANY), ok, |answer| {
            (answer.status, answer.messages) == (Some(0), MANY)
        }),
        case(method::CHAT, Client::InTurn(50), ok, |answer| {
            (answer.status, answer.messages) == (Some(0), 50)
        }),
        case(method::FAIL, one, internal, |answer| answer.status == Some(13)),
        unimplemented("/shop.Orders/Unknown"),
        // Envoy answers these calls itself: without a route, without an upstream, after a reset, after a
        // timeout, after the deadline.
        unimplemented("/shop.Nowhere/Get"),
        case("/shop.Down/Get", one, unavailable, |answer| answer.status == Some(14)),
        case(method::RESET, one, unavailable, |answer| answer.status == Some(14)),
        case(method::WAIT, one, unavailable, |answer| answer.status == Some(14)),
        case(method::HANG, Client::Deadline, (4, Some("DEADLINE_EXCEEDED")), |answer| {
            answer.status == Some(4)
        }),
    ]
}

/// Calls that are cancelled or reset, and one whose upstream does not speak gRPC.
fn without_status() -> Vec<Case> {
    let (cancelled, unknown, unavailable) = ((1, None), (2, Some("UNKNOWN")), (14, Some("UNAVAILABLE")));
    vec![
        case(method::WATCH, Client::Cancel, cancelled, |answer| answer.messages == 1),
        case(method::IGNORE, Client::CancelEarly, cancelled, |answer| *answer == GrpcResponse::default()),
        case(method::BREAK, Client::InTurn(1), unknown, |answer| answer.reset && answer.status.is_none()),
        case(method::PAGE, Client::Send(1), unavailable, |answer| answer.http_status == Some(503)),
    ]
}

/// The attributes of a series of calls: `rpc.method`, `rpc.status_code` and `error.type`.
type Series = [Option<String>; 3];

/// Returns the name of a status.
fn name(status: i64) -> &'static str {
    match status {
        0 => "OK",
        1 => "CANCELLED",
        2 => "UNKNOWN",
        4 => "DEADLINE_EXCEEDED",
        12 => "UNIMPLEMENTED",
        13 => "INTERNAL",
        14 => "UNAVAILABLE",
        _ => "another",
    }
}

/// An Envoy with `envoy/grpc.yaml` in front of a gRPC server.
struct GrpcScene {
    scene: Scene,
    server: Arc<GrpcServer>,
    _closed_port: ReservedPort,
}

impl GrpcScene {
    async fn start(edit: impl FnOnce(EnvoyConfig) -> EnvoyConfig) -> Result<Self> {
        let (server, closed_port) = (GrpcServer::start().await?, ReservedPort::new()?);
        let route = |name, matched, action| json!({"name": name, "match": matched, "route": action});
        let scene = Scene::of("envoy/grpc.yaml", "otlp_collector", 2, |config| {
            edit(
                config
                    .cluster_port("app", server.port())
                    .static_cluster("down", localhost(closed_port.port()))
                    .route(route("down", json!({"prefix": "/shop.Down/"}), json!({"cluster": "down"})))
                    .route(route(
                        "wait",
                        json!({"path": method::WAIT}),
                        json!({"cluster": "app", "timeout": "0.1s"}),
                    )),
            )
        })
        .await?;
        Ok(Self { scene, server: Arc::new(server), _closed_port: closed_port })
    }

    /// Makes the calls of all cases; different cases run concurrently. Returns the number of calls by
    /// series.
    async fn call(&self, cases: Vec<Case>) -> Result<BTreeMap<Series, u64>> {
        let ingress = self.scene.envoy.listener("ingress")?;
        let mut running = JoinSet::new();
        for case in cases {
            let server = Arc::clone(&self.server);
            running.spawn(async move {
                for round in 1..=ROUNDS {
                    let client = GrpcClient::connect(ingress).await?;
                    let answer = call(case, &client, &server, round).await;
                    let answer = answer.with_context(|| format!("{case:?}"))?;
                    ensure!((case.seen)(&answer), "{case:?}: {answer:?}");
                }
                let series = [Some(case.method), Some(name(case.status)), case.error];
                anyhow::Ok(series.map(|text| text.map(str::to_owned)))
            });
        }
        let mut calls: BTreeMap<Series, u64> = BTreeMap::new();
        while let Some(series) = running.join_next().await {
            *calls.entry(series??).or_default() += ROUNDS;
        }
        Ok(calls)
    }

    /// Waits until Envoy has finished `total` calls and the collector has all of them in each of `metrics`.
    async fn wait_for(&self, total: u64, metrics: &[&str]) -> Result<(AdminStats, Store)> {
        poll::until("every call to be finished and counted", LIMIT, async || {
            let (stats, store) = (self.scene.stats().await?, self.scene.sink.store());
            let of_envoy = stats.counter("http.ingress.downstream_rq_total")?;
            let active = stats.gauge("http.ingress.downstream_rq_active")?;
            let counted: Vec<_> =
                metrics.iter().map(|name| store.count(name, &[]) + store.sum(name, &[])).collect();
            let is_finished = (of_envoy, active) == (total, 0) && counted.iter().all(|count| *count == total);
            Ok(match is_finished {
                true => Seen::Ready((stats, store)),
                false => Seen::Pending(format!(
                    "{of_envoy} of {total} calls, {active} active, {counted:?} counted"
                )),
            })
        })
        .await
    }
}

/// Makes call number `round` of a case.
async fn call(case: Case, client: &GrpcClient, server: &GrpcServer, round: u64) -> Result<GrpcResponse> {
    let timeout: &[_] =
        if matches!(case.client, Client::Deadline) { &[("grpc-timeout", "100m")] } else { &[] };
    let mut call = client.call(case.path, timeout).await?;
    match case.client {
        Client::Send(messages) => (0..messages).try_for_each(|_| call.send(&MESSAGE))?,
        Client::Ask(messages) => call.send(messages.to_string().as_bytes())?,
        Client::Deadline => call.send(&MESSAGE)?,
        Client::InTurn(messages) => {
            for _ in 0..messages {
                call.send(&MESSAGE)?;
                call.receive().await?.context("no answer")?;
            }
        }
        Client::Cancel => {
            call.send(&MESSAGE)?;
            call.receive().await?.context("no answer")?;
            return Ok(call.cancel());
        }
        Client::CancelEarly => {
            server.wait_for_calls(case.path, round).await?;
            return Ok(call.cancel());
        }
    }
    call.finish().await
}

/// The counted calls by series.
fn counted(store: &Store) -> BTreeMap<Series, u64> {
    let mut counted = BTreeMap::new();
    for point in store.histogram_points(CALL_DURATION) {
        let text = |key| point.attributes.get(key).map(ToString::to_string);
        let series = ["rpc.method", "rpc.status_code", "error.type"].map(text);
        *counted.entry(series).or_default() += point.histogram.count;
    }
    counted
}

/// Sums a statistic of Envoy's grpc_stats filter over all clusters.
fn grpc_stat(stats: &AdminStats, name: &str) -> u64 {
    let clusters = stats.counters("cluster.").into_iter();
    clusters.filter(|(key, _)| key.ends_with(&format!(".grpc.{name}"))).map(|(_, value)| value).sum()
}

/// The sum of a histogram of message counts.
fn sum(store: &Store, name: &str) -> u64 {
    store.histogram_points(name).iter().map(|point| to_count(point.histogram.sum)).sum()
}

async fn each_call_is_counted(attach: fn(EnvoyConfig) -> EnvoyConfig) -> Result<()> {
    let scene = GrpcScene::start(attach).await?;
    let cases = [answered(), without_status()].concat();
    let total = ROUNDS * u64::try_from(cases.len())?;
    let calls = scene.call(cases).await?;
    let (stats, store) = scene.wait_for(total, &[DURATION, CALL_DURATION, COUNTER]).await?;
    assert_eq!(counted(&store), calls);

    let envoy = |name: &str| stats.counter(&format!("http.ingress.downstream_rq_{name}"));
    let with_status = |status| store.count(DURATION, &[("http.response.status_code", status)]);
    assert_eq!([with_status("200"), with_status("503")], [envoy("2xx")?, envoy("5xx")?]);
    assert_eq!(
        [with_status("503"), total - with_status("200")],
        [ROUNDS, 2 * ROUNDS],
        "503 pages, and calls without an answer"
    );
    assert_eq!(store.count(CALL_DURATION, &[("rpc.system.name", "grpc")]), total);
    assert_eq!(stats.counter("wasmcustom.tributary_observations_aggregated")?, total);
    assert_eq!(stats.counter("wasmcustom.tributary_read_one_by_one")?, 0);
    assert_eq!(stats.counter("wasmcustom.tributary_values_mistyped")?, 0);

    // Envoy's grpc_stats counts the sent statuses and the messages of calls with a cluster.
    for (number, name, unsent) in [
        ("0", "OK", 0),
        ("4", "DEADLINE_EXCEEDED", 0),
        ("12", "UNIMPLEMENTED", ROUNDS),
        ("13", "INTERNAL", 0),
        ("14", "UNAVAILABLE", ROUNDS),
    ] {
        let counted = store.count(CALL_DURATION, &[("rpc.status_code", name)]);
        assert_eq!(counted, grpc_stat(&stats, number) + unsent, "{name}");
    }
    for (metric, name) in [(REQUESTS, "request_message_count"), (RESPONSES, "response_message_count")] {
        let messages = sum(&store, metric);
        assert!(messages >= 2 * MANY * ROUNDS, "{metric}: {messages}");
        assert_eq!(messages, grpc_stat(&stats, name), "{metric}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_http_filter_counts_each_call() -> Result<()> {
    each_call_is_counted(|config| config).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_access_logger_counts_each_call() -> Result<()> {
    each_call_is_counted(EnvoyConfig::as_access_logger).await
}

/// Keeps only the HTTP filters at the positions `places`, in this order.
fn with_filters(config: EnvoyConfig, places: &[usize]) -> EnvoyConfig {
    let path = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.http_filters";
    let filter = |place: &usize| config.get(&format!("{path}[{place}]")).cloned();
    match places.iter().map(filter).collect::<Result<Vec<_>>>() {
        Ok(filters) => config.set(path, filters),
        Err(error) => config.edit(|_| Err(error)),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_grpc_stats_calls_are_counted_and_messages_are_not() -> Result<()> {
    let scene = GrpcScene::start(|config| with_filters(config, &[0, 2])).await?;
    let cases = answered();
    let total = ROUNDS * u64::try_from(cases.len())?;
    let calls = scene.call(cases).await?;
    let (stats, store) = scene.wait_for(total, &[DURATION, CALL_DURATION, COUNTER]).await?;
    assert_eq!(counted(&store), calls);
    assert_eq!([REQUESTS, RESPONSES].map(|metric| store.count(metric, &[])), [0, 0]);
    assert_eq!(stats.counter("wasmcustom.tributary_read_one_by_one")?, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_istio_preset_has_the_labels_and_messages_of_the_calls() -> Result<()> {
    let scene = GrpcScene::start(|config| with_filters(config.worker("preset", "istio"), &[1, 0, 2])).await?;
    let cases = answered();
    let total = ROUNDS * u64::try_from(cases.len())?;
    let calls = scene.call(cases).await?;
    let requests = "istio_requests_total";
    let (stats, store) = scene.wait_for(total, &[requests, COUNTER]).await?;
    assert_eq!(store.sum(requests, &[("request_protocol", "grpc")]), total);
    for status in [0, 4, 12, 13, 14] {
        let with_status = calls.iter().filter(|([_, text, _], _)| text.as_deref() == Some(name(status)));
        let label = status.to_string();
        let counted = store.sum(requests, &[("grpc_response_status", &label)]);
        assert_eq!(counted, with_status.map(|(_, calls)| calls).sum::<u64>(), "{label}");
    }
    for (metric, name) in [
        ("istio_request_messages_total", "request_message_count"),
        ("istio_response_messages_total", "response_message_count"),
    ] {
        assert!(store.sum(metric, &[]) >= 2 * MANY * ROUNDS, "{metric}");
        assert_eq!(store.sum(metric, &[]), grpc_stat(&stats, name), "{metric}");
    }
    assert_eq!(stats.counter("wasmcustom.tributary_read_one_by_one")?, 0);
    Ok(())
}
