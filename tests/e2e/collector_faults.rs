//! Collectors that answer wrongly, late or not at all, next to a healthy one. Traffic continues, the healthy
//! collector is not delayed, each failure is counted by its cause, and after the faults every collector has
//! every request.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tributary_tests::ledger::EnvoyLedger;
use tributary_tests::load::Shape;
use tributary_tests::non_http_server::NonHttpServer;
use tributary_tests::poll::{self, Seen};
use tributary_tests::ports::ReservedPort;
use tributary_tests::scene::{DURATION, LIMIT, Scene, wait_for, with_destinations, with_short_times};
use tributary_tests::sink::{Fault, Sink, Store};

const REQUESTS: u64 = 2_000;
const DURATION_OF_CALLS: &str = "otel.sdk.exporter.operation.duration";
const POINTS: &str = "otel.sdk.exporter.metric_data_point.exported";
/// More than Envoy's size limit of answers (`http.async_response_buffer_limit`).
const TOO_LONG_BYTES: usize = 33 * 1024 * 1024;

/// A collector with a fault.
struct Case {
    name: &'static str,
    fault: Fault,
    /// The temporality, which is delta where possible, because duplicate and lost deltas would change the
    /// sum.
    temporality: &'static str,
    /// The `error.type` of the failure; `None` if the export counts as a success.
    error: Option<&'static str>,
    /// The expected text in Envoy's log.
    log: &'static str,
}

fn cases() -> [Case; 11] {
    let case = |name, fault, temporality, error, log| Case { name, fault, temporality, error, log };
    let partial = Fault::PartialSuccess { rejected: 3, message: "too old".to_owned() };
    [
        case("hanging", Fault::Hang, "delta", Some("504"), "HTTP 504, failure 1 in a row"),
        case("closing", Fault::Close, "delta", Some("503"), "HTTP 503, failure 1 in a row"),
        case(
            "cut",
            Fault::Truncate,
            "delta",
            Some("no_response"),
            "no complete response, failure 1 in a row",
        ),
        case(
            "flooding",
            Fault::Flood { bytes: TOO_LONG_BYTES },
            "delta",
            Some("no_response"),
            "no complete response, failure 1 in a row",
        ),
        case(
            "limiting",
            Fault::status(429).header("retry-after", "1"),
            "delta",
            Some("429"),
            "HTTP 429, failure 1 in a row, retry in 1s",
        ),
        case("unavailable", Fault::status(503), "delta", Some("503"), "HTTP 503, failure 1 in a row"),
        // A permanently rejected request is not sent again. The next cumulative point contains its
        // observations.
        case("rejecting", Fault::status(400), "cumulative", Some("400"), "HTTP 400, which is not retryable"),
        case("broken", Fault::status(500), "cumulative", Some("500"), "HTTP 500, which is not retryable"),
        // These collectors have stored the request and must not get it again.
        case("slow", Fault::Slow { delay: Duration::from_millis(400) }, "delta", None, ""),
        case("garbage", Fault::Garbage, "delta", None, ""),
        case("partial", partial, "delta", None, "the collector rejected 3 points: \"too old\""),
    ]
}

/// Counts the exports to a destination that failed with this error, as reported to the healthy collector.
fn calls(store: &Store, destination: &str, error: &str) -> u64 {
    store.count(DURATION_OF_CALLS, &[("otel.component.name", destination), ("error.type", error)])
}

