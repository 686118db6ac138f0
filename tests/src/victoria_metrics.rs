//! A real VictoriaMetrics: an independent collector, and queries to read back what it stored.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::metrics::{
    Attributes, HistogramPoint, NumberPoint, ReceivedAttribute, classic_histograms, matches, to_count,
};
use crate::promql::{PromQl, selector};
use crate::remote_write::NAME_LABEL;
use crate::server::{Server, argument, deref_to_server};
use crate::tools;

/// The path for OTLP/HTTP.
pub const OTLP_PATH: &str = "/opentelemetry/v1/metrics";
/// The path for remote write.
pub const REMOTE_WRITE_PATH: &str = "/api/v1/write";

/// The label with the id of the exporting process: VictoriaMetrics converts resource attributes to labels
/// of every series.
const INSTANCE_LABEL: &str = "service.instance.id";

/// A running VictoriaMetrics with an empty storage, for OTLP at [`OTLP_PATH`], remote write at
/// [`REMOTE_WRITE_PATH`] and queries.
#[derive(Debug)]
pub struct VictoriaMetrics {
    server: Server,
    query: PromQl,
}

/// One line of `/api/v1/export`.
#[derive(Deserialize)]
struct Exported {
    metric: BTreeMap<String, String>,
    values: Vec<Option<f64>>,
}

impl VictoriaMetrics {
    /// Starts VictoriaMetrics on `127.0.0.1:port` (any free port if 0) and waits until it is ready.
    pub async fn start(port: u16) -> Result<Self> {
        let binary = tools::victoria_metrics::binary().await?;
        let arguments = |address: SocketAddr, directory: &Path| {
            Ok(vec![
                argument("-storageDataPath", directory.join("storage")),
                argument("-httpListenAddr", address.to_string()),
                // The unit is months.
                "-retentionPeriod=1".into(),
                "-search.latencyOffset=0s".into(),
            ])
        };
        let is_ready =
            async |address| PromQl::new(address, INSTANCE_LABEL).get("/health", &[]).await.map(|_| ());
        let server = Server::start("VictoriaMetrics", &binary, port, arguments, is_ready).await?;
        let query = PromQl::new(server.address(), INSTANCE_LABEL);
        Ok(Self { server, query })
    }

    /// Sums the latest values of all series of the metric `name` with the labels `wanted`; 0 if there are
    /// no such series.
    pub async fn sum(&self, name: &str, wanted: &[(&str, &str)]) -> Result<u64> {
        let points = self.number_points(name).await?.into_iter();
        Ok(points.filter(|point| matches(&point.attributes, wanted)).map(|point| to_count(point.value)).sum())
    }

    /// Sums the latest counts of all series of the histogram `name`.
    pub async fn total_count(&self, name: &str) -> Result<u64> {
        self.sum(&format!("{name}_count"), &[]).await
    }

    /// Reads every series of the metric `name` with its latest value; all labels are text attributes.
    pub async fn number_points(&self, name: &str) -> Result<Vec<NumberPoint>> {
        self.flush().await?;
        let lines = self.query.get("/api/v1/export", &[("match[]", &selector(name, &[]))]).await?;
        lines.lines().filter_map(|line| number_point(line).transpose()).collect()
    }

    /// Reads every series of the histogram `name` with its latest value; all labels are text attributes.
    pub async fn histogram_points(&self, name: &str) -> Result<Vec<HistogramPoint>> {
        let buckets = self.number_points(&format!("{name}_bucket")).await?;
        let sums = self.number_points(&format!("{name}_sum")).await?;
        classic_histograms(buckets, sums).with_context(|| name.to_owned())
    }

    /// Lets VictoriaMetrics estimate a quantile (0 to 1) over all series of the histogram `name` with the
    /// labels `wanted`, now or `at` milliseconds since 1970. Returns `None` if there are no such series.
    pub async fn quantile(
        &self,
        quantile: f64,
        name: &str,
        wanted: &[(&str, &str)],
        at: Option<i64>,
    ) -> Result<Option<f64>> {
        self.flush().await?;
        self.query.quantile(quantile, name, wanted, at).await
    }

    /// Returns the query API; call [`VictoriaMetrics::flush`] before, so that received samples are visible.
    pub fn query(&self) -> &PromQl {
        &self.query
    }

    /// Makes received samples visible to queries, which otherwise takes seconds.
    pub async fn flush(&self) -> Result<()> {
        self.query.get("/internal/force_flush", &[]).await?;
        Ok(())
    }
}

deref_to_server!(VictoriaMetrics);

fn number_point(line: &str) -> Result<Option<NumberPoint>> {
    let exported: Exported = serde_json::from_str(line).with_context(|| format!("the export {line:?}"))?;
    // Skips `null` values, which mark a series as ended.
    let Some(value) = exported.values.into_iter().flatten().next_back() else { return Ok(None) };
    let labels = exported.metric.into_iter().filter(|(key, _)| key != NAME_LABEL);
    let attributes: Attributes = labels.map(|(key, label)| (key, ReceivedAttribute::Text(label))).collect();
    let instance = attributes.get(INSTANCE_LABEL).map(ToString::to_string).unwrap_or_default();
    Ok(Some(NumberPoint { instance, attributes, value }))
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
}
