//! Verifies that a case counted every request: a method that counts nothing would look cheap.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tributary_tests::admin::Admin;
use tributary_tests::poll::{self, Seen};

use super::case::{BenchCase, CountingMethod};

/// The time limit for counts to be complete: Envoy merges its histograms every five seconds, and more slowly
/// under valgrind.
const LIMIT: Duration = Duration::from_secs(60);
/// Envoy's own statistic of completed requests.
const COMPLETED: &str = "http.ingress.downstream_rq_completed";
/// Envoy's own statistic of TCP connections.
const CONNECTIONS: &str = "tcp.ingress.downstream_cx_total";
const LISTS_FAILED: &str = "wasmcustom.lists_failed";
const AGGREGATED: &str = "wasmcustom.tributary_observations_aggregated";
const ONE_BY_ONE: &str = "wasmcustom.tributary_read_one_by_one";

/// Checks that the method of the case has counted every request that Envoy has completed.
pub(crate) async fn verify(case: &BenchCase, admin: &Admin) -> Result<()> {
    match case.method {
        CountingMethod::ListAccessLog | CountingMethod::ListHttpFilter => verify_list(admin).await,
        CountingMethod::Native => verify_native(case, admin).await,
        method if method.is_ours() => verify_ours(case, admin).await,
        _ => Ok(()),
    }
    .with_context(|| format!("{case} did not count as it should"))
}

/// Returns the name of Envoy's own statistic of the streams of a case.
fn stream_stat(case: &BenchCase) -> &'static str {
    if case.is_tcp() { CONNECTIONS } else { COMPLETED }
}

/// Checks that the service has aggregated every request, and that each request was read with one host call
/// or, with the textbook method, with one call per value.
async fn verify_ours(case: &BenchCase, admin: &Admin) -> Result<()> {
    let (completed, _) = poll::until("the service to aggregate every request", LIMIT, async || {
        let stats = admin.stats().await?;
        let (completed, aggregated) = (stats.counter(stream_stat(case))?, stats.counter(AGGREGATED)?);
        Ok(Seen::when(completed > 0 && completed == aggregated, (completed, aggregated)))
    })
    .await?;
    let read = admin.counter(ONE_BY_ONE).await?;
    ensure!(
        read == if case.method == CountingMethod::Textbook { completed } else { 0 },
        "{read} of {completed} requests were read by one host call per value"
    );
    Ok(())
}

/// Checks that no evaluation of the CEL list failed.
async fn verify_list(admin: &Admin) -> Result<()> {
    let failed = admin.counter(LISTS_FAILED).await?;
    ensure!(failed == 0, "{failed} CEL lists failed");
    Ok(())
}

/// Checks that Envoy's logger recorded each metric of the set with every request.
async fn verify_native(case: &BenchCase, admin: &Admin) -> Result<()> {
    let set = case.set.context("it has no metric set")?;
    let names = set.native_request_counts();
    poll::until("Envoy's own logger to record every request", LIMIT, async || {
        let completed = admin.counter(stream_stat(case)).await?;
        let text = admin.get("/stats/prometheus?filter=^bench\\.").await?;
        let counts: Vec<_> = names.iter().map(|name| sum(&text, &format!("envoy_bench_{name}"))).collect();
        let all = !counts.is_empty() && counts.iter().all(|count| *count == completed);
        Ok(Seen::when(completed > 0 && all, (completed, &names, counts)))
    })
    .await
    .map(drop)
}

/// Returns the sum of a metric's values over all of its series.
fn sum(text: &str, name: &str) -> u64 {
    let value = |line: &str| {
        let (labelled, value) = line.rsplit_once(' ')?;
        (labelled.split('{').next()? == name).then(|| value.parse::<u64>().ok())?
    };
    text.lines().filter_map(value).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_one_name_are_summed_over_all_labels() {
        let text = "# TYPE a_count counter\na_count{x=\"1 2\"} 3\na_count{} 4\na_count_b{} 8\n";
        assert_eq!(sum(text, "a_count"), 7);
    }
}
