//! Validates the load generator: its tally equals the counters of an Envoy without Tributary.

use std::time::Duration;

use anyhow::Result;
use tributary_tests::admin::AdminStats;
use tributary_tests::config::EnvoyConfig;
use tributary_tests::envoy::{Envoy, EnvoyOptions};
use tributary_tests::load::{Load, Mix, Shape, Tally};
use tributary_tests::poll::{self, Seen};
use tributary_tests::upstream::{ServedRequests, Upstream, UpstreamFault};

use crate::exactness::{answered, broken};

const LIMIT: Duration = Duration::from_secs(60);

/// The three independent counts of one load.
struct Run {
    tally: Tally,
    stats: AdminStats,
    served: ServedRequests,
}

/// Sends `requests` requests of `shapes` through an Envoy without Tributary, with two workers.
async fn run(requests: u64, shapes: impl IntoIterator<Item = Shape>) -> Result<Run> {
    let upstream = Upstream::start(0).await?;
    let config = EnvoyConfig::minimal()?.without_wasm().free_ports().cluster_port("app", upstream.port());
    let mut envoy = Envoy::start(&config, &EnvoyOptions::workers(2)).await?;
    let load = Load::new(envoy.listener("ingress")?, requests, Mix::new(20, shapes)?);
    let tally = load.run(|_| ()).await?;
    println!("{requests} requests in {:.1} s", tally.elapsed.as_secs_f64());
    assert_eq!(tally.sent_by_shape(), load.mix.expected(requests));
    assert_eq!(tally.failed(), 0, "{:?}", tally.first_failure);

    // Envoy may not have read the request of a client that closed its connection early.
    poll::until("Envoy to finish every request", LIMIT, async || {
        let stats = envoy.admin().stats().await?;
        let total = stats.counter("http.ingress.downstream_rq_total")?;
        let active = stats.gauge("http.ingress.downstream_rq_active")?;
        Ok(Seen::when((total, active) == (requests, 0), (total, active)))
    })
    .await?;
    let stats = envoy.admin().stats().await?;
    assert!(envoy.terminate(LIMIT).await?.success(), "{}", envoy.log()?);
    Ok(Run { tally, stats, served: upstream.served() })
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_agree_with_envoys_counters_of_each_class() -> Result<()> {
    let Run { tally, stats, served } = run(
        50_000,
        answered().into_iter().chain([
            Shape::new("head", "HEAD", "/orders/1").weight(5),
            Shape::get("moved", "/orders/2").status(301).weight(5),
        ]),
    )
    .await?;
    let counter = |name: &str| stats.counter(&format!("http.ingress.downstream_{name}"));

    assert_eq!(tally.answered(), 50_000);
    assert_eq!(counter("rq_completed")?, tally.answered());
    for (class, name) in [(2, "rq_2xx"), (3, "rq_3xx"), (4, "rq_4xx"), (5, "rq_5xx")] {
        let answered = tally.answered_in_class(class);
        assert!(answered > 0, "no request for {name}");
        assert_eq!(counter(name)?, answered, "{name}");
    }
    assert_eq!(counter("rq_rx_reset")?, 0);
    assert_eq!(counter("cx_total")?, tally.connections);
    assert_eq!(tally.connections, 16, "every connection is kept alive");

    let sent = |shape: &str| tally.shape(shape).sent();
    assert_eq!(served.received, 50_000 - sent("health") - sent("no route"));
    assert_eq!(served.reset, sent("failing upstream"));
    let failing = tally.shape("failing upstream");
    assert_eq!(failing.answered, [(503, failing.sent())].into());
    let not_utf8 = tally.shape("not UTF-8");
    assert_eq!(not_utf8.answered, [(200, not_utf8.sent())].into());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn envoy_never_completes_aborted_requests() -> Result<()> {
    let Run { tally, stats, .. } = run(
        20_000,
        broken().into_iter().chain([
            Shape::get("users", "/users/1").weight(25),
            Shape::get("failing upstream", "/payments").fault(UpstreamFault::Reset).weight(2),
        ]),
    )
    .await?;
    let counter = |name: &str| stats.counter(&format!("http.ingress.downstream_{name}"));
    let sent = |shape: &str| tally.shape(shape).sent();

    // Envoy completes a request when it sends the response headers, even if the client has gone.
    assert_eq!(counter("rq_completed")?, tally.answered() + tally.truncated());
    assert_eq!(counter("rq_total")? - counter("rq_completed")?, tally.aborted());
    assert_eq!(tally.aborted(), sent("closed") + sent("reset") + sent("half a header"));
    assert_eq!(tally.truncated(), sent("reset later"));
    assert_eq!(tally.shape("malformed").answered, [(400, sent("malformed"))].into());
    assert_eq!(counter("cx_protocol_error")?, sent("malformed"));
    assert_eq!(counter("rq_5xx")?, sent("failing upstream"));
    assert_eq!(counter("cx_total")?, tally.connections);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_response_is_counted_by_its_status() -> Result<()> {
    // Sends only a few requests, because Envoy closes a connection with a truncated response after a second
    // (delayed_close_timeout).
    let broken = Shape::get("broken", "/orders").status(207).body_bytes(1000).fault(UpstreamFault::Truncate);
    let Run { tally, stats, served } = run(16, [broken]).await?;
    assert_eq!(tally.shape("broken").truncated, [(207, 16)].into());
    assert_eq!(stats.counter("http.ingress.downstream_rq_2xx")?, 16);
    assert_eq!(served.answered, [(207, 16)].into());
    Ok(())
}
