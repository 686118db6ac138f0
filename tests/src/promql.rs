//! The query API of Prometheus, which VictoriaMetrics also has, and the queries of the tests.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::de::DeserializeOwned;

use crate::metrics::{
    Attributes, ExemplarPoint, HistogramPoint, NumberPoint, ReceivedAttribute, ReceivedExemplar,
    classic_histograms, matches, to_count,
};
use crate::poll::{self, LIMIT, Seen};
use crate::remote_write::NAME_LABEL;

mod response;

pub use response::{Element, ElementValue, NativeBucket, NativeHistogram};
use response::{QueryExemplar, QueryResponse, QueryResult, QueryRow, SeriesExemplars, element};

const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
const TRACE_LABEL: &str = "trace_id";
const SPAN_LABEL: &str = "span_id";
const NANOS_PER_MS: u64 = 1_000_000;

/// A client of the query API of one engine. Times are in milliseconds since 1970; the time `None` means
/// now.
#[derive(Debug, Clone)]
pub struct PromQl {
    address: SocketAddr,
    client: reqwest::Client,
    /// The label with the id of the exporting process.
    instance_label: &'static str,
}

impl PromQl {
    /// Makes a client of the engine at `address`, in which `instance_label` names the exporting process.
    pub fn new(address: SocketAddr, instance_label: &'static str) -> Self {
        Self { address, client: reqwest::Client::new(), instance_label }
    }

    /// Runs an instant query; fails unless the result is a vector.
    pub async fn vector(&self, query: &str, at: Option<i64>) -> Result<Vec<Element>> {
        let rows = self.instant(query, at, "vector").await?;
        rows.into_iter().map(|row| element(row).with_context(|| query.to_owned())).collect()
    }

    /// Runs an instant query whose result is one number. Returns `None` if the result is empty.
    pub async fn number(&self, query: &str, at: Option<i64>) -> Result<Option<f64>> {
        let found = self.vector(query, at).await?;
        ensure!(found.len() < 2, "{query} returns {found:?}, not one number");
        match found.into_iter().next().map(|element| element.value) {
            None => Ok(None),
            Some(ElementValue::Number(number)) => Ok(Some(number)),
            Some(other) => anyhow::bail!("{query} returns {other:?}, not a number"),
        }
    }

    /// Waits until an instant query returns the number `expected`.
    pub async fn wait_for_number(&self, query: &str, expected: f64) -> Result<()> {
        poll::until(&format!("{query} to be {expected}"), LIMIT, async || {
            let number = self.number(query, None).await?;
            Ok(Seen::when(number == Some(expected), number))
        })
        .await
        .map(drop)
    }

    /// Reads every series of the metric `name` with a number; all labels are text attributes.
    pub async fn number_points(&self, name: &str, at: Option<i64>) -> Result<Vec<NumberPoint>> {
        let elements = self.vector(&selector(name, &[]), at).await?.into_iter();
        let point = |Element { labels, value }| match value {
            ElementValue::Number(value) => {
                let instance = labels.get(self.instance_label).cloned().unwrap_or_default();
                Some(NumberPoint { instance, attributes: attributes(labels), value })
            }
            ElementValue::Histogram(_) => None,
        };
        Ok(elements.filter_map(point).collect())
    }

    /// Sums the values of all series of the metric `name` with the labels `wanted`; 0 if there are no such
    /// series.
    pub async fn sum(&self, name: &str, wanted: &[(&str, &str)], at: Option<i64>) -> Result<u64> {
        let points = self.number_points(name, at).await?.into_iter();
        Ok(points.filter(|point| matches(&point.attributes, wanted)).map(|point| to_count(point.value)).sum())
    }

    /// Reads every series of the classic histogram `name`.
    pub async fn histogram_points(&self, name: &str, at: Option<i64>) -> Result<Vec<HistogramPoint>> {
        let buckets = self.number_points(&format!("{name}_bucket"), at).await?;
        let sums = self.number_points(&format!("{name}_sum"), at).await?;
        classic_histograms(buckets, sums).with_context(|| name.to_owned())
    }

    /// Reads every series of the native histogram `name`, with its labels.
    pub async fn native_histograms(
        &self,
        name: &str,
        at: Option<i64>,
    ) -> Result<Vec<(Attributes, NativeHistogram)>> {
        let elements = self.vector(&selector(name, &[]), at).await?.into_iter();
        let point = |Element { labels, value }| match value {
            ElementValue::Histogram(histogram) => Some((attributes(labels), histogram)),
            ElementValue::Number(_) => None,
        };
        Ok(elements.filter_map(point).collect())
    }

    /// Lets the engine estimate a quantile (0 to 1) over all series of the classic histogram `name` with
    /// the labels `wanted`. Returns `None` if there are no such series.
    pub async fn quantile(
        &self,
        quantile: f64,
        name: &str,
        wanted: &[(&str, &str)],
        at: Option<i64>,
    ) -> Result<Option<f64>> {
        // VictoriaMetrics converts exponential histograms to buckets with the label `vmrange`, which no other
        // series has.
        let buckets = format!("sum by (le, vmrange) ({})", selector(&format!("{name}_bucket"), wanted));
        self.number(&format!("histogram_quantile({quantile}, {buckets})"), at).await
    }

