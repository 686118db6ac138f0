//! The store for remote write: every series with its samples, each checked on arrival.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use anyhow::{Context, Result, ensure};

use crate::metrics::{
    Attributes, ExponentialPoint, HistogramPoint, NumberPoint, ReceivedAttribute, ReceivedBuckets,
    ReceivedExponentialHistogram, classic_histograms, matches, to_count,
};
use crate::remote_write::{
    BucketSpan, Label, LabeledExemplar, MetricMetadata, NAME_LABEL, NativeHistogram, Sample,
};
use crate::remote_write::{TimeSeries, WriteRequest, is_stale};

const INSTANCE_LABEL: &str = "instance";
/// The schemas of native histograms with exponential bounds.
const SCHEMAS: std::ops::RangeInclusive<i32> = -4..=8;
/// The maximum number of characters in the label names and values of an exemplar, according to OpenMetrics.
const MAX_EXEMPLAR_CHARACTERS: usize = 128;

/// All series that were received by remote write and accepted.
#[derive(Debug, Clone, Default)]
pub struct RemoteWriteStore {
    series: BTreeMap<SeriesLabels, RemoteSeries>,
    metadata: BTreeMap<String, MetricMetadata>,
}

/// The labels of a series, including the metric name.
pub type SeriesLabels = BTreeMap<String, String>;

/// One series with everything that was received for it, in order of time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RemoteSeries {
    /// The samples.
    pub samples: Vec<Sample>,
    /// The native histograms.
    pub histograms: Vec<NativeHistogram>,
    /// The exemplars, in order of arrival.
    pub exemplars: Vec<LabeledExemplar>,
}

impl RemoteWriteStore {
    /// Returns every series of the metric `name` with the labels `wanted`, including ended series.
    pub fn series(&self, name: &str, wanted: &[(&str, &str)]) -> Vec<(&SeriesLabels, &RemoteSeries)> {
        let has = |labels: &SeriesLabels, (key, value): &(&str, &str)| {
            labels.get(*key).is_some_and(|found| found == value)
        };
        let is_wanted = |labels: &SeriesLabels| {
            has(labels, &(NAME_LABEL, name)) && wanted.iter().all(|label| has(labels, label))
        };
        self.series.iter().filter(|(labels, _)| is_wanted(labels)).collect()
    }

    /// Sums the latest values of all active series of the metric `name` with the labels `wanted`.
    pub fn sum(&self, name: &str, wanted: &[(&str, &str)]) -> u64 {
        let points = self.number_points(name).into_iter();
        points.filter(|point| matches(&point.attributes, wanted)).map(|point| to_count(point.value)).sum()
    }

    /// Counts the series of the metric `name` with the labels `wanted` that ended with a staleness marker.
    pub fn ended(&self, name: &str, wanted: &[(&str, &str)]) -> usize {
        self.series(name, wanted).iter().filter(|(_, series)| series.has_ended()).count()
    }

    /// Returns every active series of the metric `name` with its latest value; all labels are text.
    pub fn number_points(&self, name: &str) -> Vec<NumberPoint> {
        let active = self.series(name, &[]).into_iter().filter(|(_, series)| !series.has_ended());
        let point = |(labels, series): (&SeriesLabels, &RemoteSeries)| {
            let value = series.samples.last()?.value;
            Some(NumberPoint { instance: instance(labels), attributes: attributes(labels), value })
        };
        active.filter_map(point).collect()
    }

    /// Returns every active series of the classic histogram `name`, assembled from its series `_bucket` and
    /// `_sum`.
    pub fn histogram_points(&self, name: &str) -> Result<Vec<HistogramPoint>> {
        let series = |suffix: &str| self.number_points(&format!("{name}{suffix}"));
        classic_histograms(series("_bucket"), series("_sum")).with_context(|| name.to_owned())
    }

