//! Presets: the plans from which configurations start.

mod istio;
mod otel;
mod tcp;

use tributary_proto::metric::{Kind, Metric};

use crate::plan::{Dimension, DimensionValue, Measure, MeasureInput, MetricGroup, Plan, Streams, When};
use crate::source::Source;
use crate::transform::Transform;
use crate::workload::WorkloadField;

/// A plan from which a configuration starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// The OpenTelemetry semantic conventions for HTTP servers, and for RPC servers if a request is a gRPC
    /// call.
    Otel,
    /// The metrics and labels of Istio's dashboards, for HTTP.
    Istio,
    /// The same, for TCP.
    IstioTcp,
    /// TCP connections.
    Tcp,
    /// An empty plan.
    None,
}

/// The options of presets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Whether messages of gRPC calls are counted, which needs Envoy's `grpc_stats` filter.
    pub grpc_messages: bool,
}

/// Reads metadata of Envoy's node, by a path under `xds.node` with NUL between its segments.
pub type NodeLookup<'a> = dyn Fn(&str) -> Option<String> + 'a;

impl Preset {
    /// All presets, by their names in a configuration.
    pub const ALL: [(&str, Preset); 5] = [
        ("otel", Preset::Otel),
        ("istio", Preset::Istio),
        ("istio_tcp", Preset::IstioTcp),
        ("tcp", Preset::Tcp),
        ("none", Preset::None),
    ];

    /// Creates the plan.
    pub fn plan(self, options: Options, node: &NodeLookup<'_>) -> Plan {
        match self {
            Self::Otel => otel::plan(options),
            Self::Istio => istio::http(options, node),
            Self::IstioTcp => istio::tcp(node),
            Self::Tcp => tcp::plan(),
            Self::None => Plan::of(Streams::Http, MetricGroup::default()),
        }
    }
}

impl Plan {
    /// Creates a plan with the `main` group only.
    fn of(streams: Streams, main: MetricGroup) -> Self {
        let (counters, rules) = (Vec::new(), Vec::new());
        let observed = When::Flush;
        Self { streams, main, calls: None, counters, observed, in_flight: false, rules, tap: None }
    }
}

/// The default of `max_bytes`.
pub const VALUE_BYTES_DEFAULT: usize = 256;

/// Advised bounds of durations (OpenTelemetry semantic conventions 1.44, `docs/http/http-metrics.md`), in
/// milliseconds.
pub const DURATION_BOUNDS_MS: [u64; 14] =
    [5, 10, 25, 50, 75, 100, 250, 500, 750, 1_000, 2_500, 5_000, 7_500, 10_000];

/// Bounds of sizes in bytes, for which the conventions have none: powers of four from 64 B to 64 MiB.
pub const SIZE_BOUNDS: [u64; 11] =
    [64, 256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216, 67_108_864];

/// Durations are recorded in nanoseconds.
const NS_IN_MS: u64 = 1_000_000;
const NS_IN_S: u64 = 1_000_000_000;

/// Creates a dimension without limits on its values.
pub fn dimension(name: &str, value: DimensionValue, transform: Transform) -> Dimension {
    Dimension {
        name: name.to_owned(),
        value,
        transform,
        default: None,
        allow: Vec::new(),
        max_values: None,
        max_bytes: VALUE_BYTES_DEFAULT,
    }
}

/// Functions to write a preset.
impl MetricGroup {
    fn dimension(&mut self, name: &str, source: Source, transform: Transform) {
        let value = DimensionValue::Source(self.source(source));
        self.dimensions.push(dimension(name, value, transform));
    }

    /// Adds a text dimension with a default.
    fn text_or(&mut self, name: &str, source: Source, default: &str) {
        let value = DimensionValue::Source(self.source(source));
        let default = Some(default.as_bytes().into());
        self.dimensions.push(Dimension { default, ..dimension(name, value, Transform::Text) });
    }

    /// Adds a dimension of a workload or service in Istio, with a default.
    fn workload_field_or(&mut self, name: &str, source: Source, field: WorkloadField, default: &str) {
        let value = DimensionValue::Source(self.source(source));
        let (transform, default) =
            (Transform::WorkloadField(Box::new(field)), Some(default.as_bytes().into()));
        self.dimensions.push(Dimension { default, ..dimension(name, value, transform) });
    }

    fn constant(&mut self, name: &str, value: &str) {
        self.dimensions.push(dimension(name, DimensionValue::Constant(value.to_owned()), Transform::Text));
    }

    /// Limits the distinct values of the last dimension.
    fn limit_last(&mut self, max_values: usize) {
        if let Some(dimension) = self.dimensions.last_mut() {
            dimension.max_values = Some(max_values);
        }
    }

    fn counter(&mut self, name: &str, unit: &str, description: &str, input: MeasureInput) {
        self.measure(name, unit, description, 1, Kind::Counter, input);
    }

    fn histogram(&mut self, name: &str, unit: &str, description: &str, bounds: &[u64], input: MeasureInput) {
        self.measure(name, unit, description, 1, Kind::Histogram { bounds: bounds.into() }, input);
    }

    /// Adds a histogram of durations with the advised bounds. The unit has `divisor` nanoseconds.
    fn durations(
        &mut self,
        name: &str,
        (unit, divisor): (&str, u64),
        description: &str,
        input: MeasureInput,
    ) {
        let bounds = DURATION_BOUNDS_MS.iter().map(|bound| bound.saturating_mul(NS_IN_MS)).collect();
        self.measure(name, unit, description, divisor, Kind::Histogram { bounds }, input);
    }

    fn measure(
        &mut self,
        name: &str,
        unit: &str,
        description: &str,
        divisor: u64,
        kind: Kind,
        input: MeasureInput,
    ) {
        let (name, unit, description) = (name.to_owned(), unit.to_owned(), description.to_owned());
        self.measures.push(Measure { metric: Metric { name, unit, description, divisor, kind }, input });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::SOURCES_MAX;

    fn check(group: &MetricGroup, other: &[usize]) {
        assert!(group.sources.len() <= SOURCES_MAX);
        let mut used = other.to_vec();
        used.extend(group.dimensions.iter().filter_map(|dimension| match dimension.value {
            DimensionValue::Source(at) => Some(at),
            _ => None,
        }));
        used.extend(group.measures.iter().filter_map(|measure| match measure.input {
            MeasureInput::Source(at)
            | MeasureInput::SourceOrZero(at)
            | MeasureInput::Messages(at, _)
            | MeasureInput::TimeSince(at) => Some(at),
            MeasureInput::End | MeasureInput::Start => None,
        }));
        assert!((0..group.sources.len()).all(|at| used.contains(&at)), "every source is used");
        assert!(used.iter().all(|at| *at < group.sources.len()));
        for measure in &group.measures {
            assert_eq!(Metric::from_wire(measure.metric.to_wire()), Ok(measure.metric.clone()));
        }
    }

    #[test]
    fn presets_use_exactly_the_sources_that_they_have() {
        for (name, preset) in Preset::ALL {
            for grpc_messages in [false, true] {
                let plan = preset.plan(Options { grpc_messages }, &|_| None);
                let calls = plan.calls.as_ref();
                check(&plan.main, &calls.map_or(vec![], |calls| vec![calls.method, calls.status]));
                if let Some(calls) = calls {
                    check(&calls.group, &[calls.indicator]);
                }
                assert_eq!(plan.main.measures.is_empty(), preset == Preset::None, "{name}");
            }
        }
    }
}