    /// Like [`PromQl::quantile`], but over all series of the native histogram `name`.
    pub async fn native_quantile(
        &self,
        quantile: f64,
        name: &str,
        wanted: &[(&str, &str)],
        at: Option<i64>,
    ) -> Result<Option<f64>> {
        let query = format!("histogram_quantile({quantile}, sum({}))", selector(name, wanted));
        self.number(&query, at).await
    }

    /// Counts the series of the metric `name` with the labels `wanted` that had values in the hour before
    /// `at`, but have no value at `at`.
    pub async fn ended(&self, name: &str, wanted: &[(&str, &str)], at: i64) -> Result<usize> {
        let selector = selector(name, wanted);
        let before = self.instant(&format!("{selector}[1h]"), Some(at), "matrix").await?;
        let now = self.instant(&selector, Some(at), "vector").await?;
        Ok(before.iter().filter(|then| now.iter().all(|row| row.metric != then.metric)).count())
    }

    /// Reads the series that match the selectors of a query and have exemplars between two times.
    pub async fn exemplars(&self, query: &str, from: i64, to: i64) -> Result<Vec<ExemplarPoint>> {
        let (start, end) = (seconds(from), seconds(to));
        let parameters = [("query", query), ("start", start.as_str()), ("end", end.as_str())];
        let found: Vec<SeriesExemplars> = self.read("/api/v1/query_exemplars", &parameters).await?;
        found.into_iter().map(|series| self.exemplar_point(series)).collect()
    }

    /// Sends `GET path` and returns the body of the answer; fails unless the status is a success.
    pub async fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Result<String> {
        let url = format!("http://{}{path}", self.address);
        let answer = self.client.get(&url).query(parameters).timeout(REQUEST_TIMEOUT).send().await;
        let answer = answer.with_context(|| url.clone())?;
        let status = answer.status();
        let body = answer.text().await.with_context(|| url.clone())?;
        ensure!(status.is_success(), "{url} {parameters:?} answered {status}: {body}");
        Ok(body)
    }

    async fn instant(&self, query: &str, at: Option<i64>, result_type: &str) -> Result<Vec<QueryRow>> {
        let at = at.map(seconds);
        let mut parameters = vec![("query", query)];
        parameters.extend(at.as_deref().map(|at| ("time", at)));
        let found: QueryResult = self.read("/api/v1/query", &parameters).await?;
        ensure!(found.result_type == result_type, "{query} returns a {}", found.result_type);
        Ok(found.result)
    }

    async fn read<T: DeserializeOwned>(&self, path: &str, parameters: &[(&str, &str)]) -> Result<T> {
        let body = self.get(path, parameters).await?;
        let answer: QueryResponse<T> =
            serde_json::from_str(&body).with_context(|| format!("{path} {parameters:?} answered {body}"))?;
        Ok(answer.data)
    }

    fn exemplar_point(&self, series: SeriesExemplars) -> Result<ExemplarPoint> {
        let exemplar = |mut row: QueryExemplar| -> Result<ReceivedExemplar> {
            let mut take = |label: &str| row.labels.remove(label).unwrap_or_default();
            let (trace_id, span_id) = (take(TRACE_LABEL), take(SPAN_LABEL));
            let time_unix_nano = to_count(row.timestamp * 1e3) * NANOS_PER_MS;
            let (value, attributes) = (row.value.parse()?, attributes(row.labels));
            Ok(ReceivedExemplar { value, time_unix_nano, trace_id, span_id, attributes })
        };
        let exemplars = series.exemplars.into_iter().map(exemplar).collect::<Result<_>>()?;
        let instance = series.series_labels.get(self.instance_label).cloned().unwrap_or_default();
        Ok(ExemplarPoint { instance, attributes: attributes(series.series_labels), exemplars })
    }
}

/// Makes the selector of all series of a metric with the labels `wanted`. The names of the labels may
/// contain any characters.
pub fn selector(name: &str, wanted: &[(&str, &str)]) -> String {
    let all = [(NAME_LABEL, name)].into_iter().chain(wanted.iter().copied());
    let matchers: Vec<_> =
        all.map(|(label, value)| format!("{}={}", escaped(label), quoted(value))).collect();
    format!("{{{}}}", matchers.join(","))
}

/// Escapes a label name for VictoriaMetrics; a name that Prometheus allows is unchanged.
fn escaped(label: &str) -> String {
    let mut escaped = String::new();
    for character in label.chars() {
        if !character.is_ascii_alphanumeric() && character != '_' {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n"))
}

fn seconds(unix_ms: i64) -> String {
    format!("{}.{:03}", unix_ms / 1000, unix_ms % 1000)
}

fn attributes(labels: BTreeMap<String, String>) -> Attributes {
    let labels = labels.into_iter().filter(|(name, _)| name != NAME_LABEL);
    labels.map(|(name, value)| (name, ReceivedAttribute::Text(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_escape_names_and_quote_values() {
        assert_eq!(selector("up", &[]), r#"{__name__="up"}"#);
        assert_eq!(selector("a.b", &[("http.route", r#"a\"b"#)]), r#"{__name__="a.b",http\.route="a\\\"b"}"#);
    }

    #[test]
    fn query_times_have_milliseconds() {
        assert_eq!(seconds(1_700_000_000_042), "1700000000.042");
    }
}
