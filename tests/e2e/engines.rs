//! Real engines read what the service sent: buckets, quantiles and sums in both temporalities.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::json;
use tributary_tests::load::Shape;
use tributary_tests::metrics::{HistogramPoint, ReceivedHistogram};
use tributary_tests::poll::{self, Seen};
use tributary_tests::rotel::{self, Rotel};
use tributary_tests::scene::{COUNTER, DURATION, LIMIT, Scene, wait_for, with_destinations};
use tributary_tests::sink::Sink;
use tributary_tests::victoria_metrics::{self, VictoriaMetrics};

const REQUESTS: u64 = 4_000;

/// Requests in different buckets, one series for each shape.
fn shapes() -> [Shape; 5] {
    [
        Shape::get("fast", "/health").weight(5),
        Shape::get("users", "/users/1").weight(4),
        Shape::get("missing", "/users/2").status(404).weight(2),
        Shape::get("slow", "/orders/3").delay_ms(30).weight(2),
        Shape::get("slowest", "/payments").delay_ms(120).weight(1),
    ]
}

/// Groups histograms by route and status.
fn by_series(points: Vec<HistogramPoint>) -> Result<BTreeMap<(String, String), ReceivedHistogram>> {
    let of = |point: &HistogramPoint, key: &str| {
        let value = point.attributes.get(key).with_context(|| format!("{point:?} has no {key}"))?;
        Ok::<_, anyhow::Error>(value.to_string())
    };
    let series = points.into_iter().map(|point| {
        Ok(((of(&point, "http.route")?, of(&point, "http.response.status_code")?), point.histogram))
    });
    series.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn victoria_metrics_reads_the_buckets_and_their_quantiles() -> Result<()> {
    let (engine, sink) = (VictoriaMetrics::start(0).await?, Sink::start(0).await?);
    let destinations = [
        ("engine", engine.address(), json!({"path": victoria_metrics::OTLP_PATH, "compression": "gzip"})),
        ("sink", sink.address(), json!({})),
    ];
    let scene = Scene::start(2, |config| with_destinations(config, &destinations)).await?;
    scene.load(REQUESTS, shapes()).await?;
    wait_for(&sink, REQUESTS).await?;
    poll::until("VictoriaMetrics to have every request", LIMIT, async || {
        let count = engine.total_count(DURATION).await?;
        Ok(Seen::when(count == REQUESTS, count))
    })
    .await?;

    assert_eq!(engine.sum(COUNTER, &[]).await?, REQUESTS);
    let read = by_series(engine.histogram_points(DURATION).await?)?;
    let sent = by_series(sink.store().histogram_points(DURATION))?;
    assert_eq!(sent.len(), 5);
    assert!(read.keys().eq(sent.keys()), "{:?}", read.keys());
    for ((route, status), histogram) in &sent {
        let found = &read[&(route.clone(), status.clone())];
        assert_eq!((&found.bounds, &found.buckets), (&histogram.bounds, &histogram.buckets), "{route}");
        assert!((found.sum - histogram.sum).abs() < 1e-9, "{route}: {} is not {}", found.sum, histogram.sum);
        for quantile in [0.1, 0.5, 0.9, 0.99] {
            let wanted = [("http.route", route.as_str()), ("http.response.status_code", status.as_str())];
            let found = engine.quantile(quantile, DURATION, &wanted, None).await?;
            let expected = histogram.quantile(quantile);
            let is_equal =
                found.zip(expected).is_some_and(|(found, expected)| (found - expected).abs() < 1e-9);
            assert!(is_equal, "{quantile} of {route}: {found:?}, by the buckets {expected:?}");
        }
    }
    Ok(())
}

/// Uses rotel, because neither Prometheus nor VictoriaMetrics stores deltas. Rotel logs what it decodes and
/// forwards it.
#[tokio::test(flavor = "multi_thread")]
async fn deltas_reach_a_collector_as_deltas_and_add_up() -> Result<()> {
    let (behind, sink) = (Sink::start(0).await?, Sink::start(0).await?);
    let mut rotel = Rotel::start(0, Some(behind.address())).await?;
    let delta =
        json!({"path": rotel::OTLP_PATH, "compression": "gzip", "temporality": "delta", "interval": "1s"});
    let destinations = [("rotel", rotel.address(), delta), ("sink", sink.address(), json!({}))];
    let scene = Scene::start(2, |config| with_destinations(config, &destinations)).await?;
    for round in 1..=3 {
        scene.load(REQUESTS, shapes()).await?;
        wait_for(&sink, round * REQUESTS).await?;
        wait_for(&behind, round * REQUESTS).await?;
    }
    rotel.process().wait_for_log("AGGREGATION_TEMPORALITY_DELTA", LIMIT).await?;
    let (read, sent) = (behind.store(), sink.store());
    let (read, sent) =
        (by_series(read.histogram_points(DURATION))?, by_series(sent.histogram_points(DURATION))?);
    for (series, histogram) in &sent {
        assert_eq!((&read[series].bounds, &read[series].buckets), (&histogram.bounds, &histogram.buckets));
    }
    assert!(read.keys().eq(sent.keys()));
    assert_eq!(behind.problems(), Vec::<String>::new());
    Ok(())
}