/// The warnings in Envoy's log about a destination.
fn warnings_about(log: &str, destination: &str) -> Vec<String> {
    let mark = format!("tributary: destination \"{destination}\": ");
    let warnings = log.lines().filter(|line| line.contains("][warning][") && line.contains(&mark));
    warnings.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn collectors_with_faults_get_everything_in_the_end() -> Result<()> {
    let (cases, good) = (cases(), Sink::start(0).await?);
    let mut sinks = Vec::new();
    let mut destinations = vec![("good", good.address(), with_short_times(json!({})))];
    for case in &cases {
        let sink = Sink::start(0).await?;
        sink.fail_always(case.fault.clone());
        let destination = with_short_times(json!({"temporality": case.temporality}));
        destinations.push((case.name, sink.address(), destination));
        sinks.push(sink);
    }
    let scene = Scene::start(2, |config| with_destinations(config, &destinations)).await?;
    let tally = scene.load(REQUESTS, [Shape::get("users", "/users/1")]).await?;
    assert_eq!(tally.answered_in_class(2), REQUESTS);
    wait_for(&good, REQUESTS).await?;
    for case in &cases {
        let Some(error) = case.error else { continue };
        let failed = |store: &Store| {
            let calls = calls(store, case.name, error);
            Seen::when(calls >= 2, calls)
        };
        good.wait_until(&format!("two failures of {:?}", case.name), LIMIT, failed).await?;
    }
    // Meanwhile the healthy collector gets a second load.
    scene.load(REQUESTS, [Shape::get("orders", "/orders/1")]).await?;
    wait_for(&good, 2 * REQUESTS).await?;
    for sink in &sinks {
        sink.heal();
    }
    scene.load(REQUESTS, [Shape::get("users", "/users/1")]).await?;
    for (case, sink) in cases.iter().zip(&sinks) {
        wait_for(sink, 3 * REQUESTS).await.context(case.name)?;
        ensure!(sink.problems().is_empty(), "{}: {:?}", case.name, sink.problems());
    }
    EnvoyLedger::wait_until_settled(scene.envoy.admin(), 3 * REQUESTS).await?;

    let (stats, log) = (scene.stats().await?, scene.envoy.log()?);
    for case in &cases {
        let lines = warnings_about(&log, case.name);
        // A lasting failure is logged once a minute.
        let expected = usize::from(!case.log.is_empty());
        ensure!(lines.len() == expected, "{}: {lines:?}", case.name);
        ensure!(lines.iter().all(|line| line.contains(case.log)), "{}: {lines:?}", case.name);
    }
    ensure!(warnings_about(&log, "good").is_empty(), "{log}");
    let partial = sinks.last().context("a sink")?.received();
    let complained = partial.iter().filter(|received| received.answered == Some(200)).count();
    let rejected = stats.counter("wasmcustom.tributary_points_rejected")?;
    ensure!(
        rejected > 0 && rejected.is_multiple_of(3) && rejected / 3 <= complained.try_into()?,
        "{rejected}"
    );
    ensure!(stats.counter("wasmcustom.tributary_points_dropped")? > 0, "400 and 500 are drops");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn permanently_rejected_deltas_are_counted_exactly() -> Result<()> {
    let (good, rejecting) = (Sink::start(0).await?, Sink::start(0).await?);
    let destinations = [
        ("good", good.address(), json!({})),
        ("rejecting", rejecting.address(), json!({"temporality": "delta"})),
    ];
    let scene = Scene::start(2, |config| with_destinations(config, &destinations)).await?;
    rejecting.fail_always(Fault::status(400));
    scene.load(REQUESTS, [Shape::get("users", "/users/1")]).await?;
    wait_for(&good, REQUESTS).await?;
    let rejected = |store: &Store| {
        let points = store.sum(POINTS, &[("otel.component.name", "rejecting"), ("error.type", "400")]);
        Seen::when(points > 0, points)
    };
    good.wait_until("rejected points", LIMIT, rejected).await?;
    rejecting.heal();
    scene.load(REQUESTS, [Shape::get("users", "/users/1")]).await?;
    wait_for(&good, 2 * REQUESTS).await?;

    // The rejected and accepted requests together are all requests that were sent.
    let counted = poll::until("the rest to arrive", LIMIT, async || {
        let counts = received_by(&rejecting)?;
        Ok(Seen::when(counts.rejected_requests + counts.accepted_requests == 2 * REQUESTS, counts))
    })
    .await?;
    ensure!(counted.rejected_requests > 0, "{counted:?}");
    assert_eq!(rejecting.total_count(DURATION), counted.accepted_requests);
    let dropped = scene.envoy.admin().counter("wasmcustom.tributary_points_dropped").await?;
    assert_eq!(dropped, counted.rejected_points);
    let ledger = EnvoyLedger::wait_until_aggregated(scene.envoy.admin(), 2 * REQUESTS).await?;
    let rejecting = ledger.destination("rejecting")?;
    assert_eq!(
        (rejecting.lost(), rejecting.exported),
        (counted.rejected_requests, counted.accepted_requests)
    );
    assert_eq!(rejecting.dropped.get("collector"), Some(&counted.rejected_requests));
    assert_eq!(ledger.destination("good")?.lost(), 0);
    Ok(())
}

/// The contents of all requests to a sink.
#[derive(Debug, Default)]
struct ReceivedCounts {
    rejected_requests: u64,
    rejected_points: u64,
    accepted_requests: u64,
}

fn received_by(sink: &Sink) -> Result<ReceivedCounts> {
    let mut counts = ReceivedCounts::default();
    for received in sink.received() {
        let message = received.message.context("an invalid message")?;
        let (points, requests) = (message.points(), message.histogram_count(DURATION));
        if received.answered == Some(200) {
            counts.accepted_requests += requests;
        } else {
            counts.rejected_requests += requests;
            counts.rejected_points += u64::try_from(points)?;
        }
    }
    Ok(counts)
}

#[tokio::test(flavor = "multi_thread")]
async fn unreachable_collectors_delay_no_other_and_get_everything_once_reachable() -> Result<()> {
    let (good, late, non_http) = (Sink::start(0).await?, ReservedPort::new()?, NonHttpServer::start().await?);
    let empty = json!({"name": "empty", "load_assignment": {"cluster_name": "empty"}});
    let late_address = tributary_tests::ports::localhost(late.port());
    let destinations = [
        ("good", good.address(), json!({})),
        ("late", late_address, with_short_times(json!({"temporality": "delta"}))),
        ("non-http", non_http.address(), with_short_times(json!({}))),
        ("empty", late_address, with_short_times(json!({}))),
        ("nowhere", late_address, with_short_times(json!({}))),
    ];
    let scene = Scene::start(2, |config| {
        with_destinations(config, &destinations).cluster(empty).without_cluster("nowhere")
    })
    .await?;
    let tally = scene.load(REQUESTS, [Shape::get("users", "/users/1")]).await?;
    assert_eq!(tally.answered_in_class(2), REQUESTS);
    wait_for(&good, REQUESTS).await?;
    let port = late.port();
    let log = |text: &'static str| {
        let envoy = &scene.envoy;
        poll::until(text, LIMIT, async move || Ok(Seen::when(envoy.log_contains(text)?, "not logged")))
    };
    for line in [
        "destination \"late\": HTTP 503",
        "destination \"non-http\": HTTP 502",
        "destination \"empty\": Envoy rejects the call, because the cluster has no host, its circuit breaker \
         is open, or proxy_http_call is not allowed: check cluster \"empty\"",
        "destination \"nowhere\": Envoy rejects the call, because the cluster does not exist: check cluster \
         \"nowhere\"",
    ] {
        log(line).await?;
    }
    // The late collector starts, ends and starts again, each time as a new process on the same port.
    drop(late);
    let mut sink = Sink::start(port).await?;
    wait_for(&sink, REQUESTS).await?;
    let failed = scene.envoy.admin().counter("wasmcustom.tributary_exports_failed").await?;
    let before = sink.store();
    drop(sink);
    scene.load(REQUESTS, [Shape::get("users", "/users/1")]).await?;
    wait_for(&good, 2 * REQUESTS).await?;
    ensure!(scene.envoy.admin().counter("wasmcustom.tributary_exports_failed").await? > failed, "no failure");
    sink = Sink::start(port).await?;
    let all = |store: &Store| {
        let count = before.count(DURATION, &[]) + store.count(DURATION, &[]);
        Seen::when(count == 2 * REQUESTS, count)
    };
    sink.wait_until("the requests during its absence", LIMIT, all).await?;
    let ledger = EnvoyLedger::wait_until_aggregated(scene.envoy.admin(), 2 * REQUESTS).await?;
    for (name, exported) in [("good", 2 * REQUESTS), ("late", 2 * REQUESTS), ("empty", 0), ("nowhere", 0)] {
        let destination = ledger.destination(name)?;
        let parts = (destination.exported, destination.waiting, destination.lost());
        ensure!(parts == (exported, 2 * REQUESTS - exported, 0), "{name}: {parts:?}");
    }
    Ok(())
}
