//! The compiled configuration: the values to read from each stream, and what is measured with them.

use tributary_proto::metric::{Kind, Metric};

use crate::source::{FallbackRead, Source};
use crate::template::HeaderTemplate;
use crate::transform::Transform;

/// The maximum number of sources of a metric group. Every observation has space for this many values.
pub const SOURCES_MAX: usize = 48;

/// Everything that a worker measures and does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The kind of streams that the plan measures.
    pub streams: Streams,
    /// The metrics of every stream.
    pub main: MetricGroup,
    /// The additional metrics of gRPC calls.
    pub calls: Option<GrpcCalls>,
    /// Counters in shared data.
    pub counters: Vec<CounterConfig>,
    /// When the statistic of observed streams is updated.
    pub observed: When,
    /// Whether requests in flight are counted.
    pub in_flight: bool,
    /// Headers to write into requests and responses; only in `worker_filter_full.wasm`.
    pub rules: Vec<HeaderRule>,
    /// Streams to log; only in `worker_filter_full.wasm`.
    pub tap: Option<TapConfig>,
}

/// A header to write or remove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderRule {
    /// Whether the header is in the request or in the response.
    pub side: Side,
    /// How the header is changed.
    pub action: HeaderAction,
    /// The name of the header.
    pub name: String,
    /// The value to write.
    pub template: HeaderTemplate,
    /// Whether a request is rejected with status 503 if a part of the value is missing; otherwise it is
    /// forwarded without the header.
    pub denies: bool,
}

/// One of the two directions of an HTTP stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// From the client to the upstream.
    Request,
    /// From the upstream to the client.
    Response,
}

/// How a header is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderAction {
    /// Replaces all headers of the name.
    Set,
    /// Adds a header and keeps existing headers of the same name.
    Append,
    /// Removes all headers of the name.
    Remove,
}

/// Which streams are logged, and how much of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TapConfig {
    /// A CEL expression that is true for streams to log.
    pub condition: String,
    /// The maximum number of streams per minute.
    pub per_minute: u64,
    /// The maximum number of bytes of each direction.
    pub body_bytes: usize,
    /// Headers whose values are masked.
    pub masked: Vec<String>,
}

/// A counter of streams in shared data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterConfig {
    /// The key of the counter.
    pub key: String,
    /// When the counter is updated.
    pub when: When,
    /// The source in the main group whose value is true for the streams to count. `None` counts every stream.
    pub condition: Option<usize>,
    /// The response header that carries the value of the counter. A counter with such a header counts
    /// responses.
    pub response_header: Option<String>,
}

/// When a shared count is updated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// With each request: the count is always exact, but costs about two host calls per request.
    Request,
    /// With each flush of the folds.
    Flush,
}

/// A kind of streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Streams {
    /// HTTP requests with their responses.
    Http,
    /// TCP connections.
    Tcp,
}

/// Metrics that share their dimensions, and the sources to read for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetricGroup {
    /// The values to read. Each value is in the list once, and the other fields refer to it by its index.
    pub sources: Vec<Source>,
    /// The attributes of the series.
    pub dimensions: Vec<Dimension>,
    /// The metrics of the group, with the sources of their values.
    pub measures: Vec<Measure>,
    /// The source with the trace, if histograms keep exemplars.
    pub trace: Option<usize>,
}

/// The metrics of gRPC calls. Their sources are read only from streams that may be calls according to the
/// values of the main group's sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrpcCalls {
    /// The metrics, with their dimensions and sources.
    pub group: MetricGroup,
    /// The source in the main group with the method. A call has the method POST.
    pub method: usize,
    /// The source in the main group with the status. A call has the status 200 or no status.
    pub status: usize,
    /// The source in this group whose value is empty if the stream is not a call.
    pub indicator: usize,
}

/// An attribute of the series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dimension {
    /// The key of the attribute, such as `http.request.method`.
    pub name: String,
    /// Where the values of the attribute come from.
    pub value: DimensionValue,
    /// How a value becomes an attribute.
    pub transform: Transform,
    /// The replacement of an absent or mistyped value, in the transform's format. With `None` the attribute
    /// is left out.
    pub default: Option<Box<[u8]>>,
    /// The values to keep; an empty list keeps all values. Other values become [`crate::transform::OTHER`].
    pub allow: Vec<Box<[u8]>>,
    /// The maximum number of distinct values in a worker. Further values become
    /// [`crate::transform::OTHER`].
    pub max_values: Option<usize>,
    /// The length to which a value is cut, in bytes.
    pub max_bytes: usize,
}

/// Where the values of a dimension come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DimensionValue {
    /// The index of a source of the group.
    Source(usize),
    /// A text that is the same for every stream.
    Constant(String),
}

/// A metric and where its values come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measure {
    /// The metric to which observations are added.
    pub metric: Metric,
    /// What an observation adds to the metric.
    pub input: MeasureInput,
}

/// What an observation adds to a metric. A counter adds the change since the last observation of the stream.
/// A histogram records the total at the end of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MeasureInput {
    /// The number 1, when a stream ends.
    End,
    /// The number 1, when a stream is observed for the first time.
    Start,
    /// The integer in a source of the group. Adds nothing if the value is absent, mistyped or negative.
    Source(usize),
    /// The integer in a source of the group. Adds 0 if the value is absent, mistyped or negative.
    SourceOrZero(usize),
    /// The number of messages in one direction of a gRPC call, from [`Source::grpc_messages`]. Adds nothing
    /// if the number is absent.
    Messages(usize, Side),
    /// The nanoseconds since the time in a source of the group.
    TimeSince(usize),
}

