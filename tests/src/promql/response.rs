//! The responses of the query API: elements with a number or a native histogram, and exemplars.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Deserialize;

/// One element of a query result.
#[derive(Debug, Clone, PartialEq)]
pub struct Element {
    /// The labels, including the metric name unless the query dropped it.
    pub labels: BTreeMap<String, String>,
    /// The value.
    pub value: ElementValue,
}

/// The value of an element.
#[derive(Debug, Clone, PartialEq)]
pub enum ElementValue {
    /// The number of a sum, gauge or bucket.
    Number(f64),
    /// A native histogram.
    Histogram(NativeHistogram),
}

/// A native histogram in a query result.
#[derive(Debug, Clone, PartialEq)]
pub struct NativeHistogram {
    /// The number of recorded values. It can be a fraction if the query calculates a rate or an average.
    pub count: f64,
    /// The sum of the recorded values.
    pub sum: f64,
    /// The non-empty buckets in ascending order.
    pub buckets: Vec<NativeBucket>,
}

/// One bucket of a native histogram.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NativeBucket {
    /// The lower bound.
    pub lower: f64,
    /// The upper bound.
    pub upper: f64,
    /// The number of values.
    pub count: f64,
}

#[derive(Deserialize)]
pub(super) struct QueryResponse<T> {
    pub(super) data: T,
}

#[derive(Deserialize)]
pub(super) struct QueryResult {
    #[serde(rename = "resultType")]
    pub(super) result_type: String,
    pub(super) result: Vec<QueryRow>,
}

/// One row of a query result. Numbers are text, because JSON has no infinity.
#[derive(Deserialize)]
pub(super) struct QueryRow {
    pub(super) metric: BTreeMap<String, String>,
    value: Option<(f64, String)>,
    histogram: Option<(f64, QueryHistogram)>,
}

#[derive(Deserialize)]
struct QueryHistogram {
    count: String,
    sum: String,
    /// For each bucket: a number for which bounds are inclusive, the lower bound, the upper bound, and the
    /// count.
    #[serde(default)]
    buckets: Vec<(u8, String, String, String)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SeriesExemplars {
    pub(super) series_labels: BTreeMap<String, String>,
    pub(super) exemplars: Vec<QueryExemplar>,
}

#[derive(Deserialize)]
pub(super) struct QueryExemplar {
    pub(super) labels: BTreeMap<String, String>,
    pub(super) value: String,
    /// The time, in seconds since 1970.
    pub(super) timestamp: f64,
}

/// Parses a row of a query result.
pub(super) fn element(row: QueryRow) -> Result<Element> {
    let value = match (row.value, row.histogram) {
        (Some((_, number)), None) => ElementValue::Number(number.parse()?),
        (None, Some((_, histogram))) => ElementValue::Histogram(native_histogram(histogram)?),
        _ => anyhow::bail!("{:?} has neither a number nor a histogram", row.metric),
    };
    Ok(Element { labels: row.metric, value })
}

fn native_histogram(row: QueryHistogram) -> Result<NativeHistogram> {
    let bucket = |(_, lower, upper, count): (u8, String, String, String)| -> Result<NativeBucket> {
        Ok(NativeBucket { lower: lower.parse()?, upper: upper.parse()?, count: count.parse()? })
    };
    let buckets = row.buckets.into_iter().map(bucket).collect::<Result<_>>()?;
    Ok(NativeHistogram { count: row.count.parse()?, sum: row.sum.parse()?, buckets })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_native_histograms_are_distinguished() {
        let row = |json: serde_json::Value| element(serde_json::from_value(json).unwrap());
        let number = row(serde_json::json!({"metric": {"a": "b"}, "value": [1.5, "+Inf"]})).unwrap();
        assert_eq!(number.value, ElementValue::Number(f64::INFINITY));
        let histogram = serde_json::json!({"count": "3", "sum": "0.5", "buckets": [[0, "1", "2", "3"]]});
        let histogram = row(serde_json::json!({"metric": {}, "histogram": [1.5, histogram]})).unwrap();
        let buckets = vec![NativeBucket { lower: 1.0, upper: 2.0, count: 3.0 }];
        assert_eq!(
            histogram.value,
            ElementValue::Histogram(NativeHistogram { count: 3.0, sum: 0.5, buckets })
        );
        assert!(row(serde_json::json!({"metric": {}})).is_err());
    }
}