    /// Returns every active series of the native histogram `name` with its latest value, as an
    /// OpenTelemetry histogram.
    pub fn exponential_points(&self, name: &str) -> Vec<ExponentialPoint> {
        let active = self.series(name, &[]).into_iter().filter(|(_, series)| !series.has_ended());
        let point = |(labels, series): (&SeriesLabels, &RemoteSeries)| {
            // Invalid histograms were rejected on arrival.
            let histogram = native(series.histograms.last()?).ok()?;
            Some(ExponentialPoint { instance: instance(labels), attributes: attributes(labels), histogram })
        };
        active.filter_map(point).collect()
    }

    /// Returns the metadata of the metric `name`.
    pub fn metadata(&self, name: &str) -> Option<&MetricMetadata> {
        self.metadata.get(name)
    }

    /// Returns the names of all metrics with their numbers of series.
    pub fn metrics(&self) -> BTreeMap<&str, usize> {
        let mut metrics = BTreeMap::new();
        for name in self.series.keys().filter_map(|labels| labels.get(NAME_LABEL)) {
            *metrics.entry(name.as_str()).or_default() += 1;
        }
        metrics
    }

    /// Stores all series of a request. If a series is invalid, stores nothing; the error names the first
    /// invalid series.
    pub(super) fn take(&mut self, request: &WriteRequest) -> Result<()> {
        let mut changed: BTreeMap<SeriesLabels, RemoteSeries> = BTreeMap::new();
        for incoming in &request.timeseries {
            let labels = labels(&incoming.labels).with_context(|| format!("{:?}", incoming.labels))?;
            let Entry::Vacant(entry) = changed.entry(labels) else {
                anyhow::bail!("duplicate series {:?} in one request", incoming.labels);
            };
            let mut series = self.series.get(entry.key()).cloned().unwrap_or_default();
            series.take(incoming).with_context(|| format!("{:?}", entry.key()))?;
            entry.insert(series);
        }
        self.series.extend(changed);
        let named = |metadata: &MetricMetadata| (metadata.metric_family_name.clone(), metadata.clone());
        self.metadata.extend(request.metadata.iter().map(named));
        Ok(())
    }
}

impl RemoteSeries {
    /// Returns whether the latest value of the series is a staleness marker.
    pub fn has_ended(&self) -> bool {
        let sample = self.samples.last().map(|sample| (sample.timestamp, sample.value));
        let histogram = self.histograms.last().map(|histogram| (histogram.timestamp, histogram.sum));
        let latest = sample.into_iter().chain(histogram).max_by_key(|(timestamp, _)| *timestamp);
        latest.is_some_and(|(_, value)| is_stale(value))
    }

    fn take(&mut self, incoming: &TimeSeries) -> Result<()> {
        let TimeSeries { samples, histograms, exemplars, .. } = incoming;
        ensure!(!samples.is_empty() || !histograms.is_empty() || !exemplars.is_empty(), "it has no samples");
        for sample in samples {
            follows(self.samples.last().map(|last| last.timestamp), sample.timestamp)?;
            self.samples.push(*sample);
        }
        for histogram in histograms {
            follows(self.histograms.last().map(|last| last.timestamp), histogram.timestamp)?;
            if !is_stale(histogram.sum) {
                native(histogram)?.check()?;
            }
            self.histograms.push(histogram.clone());
        }
        for exemplar in exemplars {
            check_exemplar(exemplar)?;
            self.exemplars.push(exemplar.clone());
        }
        Ok(())
    }
}

fn follows(last: Option<i64>, next: i64) -> Result<()> {
    ensure!(next > 0, "the time {next} is not in milliseconds since 1970");
    ensure!(last.is_none_or(|last| last < next), "the time {next} comes after {last:?}");
    Ok(())
}

