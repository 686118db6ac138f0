//! How cost grows with the number of series, of workers and of dimensions.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Value, json};
use tributary_tests::admin::Admin;
use tributary_tests::config::EnvoyConfig;
use tributary_tests::envoy::{Envoy, EnvoyOptions};
use tributary_tests::poll::{self, Seen};

use super::cpu::{self, Spent};
use super::statistic::real;

/// How many series there are, with one worker.
pub(crate) const SERIES: [u64; 5] = [10, 100, 1_000, 10_000, 100_000];
/// How many workers there are, with [`SERIES_OF_WORKERS`].
pub(crate) const WORKERS: [u32; 3] = [1, 2, 4];
pub(crate) const SERIES_OF_WORKERS: u64 = 100;
/// How many dimensions there are.
pub(crate) const DIMENSIONS: [usize; 5] = [1, 2, 4, 8, 16];

/// Longer than an export's interval.
const MEASURED_S: u64 = 11;
/// Requests per second that the load generator is sure to make.
const SLOWEST_PER_S: u64 = 8_000;
const LIMIT: Duration = Duration::from_secs(60);
const SERIES_MAX: u64 = 200_000;
const LOOP_DURATION: &str = "server.dispatcher.loop_duration_us";
/// Longer than Envoy takes to merge its histograms.
const MERGING: Duration = Duration::from_millis(500);
const TABLE: &str = "wasmcustom.tributary_series";

/// Attributes that every stream of the benchmark has.
const ATTRIBUTES: [&str; 16] = [
    "request.method",
    "response.code",
    "xds.route_name",
    "request.scheme",
    "response.flags",
    "request.protocol",
    "request.host",
    "request.path",
    "request.url_path",
    "response.code_details",
    "request.total_size",
    "response.total_size",
    "source.address",
    "destination.address",
    "xds.virtual_host_name",
    "response.size",
];

/// What one number of series and workers costs.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Scale {
    pub(crate) series: u64,
    pub(crate) workers: u32,
    pub(crate) worker_us: f64,
    pub(crate) main_us: f64,
    /// CPU time of the main thread for each of all workers'.
    pub(crate) main_thread_share: f64,
    /// The longest turn of the main thread's event loop, which is no shorter than its longest callback.
    pub(crate) longest_main_turn_ms: f64,
    pub(crate) rss_mib: f64,
}

/// The worker filter's configuration with a series for each path.
pub(crate) fn worker_by_path() -> Value {
    json!({
        "preset": "none",
        "counters": [],
        "dimensions": [
            {"name": "http.request.method", "attribute": "request.method"},
            {"name": "http.response.status_code", "attribute": "response.code"},
            {"name": "http.route", "attribute": "xds.route_name"},
            {"name": "url.scheme", "attribute": "request.scheme"},
            {"name": "url.path", "attribute": "request.path"},
        ],
        "metrics": [{"name": "duration", "kind": "histogram", "value": "request.duration"}],
        "limits": {"series": SERIES_MAX},
    })
}

/// The worker filter's configuration with so many dimensions, all with the same values in each stream.
pub(crate) fn worker_by_dimensions(count: usize) -> Value {
    let dimension = |attribute: &&str| json!({"name": attribute, "attribute": attribute});
    let dimensions: Vec<_> = ATTRIBUTES.iter().take(count).map(dimension).collect();
    json!({
        "preset": "none",
        "counters": [],
        "dimensions": dimensions,
        "metrics": [{"name": "requests", "kind": "counter"}],
    })
}

/// Measures an Envoy whose worker filter makes a series of each path.
pub(crate) async fn measure(config: EnvoyConfig, listener: &str, series: u64, workers: u32) -> Result<Scale> {
    let config = config
        .plugin(super::attachment::SERVICE, "limits.series", SERIES_MAX)
        .set("enable_dispatcher_stats", true)
        .set("stats_flush_on_admin", true);
    let folder = tempfile::tempdir()?;
    let script = folder.path().join("paths.lua");
    fs::write(&script, paths(series)).context("cannot write wrk's script")?;
    let options = EnvoyOptions {
        arguments: vec!["--log-level".into(), "warn".into()],
        ..EnvoyOptions::workers(workers)
    };
    let mut envoy = Envoy::start(&config, &options).await?;
    let (target, pid) = (envoy.listener(listener)?, envoy.process().id().context("Envoy has ended")?);
    // Twice each path at least.
    cpu::load(target, 1 + 2 * series / SLOWEST_PER_S, Some(&script)).await?;
    poll::until("the table to have every series", LIMIT, async || {
        let found = envoy.admin().stats().await?.gauge(TABLE)?;
        Ok(Seen::when(found >= series, found))
    })
    .await?;
    longest_turn_ms(envoy.admin()).await?;
    let before = Spent::read(pid)?;
    let requests = cpu::load(target, MEASURED_S, Some(&script)).await?;
    let spent = Spent::read(pid)?.since(&before);
    Ok(Scale {
        series,
        workers,
        worker_us: real(spent.worker_ns) / 1e3 / real(requests),
        main_us: real(spent.main_ns) / 1e3 / real(requests),
        main_thread_share: real(spent.main_ns) / real(spent.worker_ns),
        longest_main_turn_ms: longest_turn_ms(envoy.admin()).await?,
        rss_mib: cpu::rss_mib(pid)?,
    })
}

/// A script of wrk that asks for so many paths in turn.
fn paths(count: u64) -> String {
    format!(
        "local n = 0\nrequest = function()\n  n = (n + 1) % {count}\n  return wrk.format(nil, \"/\" .. n)\nend\n"
    )
}

/// The longest turn of the main thread's event loop since this was last asked.
async fn longest_turn_ms(admin: &Admin) -> Result<f64> {
    let path = format!("/stats?filter=^{LOOP_DURATION}$");
    // The first question makes Envoy begin to merge its histograms; the second one sees what came of it.
    admin.get(&path).await?;
    tokio::time::sleep(MERGING).await;
    let text = admin.get(&path).await?;
    longest(&text).map_or(Ok(0.0), |us| Ok(us / 1e3))
}

/// The greatest value of the last interval in Envoy's text of a histogram, `… P100(INTERVAL,ALL)`.
fn longest(text: &str) -> Option<f64> {
    text.rsplit_once("P100(")?.1.split_once(',')?.0.parse().ok().filter(|us: &f64| us.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_value_of_the_interval_is_read() {
        let text = "server.dispatcher.loop_duration_us: P0(1,1) P99.9(64,99) P100(5150,98000)\n";
        assert_eq!(longest(text), Some(5150.0));
        assert_eq!(longest("a: P100(nan,98000)"), None);
        assert_eq!(longest("a: No recorded values"), None);
    }
}
