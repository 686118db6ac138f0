//! Proof that a subject did its work: a way to count that counted nothing would look cheap.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tributary_tests::admin::Admin;
use tributary_tests::poll::{self, Seen};

use super::subject::{Subject, Way};

/// Envoy merges its histograms every five seconds; under valgrind that takes its time.
const LIMIT: Duration = Duration::from_secs(60);
/// What Envoy itself counts, whoever else does: requests.
const COMPLETED: &str = "http.ingress.downstream_rq_completed";
/// And TCP connections.
const CONNECTIONS: &str = "tcp.ingress.downstream_cx_total";
const LISTS_FAILED: &str = "wasmcustom.lists_failed";
const AGGREGATED: &str = "wasmcustom.tributary_observations_aggregated";
const ONE_BY_ONE: &str = "wasmcustom.tributary_read_one_by_one";

/// Fails unless every request that Envoy completed was counted in the subject's way, and in no other.
pub(crate) async fn check(subject: &Subject, admin: &Admin) -> Result<()> {
    match subject.way {
        Way::None | Way::EmptyAccessLog | Way::EmptyHttpFilter | Way::Json | Way::Lua => Ok(()),
        Way::ListAccessLog | Way::ListHttpFilter => list(admin).await,
        Way::Native => native(subject, admin).await,
        Way::LogStream | Way::AccessLog | Way::HttpFilter | Way::TcpFilter => {
            ours(subject, admin, false).await
        }
        Way::Textbook => ours(subject, admin, true).await,
    }
    .with_context(|| format!("{subject} did not count what it should"))
}

/// What Envoy says that there was.
fn streams(subject: &Subject) -> &'static str {
    if subject.is_tcp() { CONNECTIONS } else { COMPLETED }
}

/// Fails unless the service has every request, read in one call, or one by one if that is how it should be.
async fn ours(subject: &Subject, admin: &Admin, one_by_one: bool) -> Result<()> {
    poll::until("the service to have every request", LIMIT, async || {
        let stats = admin.stats().await?;
        let counted = (stats.counter(streams(subject))?, stats.counter(AGGREGATED)?);
        Ok(Seen::when(counted.0 > 0 && counted.0 == counted.1, counted))
    })
    .await?;
    let stats = admin.stats().await?;
    let (completed, read) = (stats.counter(streams(subject))?, stats.counter(ONE_BY_ONE)?);
    ensure!(
        read == if one_by_one { completed } else { 0 },
        "{read} of {completed} requests were read by one host call for each value"
    );
    Ok(())
}

/// Fails if an answer of the host's failed.
async fn list(admin: &Admin) -> Result<()> {
    let failed = admin.counter(LISTS_FAILED).await?;
    ensure!(failed == 0, "{failed} lists had no value");
    Ok(())
}

/// Fails unless each metric of the set was recorded with every request.
async fn native(subject: &Subject, admin: &Admin) -> Result<()> {
    let set = subject.set.context("it has no metrics")?;
    let names = set.native_request_counts();
    poll::until("Envoy's own logger to have every request", LIMIT, async || {
        let completed = admin.counter(streams(subject)).await?;
        let text = admin.get("/stats/prometheus?filter=^bench\\.").await?;
        let counts: Vec<_> = names.iter().map(|name| sum(&text, &format!("envoy_bench_{name}"))).collect();
        let all = !counts.is_empty() && counts.iter().all(|count| *count == completed);
        Ok(Seen::when(completed > 0 && all, (completed, &names, counts)))
    })
    .await
    .map(drop)
}

/// The sum of a metric's values over all of its label sets.
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
    fn values_are_summed_over_all_labels_of_one_name() {
        let text = "# TYPE a_count counter\na_count{x=\"1 2\"} 3\na_count{} 4\na_count_b{} 8\n";
        assert_eq!(sum(text, "a_count"), 7);
    }
}
