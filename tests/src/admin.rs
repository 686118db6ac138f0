//! Envoy's admin interface: readiness and statistics.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::poll::{self, LIMIT, Seen};

/// How long one request to the admin interface may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A client of one Envoy's admin interface.
#[derive(Debug, Clone)]
pub struct Admin {
    address: SocketAddr,
    client: reqwest::Client,
}

/// All counters and gauges at one moment, by their full names.
#[derive(Debug, Clone, Default)]
pub struct AdminStats {
    counters: BTreeMap<String, u64>,
    gauges: BTreeMap<String, u64>,
}

/// The cumulative buckets of a histogram in ascending order: each upper bound, with the number of recorded
/// values up to this bound.
pub type CumulativeBuckets = Vec<(f64, u64)>;

#[derive(Deserialize)]
struct HistogramPage {
    stats: Vec<HistogramStats>,
}

#[derive(Deserialize)]
struct HistogramStats {
    histograms: Vec<Histogram>,
}

#[derive(Deserialize)]
struct Histogram {
    name: String,
    buckets: Vec<Bucket>,
}

#[derive(Deserialize)]
struct Bucket {
    upper_bound: f64,
    cumulative: u64,
}

#[derive(Deserialize)]
struct Page {
    stats: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    name: Option<String>,
    value: Option<u64>,
}

#[derive(Deserialize)]
struct ServerInfo {
    command_line_options: CommandLineOptions,
}

#[derive(Deserialize)]
struct CommandLineOptions {
    restart_epoch: u32,
}

impl Admin {
    /// Makes a client of the admin interface at `address`.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, client: reqwest::Client::new() }
    }

    /// Returns the address of the admin interface.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns whether Envoy reports `LIVE`; `false` if it does not respond.
    pub async fn is_ready(&self) -> bool {
        self.get("/ready").await.is_ok_and(|body| body.trim() == "LIVE")
    }

    /// Reads the restart epoch of the Envoy that responds: the number of hot restarts before it started.
    pub async fn restart_epoch(&self) -> Result<u32> {
        let info: ServerInfo = serde_json::from_str(&self.get("/server_info").await?)?;
        Ok(info.command_line_options.restart_epoch)
    }

    /// Sends `GET path` and returns the body of the answer; fails unless the status is 200.
    pub async fn get(&self, path: &str) -> Result<String> {
        self.send(reqwest::Method::GET, path).await
    }

    /// Sends `POST path`, such as `/drain_listeners`, and returns the body of the answer; fails unless the
    /// status is 200.
    pub async fn post(&self, path: &str) -> Result<String> {
        self.send(reqwest::Method::POST, path).await
    }

    /// Reads all counters and gauges with two requests.
    pub async fn stats(&self) -> Result<AdminStats> {
        Ok(AdminStats { counters: self.read("Counters").await?, gauges: self.read("Gauges").await? })
    }

    /// Reads the counters and gauges of the modules with one request, so that all have the values of the
    /// same moment.
    pub async fn module_stats(&self) -> Result<BTreeMap<String, u64>> {
        self.page("filter=^wasmcustom.tributary_").await
    }

    /// Reads one counter, such as `http.ingress.downstream_rq_completed`.
    pub async fn counter(&self, name: &str) -> Result<u64> {
        self.stats().await?.counter(name)
    }

    /// Waits until a counter is at least `count`.
    pub async fn wait_for_counter(&self, name: &str, count: u64) -> Result<()> {
        poll::until(&format!("{name} to be {count}"), LIMIT, async || {
            let now = self.counter(name).await?;
            Ok(Seen::when(now >= count, now))
        })
        .await
        .map(drop)
    }

    /// Reads the values that a histogram has recorded between the start of Envoy and its last flush of
    /// statistics. Returns `None` if Envoy has no such histogram yet.
    pub async fn buckets(&self, name: &str) -> Result<Option<CumulativeBuckets>> {
        let path = format!("/stats?format=json&type=Histograms&histogram_buckets=cumulative&filter={name}");
        let page: HistogramPage = serde_json::from_str(&self.get(&path).await?)
            .with_context(|| format!("histograms of {}/stats", self.address))?;
        let found = page.stats.into_iter().flat_map(|stats| stats.histograms).find(|of| of.name == name);
        let bucket = |bucket: Bucket| (bucket.upper_bound, bucket.cumulative);
        Ok(found.map(|histogram| histogram.buckets.into_iter().map(bucket).collect()))
    }

    async fn read(&self, kind: &str) -> Result<BTreeMap<String, u64>> {
        self.page(&format!("type={kind}")).await
    }

    async fn page(&self, which: &str) -> Result<BTreeMap<String, u64>> {
        let body = self.get(&format!("/stats?format=json&{which}")).await?;
        let page: Page =
            serde_json::from_str(&body).with_context(|| format!("{which} of {}/stats", self.address))?;
        Ok(page.stats.into_iter().filter_map(|entry| Some((entry.name?, entry.value?))).collect())
    }

    async fn send(&self, method: reqwest::Method, path: &str) -> Result<String> {
        let url = format!("http://{}{path}", self.address);
        let what = format!("{method} {url}");
        let answer = self.client.request(method, url).timeout(TIMEOUT).send().await;
        let answer = answer.with_context(|| what.clone())?;
        let status = answer.status();
        let body = answer.text().await.with_context(|| what.clone())?;
        ensure!(status == 200, "{what} answered {status}: {body}");
        Ok(body)
    }
}

