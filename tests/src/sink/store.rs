//! The store of a sink: the state of every series, with every point checked on arrival.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use hyper::header::HeaderMap;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;

use super::encoding::{Message, RequestEncoding};
use super::point::{self, ReceivedValue};
use super::remote_write::RemoteWriteStore;
use super::series::ReceivedSeries;
use crate::metrics::{
    Attributes, ExemplarPoint, ExponentialPoint, HistogramPoint, NumberPoint, matches, to_count,
};

const INSTANCE_KEY: &str = "service.instance.id";

/// All series that were received and accepted. Series received by remote write are kept separately.
///
/// A series always has the total of all recorded values. A cumulative point replaces the previous point,
/// unless its start time is new: then it is added. Deltas are added up. An ended series keeps its total.
#[derive(Debug, Clone, Default)]
pub struct Store {
    series: BTreeMap<Key, ReceivedSeries>,
    remote_write: RemoteWriteStore,
    allows_gaps: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    metric: String,
    instance: String,
    attributes: Attributes,
}

impl Store {
    /// Creates an empty store that accepts deltas with gaps between their times. Such gaps occur when a
    /// series starts again after it was idle, or after a restart of the service.
    pub fn with_gaps() -> Self {
        Self { allows_gaps: true, ..Self::default() }
    }

    /// Returns the store for remote write.
    pub fn remote_write(&self) -> &RemoteWriteStore {
        &self.remote_write
    }

    /// Sums the values of all series of the metric `name` with the attributes `wanted`; 0 if there are no
    /// such series.
    pub fn sum(&self, name: &str, wanted: &[(&str, &str)]) -> u64 {
        let points = self.number_points(name).into_iter();
        points.filter(|point| matches(&point.attributes, wanted)).map(|point| to_count(point.value)).sum()
    }

    /// Sums the counts of all series of the histogram `name`, of either kind, with the attributes `wanted`.
    pub fn count(&self, name: &str, wanted: &[(&str, &str)]) -> u64 {
        let wanted = self.totals(name).filter(|(key, _)| matches(&key.attributes, wanted));
        wanted.filter_map(|(_, value)| value.count()).sum()
    }

    /// Counts the series of the metric `name` with the attributes `wanted` that were marked as ended.
    pub fn ended(&self, name: &str, wanted: &[(&str, &str)]) -> usize {
        let wanted = self.named(name).filter(|(key, _)| matches(&key.attributes, wanted));
        wanted.filter(|(_, series)| series.has_ended()).count()
    }

    /// Returns every series of the sum or gauge `name`.
    pub fn number_points(&self, name: &str) -> Vec<NumberPoint> {
        self.points(name, |instance, attributes, value| {
            let value = value.number()?;
            Some(NumberPoint { instance, attributes, value })
        })
    }

    /// Returns every series of the histogram `name` with explicit bounds.
    pub fn histogram_points(&self, name: &str) -> Vec<HistogramPoint> {
        self.points(name, |instance, attributes, value| {
            let ReceivedValue::Histogram(histogram) = value else { return None };
            Some(HistogramPoint { instance, attributes, histogram })
        })
    }

    /// Returns every series of the exponential histogram `name`.
    pub fn exponential_points(&self, name: &str) -> Vec<ExponentialPoint> {
        self.points(name, |instance, attributes, value| {
            let ReceivedValue::Exponential(histogram) = value else { return None };
            Some(ExponentialPoint { instance, attributes, histogram })
        })
    }

    /// Returns every series of the metric `name` that has exemplars.
    pub fn exemplars(&self, name: &str) -> Vec<ExemplarPoint> {
        let with_exemplars = self.named(name).filter(|(_, series)| !series.exemplars().is_empty());
        let point = |(key, series): (&Key, &ReceivedSeries)| ExemplarPoint {
            instance: key.instance.clone(),
            attributes: key.attributes.clone(),
            exemplars: series.exemplars().to_vec(),
        };
        with_exemplars.map(point).collect()
    }

    /// Returns the names of all metrics with their numbers of series.
    pub fn metrics(&self) -> BTreeMap<&str, usize> {
        let mut metrics = BTreeMap::new();
        for key in self.series.keys() {
            *metrics.entry(key.metric.as_str()).or_default() += 1;
        }
        metrics
    }

    /// Calls `point` with the instance, the attributes and the total of each series of the metric `name`,
    /// and collects the points that it returns.
    fn points<P>(
        &self,
        name: &str,
        point: impl Fn(String, Attributes, ReceivedValue) -> Option<P>,
    ) -> Vec<P> {
        let point = |(key, value): (&Key, _)| point(key.instance.clone(), key.attributes.clone(), value);
        self.totals(name).filter_map(point).collect()
    }

    fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a Key, &'a ReceivedSeries)> {
        self.series.iter().filter(move |(key, _)| key.metric == name)
    }

    fn totals<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a Key, ReceivedValue)> {
        self.named(name).filter_map(|(key, series)| Some((key, series.total()?)))
    }

    /// Decodes and stores a request.
    pub fn take_request(&mut self, headers: &HeaderMap, body: &[u8]) -> Result<()> {
        self.take(&RequestEncoding::of(headers)?.decode(headers, body)?)
    }

    /// Stores all points of a request. If a point is invalid, stores nothing; the error names the first
    /// invalid point.
    pub(super) fn take(&mut self, message: &Message) -> Result<()> {
        match message {
            Message::Otlp(request) => self.take_otlp(request),
            Message::RemoteWrite(request) => self.remote_write.take(request),
        }
    }

    fn take_otlp(&mut self, request: &ExportMetricsServiceRequest) -> Result<()> {
        let mut changed: BTreeMap<Key, ReceivedSeries> = BTreeMap::new();
        for resource_metrics in &request.resource_metrics {
            let resource = resource_metrics.resource.as_ref();
            let resource = point::attributes(
                resource.map(|resource| resource.attributes.as_slice()).unwrap_or_default(),
            )?;
            let instance = resource.get(INSTANCE_KEY).map(ToString::to_string).unwrap_or_default();
            for metric in resource_metrics.scope_metrics.iter().flat_map(|scope| &scope.metrics) {
                let (kind, points) =
                    point::points(metric).with_context(|| format!("metric {:?}", metric.name))?;
                for point in points {
                    let (metric, instance) = (metric.name.clone(), instance.clone());
                    let key = Key { metric, instance, attributes: point.attributes.clone() };
                    ensure!(!changed.contains_key(&key), "duplicate series {key:?} in one request");
                    let series = self.series.get(&key).cloned();
                    let mut series = series.unwrap_or_else(|| ReceivedSeries::with_gaps(self.allows_gaps));
                    series.take(kind, point).with_context(|| format!("{key:?}"))?;
                    changed.insert(key, series);
                }
            }
        }
        self.series.extend(changed);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
