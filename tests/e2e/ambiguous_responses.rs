//! Deltas whose confirmation does not arrive: the collector may or may not have stored them. Deltas that
//! are sent again are counted as possibly duplicated; with `on_ambiguous: drop` they are not sent again.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tributary_tests::ledger::EnvoyLedger;
use tributary_tests::load::Shape;
use tributary_tests::poll::{self, Seen};
use tributary_tests::ports::{ReservedPort, localhost};
use tributary_tests::scene::{DURATION, LIMIT, Scene, with_destinations, with_short_times};
use tributary_tests::sink::{Fault, Sink};

const REQUESTS: u64 = 500;

/// Longer than any test. With this delay a collector stores the request, but its answer never arrives.
const NEVER: Duration = Duration::from_secs(600);

async fn possibly_duplicated(scene: &Scene, destination: &str) -> Result<u64> {
    let name = format!("wasmcustom.tributary_points_possibly_duplicated.{destination}");
    scene.envoy.admin().counter(&name).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_again_counts_as_possibly_duplicated_unless_the_collector_does_not_have_it() -> Result<()>
{
    let cases = [
        ("hanging", Fault::Hang, true),
        ("closing", Fault::Close, true),
        ("truncating", Fault::Truncate, true),
        ("gateway_502", Fault::status(502), true),
        ("gateway_504", Fault::status(504), true),
        ("limiting", Fault::status(429), false),
        ("unavailable", Fault::status(503), false),
    ];
    let closed_port = ReservedPort::new()?;
    let mut sinks = Vec::new();
    let mut destinations = vec![(
        "unreachable",
        localhost(closed_port.port()),
        with_short_times(json!({"temporality": "delta"})),
    )];
    for (name, fault, _) in &cases {
        let sink = Sink::start(0).await?;
        sink.fail_always(fault.clone());
        destinations.push((*name, sink.address(), with_short_times(json!({"temporality": "delta"}))));
        sinks.push(sink);
    }
    let scene = Scene::start(1, |config| with_destinations(config, &destinations)).await?;
    scene.load(REQUESTS, [Shape::get("users", "/users/1")]).await?;
    for ((name, _, is_ambiguous), sink) in cases.iter().zip(&sinks) {
        poll::until(&format!("two attempts of {name}"), LIMIT, async || {
            let received = sink.received().len();
            Ok(Seen::when(received >= 2, received))
        })
        .await?;
        if *is_ambiguous {
            poll::until(&format!("possibly duplicated points of {name}"), LIMIT, async || {
                let points = possibly_duplicated(&scene, name).await?;
                Ok(Seen::when(points > 0, points))
            })
            .await?;
        } else {
            assert_eq!(possibly_duplicated(&scene, name).await?, 0, "{name}");
        }
    }
    poll::until("a failed connection", LIMIT, async || {
        let log = scene.envoy.log()?;
        Ok(Seen::when(log.contains("destination \"unreachable\": HTTP 503"), log))
    })
    .await?;
    assert_eq!(possibly_duplicated(&scene, "unreachable").await?, 0);
    Ok(())
}

/// Suspends Envoy until an export has timed out although the collector has stored it.
async fn suspended(on_ambiguous: &str) -> Result<(Scene, Sink, u64)> {
    let sink = Sink::start(0).await?;
    sink.fail_next(1, &Fault::Slow { delay: NEVER });
    let destination =
        with_short_times(json!({"temporality": "delta", "on_ambiguous": on_ambiguous, "timeout": "2s"}));
    // The service exports nothing before the requests.
    let scene = Scene::start(1, |config| {
        let destinations = [("collector", sink.address(), destination)];
        with_destinations(config.service("self_metrics", false), &destinations)
    })
    .await?;
    scene.load(REQUESTS, [Shape::get("users", "/users/1")]).await?;
    let first = poll::until("an export", LIMIT, async || {
        let received = sink.received();
        Ok(received.first().cloned().map_or(Seen::Pending("nothing".to_owned()), Seen::Ready))
    })
    .await?;
    let stored = first.message.context("a message")?.histogram_count(DURATION);
    scene.envoy.suspend(Duration::from_secs(3)).await?;
    Ok((scene, sink, stored))
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_suspension_deltas_that_are_sent_again_are_counted() -> Result<()> {
    let (scene, sink, stored) = suspended("retry").await?;
    // The sink stores no points whose time overlaps that of the previous ones, and responds with 400.
    poll::until("the requests, some of them twice", LIMIT, async || {
        let messages = sink.received().into_iter().filter_map(|received| received.message);
        let count = messages.map(|message| message.histogram_count(DURATION)).sum::<u64>();
        Ok(Seen::when(count == REQUESTS + stored, count))
    })
    .await?;
    ensure!(stored > 0 && possibly_duplicated(&scene, "collector").await? > 0, "{stored} twice");
    let warning = "HTTP 504, failure 1 in a row, retry in ";
    ensure!(
        scene.envoy.log_contains(warning)?
            && scene.envoy.log_contains("; the collector may have these deltas already")?
    );
    EnvoyLedger::read(scene.envoy.admin()).await?.check_destinations()
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_suspension_deltas_are_not_sent_again_if_they_are_dropped_when_ambiguous() -> Result<()> {
    let (scene, sink, stored) = suspended("drop").await?;
    let ledger = poll::until("the ledger to be settled", LIMIT, async || {
        let ledger = EnvoyLedger::read(scene.envoy.admin()).await?;
        let waiting = ledger.destination("collector")?.waiting;
        Ok(Seen::when(ledger.aggregated == REQUESTS && waiting == 0, ledger))
    })
    .await?;
    ledger.check()?;
    let destination = ledger.destination("collector")?;
    assert_eq!(
        (destination.dropped.get("ambiguous"), destination.exported),
        (Some(&stored), REQUESTS - stored)
    );
    assert_eq!(sink.store().count(DURATION, &[]), REQUESTS, "the collector had what was dropped");
    assert_eq!(possibly_duplicated(&scene, "collector").await?, 0);
    ensure!(scene.envoy.log_contains("; these deltas are dropped")?);
    Ok(())
}
