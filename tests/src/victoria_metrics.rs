//! A real VictoriaMetrics: a collector that was written by others, and what it says it has received.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::metrics::{AttributeValue, Attributes, Histogram, HistogramPoint, NumberPoint, matches, to_count};
use crate::poll::Seen;
use crate::ports::{ReservedPort, localhost};
use crate::process::ServerProcess;
use crate::tools;

/// Where it takes OTLP/HTTP.
pub const OTLP_PATH: &str = "/opentelemetry/v1/metrics";

const READY_LIMIT: Duration = Duration::from_secs(30);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
const NAME_LABEL: &str = "__name__";
const BOUND_LABEL: &str = "le";
/// Resource attributes become labels of every series.
const INSTANCE_LABEL: &str = "service.instance.id";

/// A running VictoriaMetrics with a storage of its own; dropping it kills it and removes the storage.
#[derive(Debug)]
pub struct VictoriaMetrics {
    process: ServerProcess,
    address: SocketAddr,
    client: reqwest::Client,
    _reserved: Option<ReservedPort>,
}

/// One line of `/api/v1/export`.
#[derive(Deserialize)]
struct Exported {
    metric: BTreeMap<String, String>,
    values: Vec<Option<f64>>,
}

impl VictoriaMetrics {
    /// Starts one on `127.0.0.1:port` (any free port if 0) and waits until it is ready.
    ///
    /// # Errors
    /// There is no VictoriaMetrics, or it is not ready in time; the error then shows the end of its log.
    pub async fn start(port: u16) -> Result<Self> {
        let binary = tools::victoria_metrics::binary().await?;
        let reserved = if port == 0 { Some(ReservedPort::new()?) } else { None };
        let address = localhost(reserved.as_ref().map_or(port, ReservedPort::port));
        let directory = tempfile::tempdir().context("cannot make a directory for VictoriaMetrics")?;
        let mut storage = OsString::from("-storageDataPath=");
        storage.push(directory.path().join("storage"));
        let arguments: [OsString; 4] = [
            storage,
            format!("-httpListenAddr={address}").into(),
            // In months.
            "-retentionPeriod=1".into(),
            "-search.latencyOffset=0s".into(),
        ];
        let process = ServerProcess::spawn("VictoriaMetrics", &binary, arguments, directory)?;
        let client = reqwest::Client::new();
        let mut this = Self { process, address, client: client.clone(), _reserved: reserved };
        let health = format!("http://{address}/health");
        this.process
            .wait_until_ready(READY_LIMIT, async || {
                let answer = client.get(&health).timeout(REQUEST_TIMEOUT).send().await;
                let ready = answer.as_ref().is_ok_and(|answer| answer.status() == 200);
                Ok(if ready { Seen::Ready(()) } else { Seen::Pending(format!("{health}: {answer:?}")) })
            })
            .await?;
        Ok(this)
    }

    /// Where it listens, for OTLP at [`OTLP_PATH`] and for queries.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The process: its log, its signals and its end.
    pub fn process(&mut self) -> &mut ServerProcess {
        &mut self.process
    }

    /// Sends SIGTERM and waits until it has ended.
    ///
    /// # Errors
    /// It still runs after `limit`.
    pub async fn terminate(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.process.terminate(limit).await
    }

    /// The sum of the latest values of all series of the metric `name` that have the labels `wanted`; 0 without any.
    ///
    /// # Errors
    /// It does not answer, or not in the form expected.
    pub async fn sum(&self, name: &str, wanted: &[(&str, &str)]) -> Result<u64> {
        let points = self.number_points(name).await?.into_iter();
        Ok(points.filter(|point| matches(&point.attributes, wanted)).map(|point| to_count(point.value)).sum())
    }

    /// The sum of the latest counts of all series of the histogram `name`.
    ///
    /// # Errors
    /// As for [`VictoriaMetrics::sum`].
    pub async fn total_count(&self, name: &str) -> Result<u64> {
        self.sum(&format!("{name}_count"), &[]).await
    }

    /// Every series of the metric `name` with its latest value; all labels are text and among the attributes.
    ///
    /// # Errors
    /// As for [`VictoriaMetrics::sum`].
    pub async fn number_points(&self, name: &str) -> Result<Vec<NumberPoint>> {
        // Without it, what arrived becomes visible only seconds later.
        self.get("/internal/force_flush", &[]).await?;
        let selector = format!("{{{NAME_LABEL}={name:?}}}");
        let lines = self.get("/api/v1/export", &[("match[]", &selector)]).await?;
        lines.lines().filter_map(|line| number_point(line).transpose()).collect()
    }

