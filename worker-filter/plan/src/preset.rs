//! Plans to begin with: what is read and counted where nothing else is said.

mod istio;
mod otel;
mod tcp;

use tributary_proto::metric::{Kind, Metric};

use crate::form::Form;
use crate::plan::{Dimension, Measure, Origin, Part, Plan, Streams, Value, When};
use crate::source::Source;
use crate::workload::Facet;

/// A plan to begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// The OpenTelemetry semantic conventions for HTTP servers, and for RPC servers where a request is a gRPC call.
    Otel,
    /// The metrics and labels of Istio's dashboards, for HTTP.
    Istio,
    /// The same for TCP.
    IstioTcp,
    /// TCP connections.
    Tcp,
    /// Nothing: everything is configured.
    None,
}

/// What a configuration asks of a preset besides its choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Whether messages of gRPC calls are counted; Envoy's `grpc_stats` filter must put them into the filter state.
    pub grpc_messages: bool,
}

/// What Envoy says of its own node, by a path below `xds.node` with NUL between its segments.
pub type Node<'a> = dyn Fn(&str) -> Option<String> + 'a;

impl Preset {
    /// All, by the names that a configuration gives them.
    pub const ALL: [(&str, Preset); 5] = [
        ("otel", Preset::Otel),
        ("istio", Preset::Istio),
        ("istio_tcp", Preset::IstioTcp),
        ("tcp", Preset::Tcp),
        ("none", Preset::None),
    ];

    /// The plan.
    pub fn plan(self, options: Options, node: &Node<'_>) -> Plan {
        match self {
            Self::Otel => otel::plan(options),
            Self::Istio => istio::http(options, node),
            Self::IstioTcp => istio::tcp(node),
            Self::Tcp => tcp::plan(),
            Self::None => Plan::of(Streams::Http, Part::default()),
        }
    }
}

impl Plan {
    /// A plan that counts the `main` part of each stream.
    fn of(streams: Streams, main: Part) -> Self {
        let (counters, rules) = (Vec::new(), Vec::new());
        let observed = When::Flush;
        Self { streams, main, calls: None, counters, observed, in_flight: false, rules, tap: None }
    }
}

/// Bytes of a value where a configuration says nothing.
pub const VALUE_BYTES_DEFAULT: usize = 256;

/// Advised bounds of durations (OpenTelemetry semantic conventions 1.44, `docs/http/http-metrics.md`), in milliseconds.
pub const DURATION_BOUNDS_MS: [u64; 14] =
    [5, 10, 25, 50, 75, 100, 250, 500, 750, 1_000, 2_500, 5_000, 7_500, 10_000];

/// Bounds of sizes in bytes where nothing is advised: powers of four from 64 B to 64 MiB.
pub const SIZE_BOUNDS: [u64; 11] =
    [64, 256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216, 67_108_864];

/// A length of time travels in nanoseconds.
const NS_IN_MS: u64 = 1_000_000;
const NS_IN_S: u64 = 1_000_000_000;

/// An attribute of the series, with nothing said about its values.
pub fn dimension(name: &str, origin: Origin, form: Form) -> Dimension {
    Dimension {
        name: name.to_owned(),
        origin,
        form,
        default: None,
        allow: Vec::new(),
        max_values: None,
        max_bytes: VALUE_BYTES_DEFAULT,
    }
}

/// What a preset is written with.
impl Part {
    fn dimension(&mut self, name: &str, source: Source, form: Form) {
        let origin = Origin::Source(self.source(source));
        self.dimensions.push(dimension(name, origin, form));
    }

    /// The same, of text with a value for absent ones.
    fn text_or(&mut self, name: &str, source: Source, default: &str) {
        let origin = Origin::Source(self.source(source));
        let default = Some(default.as_bytes().into());
        self.dimensions.push(Dimension { default, ..dimension(name, origin, Form::Text) });
    }

    /// The same, of what Istio says of a workload or of a service.
    fn facet_or(&mut self, name: &str, source: Source, facet: Facet, default: &str) {
        let origin = Origin::Source(self.source(source));
        let (form, default) = (Form::Facet(Box::new(facet)), Some(default.as_bytes().into()));
        self.dimensions.push(Dimension { default, ..dimension(name, origin, form) });
    }

    fn constant(&mut self, name: &str, value: &str) {
        self.dimensions.push(dimension(name, Origin::Constant(value.to_owned()), Form::Text));
    }

    /// The limit of the dimension before.
    fn limit_last(&mut self, max_values: usize) {
        if let Some(dimension) = self.dimensions.last_mut() {
            dimension.max_values = Some(max_values);
        }
    }

    fn counter(&mut self, name: &str, unit: &str, description: &str, value: Value) {
        self.measure(name, unit, description, 1, Kind::Counter, value);
    }

    fn histogram(&mut self, name: &str, unit: &str, description: &str, bounds: &[u64], value: Value) {
        self.measure(name, unit, description, 1, Kind::Histogram { bounds: bounds.into() }, value);
    }

    /// A histogram of lengths of time between the advised bounds, in the unit of which `divisor` nanoseconds make one.
    fn durations(&mut self, name: &str, (unit, divisor): (&str, u64), description: &str, value: Value) {
        let bounds = DURATION_BOUNDS_MS.iter().map(|bound| bound.saturating_mul(NS_IN_MS)).collect();
        self.measure(name, unit, description, divisor, Kind::Histogram { bounds }, value);
    }

    fn measure(&mut self, name: &str, unit: &str, description: &str, divisor: u64, kind: Kind, value: Value) {
        let (name, unit, description) = (name.to_owned(), unit.to_owned(), description.to_owned());
        self.measures.push(Measure { metric: Metric { name, unit, description, divisor, kind }, value });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::SOURCES_MAX;

    fn check(part: &Part, other: &[usize]) {
        assert!(part.sources.len() <= SOURCES_MAX);
        let mut used = other.to_vec();
        used.extend(part.dimensions.iter().filter_map(|dimension| match dimension.origin {
            Origin::Source(at) => Some(at),
            _ => None,
        }));
        used.extend(part.measures.iter().filter_map(|measure| match measure.value {
            Value::Of(at) | Value::OfEach(at) | Value::Messages(at, _) | Value::Since(at) => Some(at),
            Value::One | Value::Opened => None,
        }));
        assert!((0..part.sources.len()).all(|at| used.contains(&at)), "nothing is read that nothing uses");
        assert!(used.iter().all(|at| *at < part.sources.len()));
        for measure in &part.measures {
            assert_eq!(Metric::from_wire(measure.metric.to_wire()), Ok(measure.metric.clone()));
        }
    }

    #[test]
    fn presets_point_only_at_what_they_read_and_read_only_what_they_point_at() {
        for (name, preset) in Preset::ALL {
            for grpc_messages in [false, true] {
                let plan = preset.plan(Options { grpc_messages }, &|_| None);
                let calls = plan.calls.as_ref();
                check(&plan.main, &calls.map_or(vec![], |calls| vec![calls.method, calls.status]));
                if let Some(calls) = calls {
                    check(&calls.part, &[calls.proof]);
                }
                assert_eq!(plan.main.measures.is_empty(), preset == Preset::None, "{name}");
            }
        }
    }
}