impl MetricGroup {
    /// Returns the metrics in the order of the measures.
    pub fn metrics(&self) -> Vec<Metric> {
        self.measures.iter().map(|measure| measure.metric.clone()).collect()
    }

    /// Returns the measure that has exemplars: the first histogram, if traces are read. An exemplar is the
    /// trace of the measure's greatest value.
    pub fn traced(&self) -> Option<usize> {
        self.trace?;
        let is_histogram = |measure: &Measure| {
            matches!(measure.metric.kind, Kind::Histogram { .. } | Kind::Exponential { .. })
        };
        self.measures.iter().position(is_histogram)
    }

    /// Returns whether all dimensions can be read without expressions, which Envoy does not evaluate on a
    /// tick.
    pub fn dimensions_need_no_expression(&self) -> bool {
        self.dimensions.iter().all(|dimension| {
            let DimensionValue::Source(at) = dimension.value else { return true };
            let fallback = self.sources.get(at).map(|source| &source.fallback);
            !matches!(fallback, Some(FallbackRead::Expression(_)))
        })
    }

    /// Returns whether a client can choose the values of a dimension.
    pub fn is_client_chosen(&self, dimension: &Dimension) -> bool {
        let DimensionValue::Source(at) = dimension.value else { return false };
        self.sources.get(at).is_some_and(Source::is_client_chosen)
    }

    /// Iterates over the dimensions for which a client can choose any number of distinct values.
    pub fn unbounded(&self) -> impl Iterator<Item = &Dimension> {
        self.dimensions.iter().filter(|dimension| {
            let is_limited = dimension.max_values.is_some() || !dimension.allow.is_empty();
            self.is_client_chosen(dimension) && !is_limited && !dimension.transform.is_bounded()
        })
    }

    /// Returns the index of a source. Adds the source if the group does not have it yet.
    pub fn source(&mut self, source: Source) -> usize {
        let known = self.sources.iter().position(|known| *known == source);
        known.unwrap_or_else(|| {
            self.sources.push(source);
            self.sources.len().saturating_sub(1)
        })
    }

    /// Removes the sources that neither the group nor `external` refers to, and updates all references.
    pub fn prune<'a>(&'a mut self, external: impl Iterator<Item = &'a mut usize>) {
        let dimensions = self.dimensions.iter_mut().filter_map(|dimension| match &mut dimension.value {
            DimensionValue::Source(at) => Some(at),
            DimensionValue::Constant(_) => None,
        });
        let measures = self.measures.iter_mut().filter_map(|measure| match &mut measure.input {
            MeasureInput::Source(at)
            | MeasureInput::SourceOrZero(at)
            | MeasureInput::Messages(at, _)
            | MeasureInput::TimeSince(at) => Some(at),
            MeasureInput::End | MeasureInput::Start => None,
        });
        let mut kept: Vec<usize> = Vec::new();
        for at in dimensions.chain(measures).chain(&mut self.trace).chain(external) {
            let index = kept.iter().position(|old| old == at);
            if index.is_none() {
                kept.push(*at);
            }
            *at = index.unwrap_or(kept.len().saturating_sub(1));
        }
        self.sources = kept.iter().filter_map(|at| self.sources.get(*at).cloned()).collect();
    }
}

impl Plan {
    /// Removes the dimensions and metrics with this name. Returns false if nothing has this name.
    pub fn drop(&mut self, name: &str) -> bool {
        let mut dropped = false;
        for group in std::iter::once(&mut self.main).chain(self.calls.as_mut().map(|calls| &mut calls.group))
        {
            let before = (group.dimensions.len(), group.measures.len());
            group.dimensions.retain(|dimension| dimension.name != name);
            group.measures.retain(|measure| measure.metric.name != name);
            dropped |= before != (group.dimensions.len(), group.measures.len());
        }
        self.calls.take_if(|calls| calls.group.measures.is_empty());
        dropped
    }

    /// Returns whether the messages of gRPC calls are counted, which needs Envoy's `grpc_stats` filter.
    pub fn counts_grpc_messages(&self) -> bool {
        let calls = self.calls.iter().flat_map(|calls| &calls.group.measures);
        let mut measures = self.main.measures.iter().chain(calls);
        measures.any(|measure| matches!(measure.input, MeasureInput::Messages(..)))
    }

    /// Removes the sources that nothing refers to.
    pub fn prune(&mut self) {
        let conditions = self.counters.iter_mut().filter_map(|counter| counter.condition.as_mut());
        let call_filter = self.calls.iter_mut().flat_map(|calls| {
            calls.group.prune(std::iter::once(&mut calls.indicator));
            [&mut calls.method, &mut calls.status]
        });
        self.main.prune(conditions.chain(call_filter));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pruning_removes_unused_sources_and_updates_references() {
        let dimension = |at| Dimension {
            name: "d".into(),
            value: DimensionValue::Source(at),
            transform: Transform::Text,
            default: None,
            allow: vec![],
            max_values: None,
            max_bytes: 9,
        };
        let mut group = MetricGroup::default();
        for name in ["a", "b", "c", "d"] {
            group.source(Source::expression(name));
        }
        assert_eq!(group.source(Source::expression("b")), 1, "each source once");
        group.dimensions = vec![dimension(3), dimension(1)];
        let mut external = [1, 0];
        group.prune(external.iter_mut());
        assert_eq!(external, [1, 2]);
        let texts: Vec<_> = group.sources.iter().map(|source| source.written()).collect();
        assert_eq!(texts, ["d", "b", "a"]);
        assert_eq!(group.dimensions, [dimension(0), dimension(1)]);
    }
}