    /// Every series of the histogram `name` with its latest value; all labels are text and among the attributes.
    ///
    /// # Errors
    /// As for [`VictoriaMetrics::sum`], or a histogram's buckets contradict each other.
    pub async fn histogram_points(&self, name: &str) -> Result<Vec<HistogramPoint>> {
        let mut histograms: BTreeMap<Attributes, Histogram> = BTreeMap::new();
        let mut cumulative: BTreeMap<Attributes, Vec<(f64, u64)>> = BTreeMap::new();
        for mut point in self.number_points(&format!("{name}_bucket")).await? {
            let bound = point.attributes.remove(BOUND_LABEL).context("a bucket without a bound")?;
            let bound =
                bound.to_string().parse().with_context(|| format!("the bound {bound} of a bucket"))?;
            cumulative.entry(point.attributes).or_default().push((bound, to_count(point.value)));
        }
        for (attributes, buckets) in cumulative {
            let histogram = histogram(buckets).with_context(|| format!("{name} {attributes:?}"))?;
            histograms.insert(attributes, histogram);
        }
        for point in self.number_points(&format!("{name}_sum")).await? {
            histograms.entry(point.attributes).or_default().sum = point.value;
        }
        let instance = |attributes: &Attributes| attributes.get(INSTANCE_LABEL).map(ToString::to_string);
        let point = |(attributes, histogram)| HistogramPoint {
            instance: instance(&attributes).unwrap_or_default(),
            attributes,
            histogram,
        };
        Ok(histograms.into_iter().map(point).collect())
    }

    async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<String> {
        let url = format!("http://{}{path}", self.address);
        let answer = self.client.get(&url).query(query).timeout(REQUEST_TIMEOUT).send().await;
        let answer = answer.with_context(|| url.clone())?;
        let status = answer.status();
        let body = answer.text().await.with_context(|| url.clone())?;
        ensure!(status.is_success(), "{url} answered {status}: {body}");
        Ok(body)
    }
}

fn number_point(line: &str) -> Result<Option<NumberPoint>> {
    let exported: Exported = serde_json::from_str(line).with_context(|| format!("the export {line:?}"))?;
    // The last value that is one: null marks a series as ended.
    let Some(value) = exported.values.into_iter().flatten().next_back() else { return Ok(None) };
    let labels = exported.metric.into_iter().filter(|(key, _)| key != NAME_LABEL);
    let attributes: Attributes = labels.map(|(key, label)| (key, AttributeValue::Text(label))).collect();
    let instance = attributes.get(INSTANCE_LABEL).map(ToString::to_string).unwrap_or_default();
    Ok(Some(NumberPoint { instance, attributes, value }))
}

/// A histogram from its buckets, each with its upper bound and the number of values up to it.
fn histogram(mut buckets: Vec<(f64, u64)>) -> Result<Histogram> {
    buckets.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let mut histogram = Histogram::default();
    for (bound, up_to) in buckets {
        let count =
            up_to.checked_sub(histogram.count).context("a bucket has fewer values than the one before")?;
        histogram.count = up_to;
        histogram.buckets.push(count);
        if bound.is_finite() {
            histogram.bounds.push(bound);
        }
    }
    ensure!(histogram.buckets.len() == histogram.bounds.len() + 1, "the bucket without a bound is missing");
    Ok(histogram)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_value_of_a_series_is_its_last() {
        let line =
            r#"{"metric":{"__name__":"n","le":"0.5","a.b":"c"},"values":[1,7,null],"timestamps":[1,2,3]}"#;
        let point = number_point(line).unwrap().unwrap();
        assert_eq!(point.value, 7.0);
        assert_eq!(
            point.attributes,
            [("a.b".to_owned(), "c".into()), ("le".to_owned(), "0.5".into())].into()
        );
        assert_eq!(number_point(r#"{"metric":{},"values":[null],"timestamps":[1]}"#).unwrap(), None);
    }

    #[test]
    fn buckets_up_to_a_bound_become_buckets_of_their_own() {
        let found = histogram(vec![(f64::INFINITY, 9), (0.5, 2), (1.0, 5)]).unwrap();
        assert_eq!((found.bounds.as_slice(), found.buckets.as_slice()), (&[0.5, 1.0][..], &[2, 3, 4][..]));
        assert_eq!(found.count, 9);
        assert!(histogram(vec![(0.5, 2), (f64::INFINITY, 1)]).is_err());
        assert!(histogram(vec![(0.5, 2)]).is_err());
    }
}