/// Converts labels, and checks them by the rules of the protocol.
fn labels(list: &[Label]) -> Result<SeriesLabels> {
    ensure!(list.is_sorted_by(|a, b| a.name < b.name), "the labels are not sorted, or one is a duplicate");
    for Label { name, value } in list {
        ensure!(
            is_name(name, "_"),
            "the label name {name:?} has characters other than letters, digits and _"
        );
        ensure!(!value.is_empty(), "the label {name:?} is empty");
    }
    let labels: SeriesLabels = list.iter().map(|label| (label.name.clone(), label.value.clone())).collect();
    let name = labels.get(NAME_LABEL).context("the metric name is missing")?;
    ensure!(
        is_name(name, "_:"),
        "the metric name {name:?} has characters other than letters, digits, _ and :"
    );
    Ok(labels)
}

fn is_name(name: &str, also: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || also.contains(c);
    !name.is_empty() && name.chars().all(allowed) && !name.starts_with(|c: char| c.is_ascii_digit())
}

fn check_exemplar(exemplar: &LabeledExemplar) -> Result<()> {
    follows(None, exemplar.timestamp).context("an exemplar")?;
    let mut names: Vec<_> = exemplar.labels.iter().map(|label| label.name.as_str()).collect();
    names.sort_unstable();
    ensure!(names.is_sorted_by(|a, b| a < b), "an exemplar has duplicate labels: {names:?}");
    ensure!(names.iter().all(|name| is_name(name, "_")), "an exemplar has an invalid label name: {names:?}");
    let texts = exemplar.labels.iter().flat_map(|label| [&label.name, &label.value]);
    let characters: usize = texts.map(|text| text.chars().count()).sum();
    ensure!(
        characters <= MAX_EXEMPLAR_CHARACTERS,
        "the labels of an exemplar have {characters} characters, at most {MAX_EXEMPLAR_CHARACTERS} are allowed"
    );
    Ok(())
}

/// Converts a native histogram to an OpenTelemetry histogram.
fn native(histogram: &NativeHistogram) -> Result<ReceivedExponentialHistogram> {
    ensure!(SCHEMAS.contains(&histogram.schema), "the schema {} is not in {SCHEMAS:?}", histogram.schema);
    Ok(ReceivedExponentialHistogram {
        count: histogram.count_int.context("a native histogram without an integer count")?,
        sum: histogram.sum,
        min: None,
        max: None,
        scale: histogram.schema,
        zero_count: histogram.zero_count_int.unwrap_or_default(),
        zero_threshold: histogram.zero_threshold,
        positive: buckets(&histogram.positive_spans, &histogram.positive_deltas)?,
        negative: buckets(&histogram.negative_spans, &histogram.negative_deltas)?,
    })
}

fn buckets(spans: &[BucketSpan], deltas: &[i64]) -> Result<ReceivedBuckets> {
    let length: u64 = spans.iter().map(|span| u64::from(span.length)).sum();
    ensure!(length == u64::try_from(deltas.len())?, "{} deltas for {length} buckets", deltas.len());
    let mut deltas = deltas.iter();
    let (mut counts, mut count) = (Vec::new(), 0_i64);
    for (position, span) in spans.iter().enumerate() {
        if position > 0 {
            let gap =
                usize::try_from(span.offset).context("a span starts before the end of the previous one")?;
            counts.resize(counts.len() + gap, 0);
        }
        for delta in deltas.by_ref().take(usize::try_from(span.length)?) {
            count += delta;
            counts.push(u64::try_from(count).context("a bucket with a negative count")?);
        }
    }
    // Prometheus derives the index of a bucket from its upper bound, OpenTelemetry from its lower bound.
    let offset = spans.first().map_or(0, |span| span.offset.saturating_sub(1));
    Ok(ReceivedBuckets { offset, counts })
}

fn instance(labels: &SeriesLabels) -> String {
    labels.get(INSTANCE_LABEL).cloned().unwrap_or_default()
}

fn attributes(labels: &SeriesLabels) -> Attributes {
    let labels = labels.iter().filter(|(name, _)| *name != NAME_LABEL);
    labels.map(|(name, value)| (name.clone(), ReceivedAttribute::Text(value.clone()))).collect()
}

#[cfg(test)]
mod tests;
