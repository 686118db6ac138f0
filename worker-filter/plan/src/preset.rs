//! Presets: the plans from which configurations start.
//!
//! `otel` implements the OpenTelemetry semantic conventions for HTTP and gRPC. `tcp` measures TCP
//! connections. `istio` has the metrics and labels of Istio for both HTTP and TCP.

mod istio;
mod otel;
mod tcp;

use tributary_proto::metric::{Kind, Metric};

use crate::plan::{Dimension, DimensionValue, Measure, MeasureInput, MetricGroup, Plan, Streams, When};
use crate::source::Source;
use crate::transform::Transform;

/// A plan from which a configuration starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// The OpenTelemetry semantic conventions for HTTP servers, and for RPC servers if a request is a gRPC
    /// call.
    Otel,
    /// The metrics and labels of Istio's dashboards, for HTTP.
    Istio,
    /// The metrics and labels of Istio's dashboards, for TCP.
    IstioTcp,
    /// Metrics of TCP connections.
    Tcp,
    /// An empty plan.
    None,
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

    /// Creates the plan. With `grpc_messages` the messages of gRPC calls are counted too, which needs Envoy's
    /// `grpc_stats` filter.
    pub fn plan(self, grpc_messages: bool, node: &NodeLookup<'_>) -> Plan {
        match self {
            Self::Otel => otel::plan(grpc_messages),
            Self::Istio => istio::http(grpc_messages, node),
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

/// The bounds of durations that the OpenTelemetry semantic conventions advise (1.44,
/// `docs/http/http-metrics.md`), in nanoseconds.
pub const DURATION_BOUNDS: [u64; 14] = [
    5 * MS,
    10 * MS,
    25 * MS,
    50 * MS,
    75 * MS,
    100 * MS,
    250 * MS,
    500 * MS,
    750 * MS,
    S,
    2_500 * MS,
    5 * S,
    7_500 * MS,
    10 * S,
];

/// Bounds of sizes in bytes: powers of four from 64 B to 64 MiB. The conventions advise no bounds for sizes.
pub const SIZE_BOUNDS: [u64; 11] =
    [64, 256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216, 67_108_864];

/// A millisecond in nanoseconds, the unit in which durations are recorded. The next constant is a second.
const MS: u64 = 1_000_000;
const S: u64 = 1_000 * MS;

/// Units, with the number of recorded integers in each.
const SECONDS: (&str, u64) = ("s", S);
const BYTES: (&str, u64) = ("By", 1);
const NUMBER: (&str, u64) = ("1", 1);

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

    /// Adds a dimension with a limit of its distinct values.
    fn limited_dimension(&mut self, name: &str, source: Source, transform: Transform, max_values: usize) {
        let value = DimensionValue::Source(self.source(source));
        let max_values = Some(max_values);
        self.dimensions.push(Dimension { max_values, ..dimension(name, value, transform) });
    }

    /// Adds a dimension with a default and, possibly, a limit of its distinct values.
    fn dimension_or(
        &mut self,
        name: &str,
        source: Source,
        transform: Transform,
        default: &str,
        max_values: Option<usize>,
    ) {
        let value = DimensionValue::Source(self.source(source));
        let default = Some(default.as_bytes().into());
        self.dimensions.push(Dimension { default, max_values, ..dimension(name, value, transform) });
    }

    fn constant(&mut self, name: &str, value: &str) {
        self.dimensions.push(dimension(name, DimensionValue::Constant(value.to_owned()), Transform::Text));
    }

    #[inline(never)]
    fn measure(
        &mut self,
        name: &str,
        (unit, divisor): (&str, u64),
        description: &str,
        kind: Kind,
        input: MeasureInput,
    ) {
        let (name, unit, description) = (name.to_owned(), unit.to_owned(), description.to_owned());
        self.measures.push(Measure { metric: Metric { name, unit, description, divisor, kind }, input });
    }
}

#[inline(never)]
fn histogram(bounds: &[u64]) -> Kind {
    Kind::Histogram { bounds: bounds.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dimensions_of_presets_limit_the_values_that_clients_choose() {
        for (name, preset) in Preset::ALL {
            let plan = preset.plan(true, &|_| None);
            for group in std::iter::once(&plan.main).chain(plan.calls.iter().map(|calls| &calls.group)) {
                let unbounded: Vec<_> = group.unbounded().map(|dimension| &dimension.name).collect();
                assert!(unbounded.is_empty(), "{name}: {unbounded:?}");
            }
        }
    }
}
