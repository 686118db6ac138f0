//! Measures how the cost depends on the number of series and workers.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::Value;
use tributary_tests::admin::Admin;
use tributary_tests::config::EnvoyConfig;
use tributary_tests::poll::{self, Seen};

use super::cpu::{self, CpuTime};

/// The numbers of series that are measured with one worker.
pub(crate) const SERIES: [u64; 5] = [10, 100, 1_000, 10_000, 100_000];
/// The numbers of workers that are measured with [`SERIES_OF_WORKERS`].
pub(crate) const WORKERS: [u32; 3] = [1, 2, 4];
pub(crate) const SERIES_OF_WORKERS: u64 = 100;

/// The duration of a measurement, in seconds: longer than the export interval.
const MEASURED_S: u64 = 11;
/// A lower bound for the number of requests that the load generator sends per second.
const SLOWEST_PER_S: u64 = 8_000;
const LIMIT: Duration = Duration::from_secs(60);
const SERIES_MAX: u64 = 200_000;
const LOOP_DURATION: &str = "server.dispatcher.loop_duration_us";
/// The time to wait for Envoy to merge its histograms: longer than the merge takes.
const MERGE_TIME: Duration = Duration::from_millis(500);
const TABLE: &str = "wasmcustom.tributary_series";

/// The cost with one number of series and workers.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Scale {
    pub(crate) series: u64,
    pub(crate) workers: u32,
    pub(crate) worker_us: f64,
    pub(crate) main_us: f64,
    /// CPU time of the main thread, divided by the CPU time of all workers.
    pub(crate) main_thread_share: f64,
    /// The longest iteration of the main thread's event loop: an upper bound of its longest callback.
    pub(crate) longest_main_turn_ms: f64,
    pub(crate) rss_mib: f64,
}

/// Returns the worker filter's configuration with one series per path.
pub(crate) fn worker() -> Result<Value> {
    serde_yaml_ng::from_str(include_str!("scaling.yaml")).context("scaling.yaml")
}

/// Measures an Envoy whose worker filter has one series per path.
pub(crate) async fn measure(config: EnvoyConfig, series: u64, workers: u32) -> Result<Scale> {
    let config = config
        .service("limits.series", SERIES_MAX)
        .set("enable_dispatcher_stats", true)
        .set("stats_flush_on_admin", true);
    let folder = tempfile::tempdir()?;
    let script = folder.path().join("paths.lua");
    fs::write(&script, paths(series)).context("cannot write wrk's script")?;
    // This time suffices to request each path at least twice.
    let warm_s = 1 + 2 * series / SLOWEST_PER_S;
    let session = cpu::Session::start(&config, workers, warm_s, Some(script)).await?;
    let admin = session.envoy.admin();
    poll::until("the table to contain every series", LIMIT, async || {
        let found = admin.stats().await?.gauge(TABLE)?;
        Ok(Seen::when(found >= series, found))
    })
    .await?;
    longest_turn_ms(admin).await?;
    let CpuTime { worker_us, main_us, rss_mib, .. } = session.measure(MEASURED_S).await?;
    Ok(Scale {
        series,
        workers,
        worker_us,
        main_us,
        main_thread_share: main_us / worker_us,
        longest_main_turn_ms: longest_turn_ms(admin).await?,
        rss_mib,
    })
}

/// Returns a script for wrk that requests `count` paths in turn.
fn paths(count: u64) -> String {
    format!(
        "local n = 0\nrequest = function()\n  n = (n + 1) % {count}\n  return wrk.format(nil, \"/\" .. n)\nend\n"
    )
}

/// Returns the longest iteration of the main thread's event loop since the last call.
async fn longest_turn_ms(admin: &Admin) -> Result<f64> {
    let path = format!("/stats?filter=^{LOOP_DURATION}$");
    // The first request starts the merge of Envoy's histograms; the second one reads the result.
    admin.get(&path).await?;
    tokio::time::sleep(MERGE_TIME).await;
    let text = admin.get(&path).await?;
    longest(&text).map_or(Ok(0.0), |us| Ok(us / 1e3))
}

/// Returns the maximum of the last interval in Envoy's text of a histogram, `… P100(INTERVAL,ALL)`.
fn longest(text: &str) -> Option<f64> {
    text.rsplit_once("P100(")?.1.split_once(',')?.0.parse().ok().filter(|us: &f64| us.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_maximum_of_the_interval_is_parsed() {
        let text = "server.dispatcher.loop_duration_us: P0(1,1) P99.9(64,99) P100(5150,98000)\n";
        assert_eq!(longest(text), Some(5150.0));
        assert_eq!(longest("a: P100(nan,98000)"), None);
        assert_eq!(longest("a: No recorded values"), None);
    }
}