impl AdminStats {
    /// Returns the value of a counter.
    ///
    /// # Errors
    /// There is no counter of this name. The error lists the counters with the most similar names.
    pub fn counter(&self, name: &str) -> Result<u64> {
        find(&self.counters, "counter", name)
    }

    /// Returns the value of a gauge.
    ///
    /// # Errors
    /// There is no gauge of this name. The error lists the gauges with the most similar names.
    pub fn gauge(&self, name: &str) -> Result<u64> {
        find(&self.gauges, "gauge", name)
    }

    /// Returns the counters whose names begin with `prefix`, such as `wasmcustom.tributary_`.
    pub fn counters(&self, prefix: &str) -> BTreeMap<&str, u64> {
        with_prefix(&self.counters, prefix)
    }

    /// Returns the gauges whose names begin with `prefix`.
    pub fn gauges(&self, prefix: &str) -> BTreeMap<&str, u64> {
        with_prefix(&self.gauges, prefix)
    }
}

fn find(stats: &BTreeMap<String, u64>, kind: &str, name: &str) -> Result<u64> {
    stats.get(name).copied().with_context(|| {
        let parent = name.rsplit_once(['.', '_']).map_or(name, |(parent, _)| parent);
        let near: Vec<_> = with_prefix(stats, parent).into_keys().take(20).collect();
        format!("Envoy has no {kind} {name:?}; names that begin with {parent:?}: {near:?}")
    })
}

fn with_prefix<'a>(stats: &'a BTreeMap<String, u64>, prefix: &str) -> BTreeMap<&'a str, u64> {
    let from_prefix = stats.range(prefix.to_owned()..);
    from_prefix
        .take_while(|(name, _)| name.starts_with(prefix))
        .map(|(name, value)| (name.as_str(), *value))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats() -> AdminStats {
        let counters = [("http.a.rq_2xx", 4), ("http.a.rq_5xx", 1), ("http.b.rq_2xx", 7)];
        let counters = counters.map(|(name, value)| (name.to_owned(), value)).into();
        AdminStats { counters, gauges: BTreeMap::new() }
    }

    #[test]
    fn a_missing_counter_is_an_error_that_names_similar_ones() {
        assert_eq!(stats().counter("http.a.rq_5xx").unwrap(), 1);
        let error = stats().counter("http.a.rq_3xx").unwrap_err().to_string();
        assert!(error.contains("http.a.rq_2xx") && !error.contains("http.b"), "{error}");
        assert!(stats().gauge("http.a.rq_2xx").is_err());
    }

    #[test]
    fn counters_are_listed_by_prefix() {
        let stats = stats();
        let found: Vec<_> = stats.counters("http.a.").into_iter().collect();
        assert_eq!(found, [("http.a.rq_2xx", 4), ("http.a.rq_5xx", 1)]);
    }
}
