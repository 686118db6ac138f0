//! Where every request is, while it is under way and at the end.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Serialize;
use tributary_tests::admin::Stats;
use tributary_tests::poll::{self, Seen};
use tributary_tests::scene::{COUNTER, DURATION};

use super::stage::{LOGGED, STREAMED, Stage};

/// Several export intervals, and the longest wait after failures: what has not arrived by then is lost.
const ARRIVAL_LIMIT: Duration = Duration::from_secs(60);
const TOTAL: &str = "http.ingress.downstream_rq_total";
const COMPLETED: &str = "http.ingress.downstream_rq_completed";
/// Each request is one of the filter's, one of the access logger's and one of the log stream's.
const OBSERVATIONS_PER_REQUEST: u64 = 3;

/// What was seen of the ledger so far.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// How often was looked.
    pub(super) looks: u64,
    /// The most observations that were under way at a time: made by a request that Envoy knows of, and not yet added up.
    pub(super) gap_max: u64,
}

/// The same requests by independent counts; its JSON form is a part of what `--json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Totals {
    /// By Envoy's own statistics.
    pub(super) envoy: u64,
    /// Observations that the workers made, and that the service added up.
    pub(super) observed: u64,
    pub(super) aggregated: u64,
    /// By each collector.
    pub(super) collectors: Vec<Collected>,
}

/// What one collector has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Collected {
    pub(super) name: &'static str,
    /// Requests in the filter's histograms.
    pub(super) filter: u64,
    /// Requests that the access logger counted.
    pub(super) access_log: u64,
    /// Requests that the log stream told of.
    pub(super) log_stream: u64,
    /// Requests in the counter in shared data.
    pub(super) shared_data: u64,
}

/// What the service says of its requests to collectors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Exports {
    pub(super) succeeded: u64,
    pub(super) failed: u64,
    pub(super) points_dropped: u64,
    pub(super) points_rejected: u64,
}

fn ours(stats: &Stats, name: &str) -> u64 {
    // Envoy shows a statistic once somebody has added to it.
    stats.counter(&format!("wasmcustom.tributary_{name}")).unwrap_or(0)
}

impl Watch {
    /// Looks whether the ledger adds up now, and says in a few words how it stands.
    pub(super) async fn look(&mut self, stage: &Stage) -> Result<String> {
        let stats = stage.envoy.admin().stats().await?;
        for fault in ["batches_missing", "observations_missing", "batches_duplicate", "batches_refused"] {
            let count = ours(&stats, fault);
            ensure!(
                count == 0,
                "{fault} is {count}: something was lost or doubled between workers and service"
            );
        }
        let (observed, aggregated) =
            (ours(&stats, "observations_observed"), ours(&stats, "observations_aggregated"));
        ensure!(
            aggregated <= observed,
            "{aggregated} observations were added up of {observed} that were made"
        );
        let collected: Vec<Collected> = collected(stage);
        // Workers count on while statistics are read: what they count towards is read last.
        let requests = stage.envoy.admin().counter(TOTAL).await?;
        let made_max = requests.saturating_mul(OBSERVATIONS_PER_REQUEST);
        ensure!(observed <= made_max, "{observed} observations were made of {requests} requests");
        for collected in collected {
            ensure!(
                collected.counts().iter().all(|count| *count <= requests),
                "{collected:?}, of {requests} requests"
            );
        }
        self.looks = self.looks.saturating_add(1);
        let gap = made_max.saturating_sub(aggregated);
        self.gap_max = self.gap_max.max(gap);
        let failed = ours(&stats, "exports_failed");
        Ok(format!("{requests} requests, {gap} observations under way, {failed} exports failed"))
    }
}

/// The totals, as soon as all agree or when the time is up.
pub(super) async fn settled(sent: u64, stage: &Stage) -> Result<Totals> {
    let agreed = poll::until("all counts to agree", ARRIVAL_LIMIT, async || {
        let totals = totals(stage).await?;
        Ok(Seen::when(totals.agree(sent), totals))
    });
    match agreed.await {
        Ok(totals) => Ok(totals),
        // The outcome shows what there is.
        Err(_) => totals(stage).await,
    }
}

async fn totals(stage: &Stage) -> Result<Totals> {
    let stats = stage.envoy.admin().stats().await?;
    Ok(Totals {
        envoy: stats.counter(COMPLETED)?,
        observed: ours(&stats, "observations_observed"),
        aggregated: ours(&stats, "observations_aggregated"),
        collectors: collected(stage),
    })
}

fn collected(stage: &Stage) -> Vec<Collected> {
    let collected = stage.collectors.iter().map(|collector| Collected {
        name: collector.name,
        filter: collector.sink.total_count(DURATION),
        access_log: collector.sink.sum(LOGGED, &[]),
        log_stream: collector.sink.sum(STREAMED, &[]),
        shared_data: collector.sink.sum(COUNTER, &[]),
    });
    collected.collect()
}

/// How the exports went.
///
/// # Errors
/// Envoy does not say, or a collector was sent what it had to refuse by itself.
pub(super) async fn exports(stage: &Stage) -> Result<Exports> {
    for collector in &stage.collectors {
        let problems = collector.sink.problems();
        ensure!(problems.is_empty(), "the collector {} could not read: {problems:?}", collector.name);
    }
    let stats = stage.envoy.admin().stats().await?;
    Ok(Exports {
        succeeded: ours(&stats, "exports_succeeded"),
        failed: ours(&stats, "exports_failed"),
        points_dropped: ours(&stats, "points_dropped"),
        points_rejected: ours(&stats, "points_rejected"),
    })
}

impl Collected {
    /// The requests by each count.
    fn counts(&self) -> [u64; 4] {
        [self.filter, self.access_log, self.log_stream, self.shared_data]
    }
}

impl Totals {
    /// Whether all of them say so many requests.
    pub(super) fn agree(&self, requests: u64) -> bool {
        let observations = requests.saturating_mul(OBSERVATIONS_PER_REQUEST);
        self.envoy == requests
            && [self.observed, self.aggregated] == [observations; 2]
            && self.collectors.iter().all(|collected| collected.counts() == [requests; 4])
    }

    /// Requests that are not with every collector.
    pub(super) fn lost(&self, requests: u64) -> u64 {
        let fewest = self.collectors.iter().flat_map(Collected::counts).min().unwrap_or(0);
        requests.saturating_sub(fewest)
    }
}
