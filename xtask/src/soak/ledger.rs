//! Checks of the ledger while requests are in flight, and of all counts at the end.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Serialize;
use tributary_tests::admin::AdminStats;
use tributary_tests::poll::{self, Seen};
use tributary_tests::scene::{COUNTER, DURATION};

use super::environment::{LOGGED, STREAMED, SoakEnvironment};

/// The time limit for counts to reach all collectors: several export intervals and the longest backoff. A
/// request that has not arrived by then is lost.
const ARRIVAL_LIMIT: Duration = Duration::from_secs(60);
const TOTAL: &str = "http.ingress.downstream_rq_total";
const COMPLETED: &str = "http.ingress.downstream_rq_completed";
/// The filter, the access logger and the log stream each observe every request once.
const OBSERVATIONS_PER_REQUEST: u64 = 3;

/// The results of all checks of the ledger so far.
#[derive(Debug, Default)]
pub(super) struct LedgerMonitor {
    pub(super) checks: u64,
    /// The maximum number of observations in flight: Envoy has counted their requests, but the service
    /// has not aggregated them yet.
    pub(super) gap_max: u64,
}

/// Independent counts of the same requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct SoakCounts {
    /// Requests counted by Envoy's own statistics.
    pub(super) envoy: u64,
    /// Observations that the workers made.
    pub(super) observed: u64,
    /// Observations that the service aggregated.
    pub(super) aggregated: u64,
    /// Requests counted by each collector.
    pub(super) collectors: Vec<CollectorCounts>,
}

/// The requests that one collector received, by metric.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct CollectorCounts {
    pub(super) name: &'static str,
    /// Requests in the filter's histograms.
    pub(super) filter: u64,
    /// Requests counted by the access logger.
    pub(super) access_log: u64,
    /// Requests counted by the log stream.
    pub(super) log_stream: u64,
    /// Requests in the counter that workers keep in shared data.
    pub(super) shared_data: u64,
}

/// The service's own statistics of its exports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct ExportStats {
    pub(super) succeeded: u64,
    pub(super) failed: u64,
    pub(super) points_dropped: u64,
    pub(super) points_rejected: u64,
}

fn module_stat(stats: &AdminStats, name: &str) -> u64 {
    // Envoy shows a statistic only after its first change.
    stats.counter(&format!("wasmcustom.tributary_{name}")).unwrap_or(0)
}

impl LedgerMonitor {
    /// Checks that the ledger adds up, and returns a summary for the progress bar.
    pub(super) async fn check(&mut self, environment: &SoakEnvironment) -> Result<String> {
        let stats = environment.envoy.admin().stats().await?;
        for fault in ["batches_missing", "observations_missing", "batches_duplicate", "batches_invalid"] {
            let count = module_stat(&stats, fault);
            ensure!(
                count == 0,
                "{fault} is {count}: batches were lost or duplicated between workers and service"
            );
        }
        let (observed, aggregated) =
            (module_stat(&stats, "observations_total"), module_stat(&stats, "observations_aggregated"));
        ensure!(
            aggregated <= observed,
            "{aggregated} observations were aggregated, but only {observed} were made"
        );
        let collected: Vec<CollectorCounts> = collected(environment);
        // Workers count further requests during this check, so the upper bound is read last.
        let requests = environment.envoy.admin().counter(TOTAL).await?;
        let observed_max = requests.saturating_mul(OBSERVATIONS_PER_REQUEST);
        ensure!(observed <= observed_max, "{observed} observations were made of {requests} requests");
        for collected in collected {
            ensure!(
                collected.counts().iter().all(|count| *count <= requests),
                "a count of the collector {} exceeds {requests} requests: {}",
                collected.name,
                serde_json::to_string(&collected)?
            );
        }
        self.checks = self.checks.saturating_add(1);
        let gap = observed_max.saturating_sub(aggregated);
        self.gap_max = self.gap_max.max(gap);
        let failed = module_stat(&stats, "exports_failed");
        Ok(format!("{requests} requests, {gap} observations in flight, {failed} exports failed"))
    }
}

/// Waits until all counts agree or the time limit has passed, and returns the counts.
pub(super) async fn await_counts(sent: u64, environment: &SoakEnvironment) -> Result<SoakCounts> {
    let agreed = poll::until("all counts to agree", ARRIVAL_LIMIT, async || {
        let counts = read_counts(environment).await?;
        Ok(Seen::when(counts.agree(sent), counts))
    });
    match agreed.await {
        Ok(counts) => Ok(counts),
        // After the time limit, the report shows the differences.
        Err(_) => read_counts(environment).await,
    }
}

async fn read_counts(environment: &SoakEnvironment) -> Result<SoakCounts> {
    let stats = environment.envoy.admin().stats().await?;
    Ok(SoakCounts {
        envoy: stats.counter(COMPLETED)?,
        observed: module_stat(&stats, "observations_total"),
        aggregated: module_stat(&stats, "observations_aggregated"),
        collectors: collected(environment),
    })
}

fn collected(environment: &SoakEnvironment) -> Vec<CollectorCounts> {
    let collected = environment.collectors.iter().map(|collector| CollectorCounts {
        name: collector.name,
        filter: collector.sink.total_count(DURATION),
        access_log: collector.sink.sum(LOGGED, &[]),
        log_stream: collector.sink.sum(STREAMED, &[]),
        shared_data: collector.sink.sum(COUNTER, &[]),
    });
    collected.collect()
}

/// Reads the statistics of the exports.
///
/// # Errors
/// Envoy does not answer, or a collector received an invalid request.
pub(super) async fn exports(environment: &SoakEnvironment) -> Result<ExportStats> {
    for collector in &environment.collectors {
        let problems = collector.sink.problems();
        ensure!(
            problems.is_empty(),
            "the collector {} received invalid requests: {}",
            collector.name,
            problems.join("; ")
        );
    }
    let stats = environment.envoy.admin().stats().await?;
    Ok(ExportStats {
        succeeded: module_stat(&stats, "exports_succeeded"),
        failed: module_stat(&stats, "exports_failed"),
        points_dropped: module_stat(&stats, "points_dropped"),
        points_rejected: module_stat(&stats, "points_rejected"),
    })
}

impl CollectorCounts {
    /// Returns the counts of all four metrics.
    fn counts(&self) -> [u64; 4] {
        [self.filter, self.access_log, self.log_stream, self.shared_data]
    }
}

impl SoakCounts {
    /// Returns whether every count is equal to this number of requests.
    pub(super) fn agree(&self, requests: u64) -> bool {
        let observations = requests.saturating_mul(OBSERVATIONS_PER_REQUEST);
        self.envoy == requests
            && [self.observed, self.aggregated] == [observations; 2]
            && self.collectors.iter().all(|collected| collected.counts() == [requests; 4])
    }

    /// Returns the number of requests that at least one collector did not receive.
    pub(super) fn lost(&self, requests: u64) -> u64 {
        let fewest = self.collectors.iter().flat_map(CollectorCounts::counts).min().unwrap_or(0);
        requests.saturating_sub(fewest)
    }
}
