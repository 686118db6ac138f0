//! Plans that follow a published convention.

use tributary_proto::metric::{Kind, Metric};

use crate::plan::{Dimension, Form, Measure, Plan, Source, Value};

/// Advised bounds of `http.server.request.duration` (OpenTelemetry semantic conventions 1.44, `docs/http/http-metrics.md`:
/// 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10 seconds), in nanoseconds.
const DURATION_BOUNDS_NS: [u64; 14] = [
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    75_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    750_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    7_500_000_000,
    10_000_000_000,
];

/// The OpenTelemetry semantic conventions for HTTP servers: `http.server.request.duration` by method, status code, route
/// and scheme. The route is Envoy's route name, which is of low cardinality because people write it; a raw path is not.
pub fn otel() -> Plan {
    let sources = ["request.method", "response.code", "xds.route_name", "request.scheme", "request.duration"];
    let dimension = |name, source, form| Dimension { name, source, form };
    Plan {
        sources: sources.into_iter().map(|path| Source { path }).collect(),
        dimensions: vec![
            dimension("http.request.method", 0, Form::Method),
            dimension("http.response.status_code", 1, Form::Integer),
            dimension("http.route", 2, Form::Text),
            dimension("url.scheme", 3, Form::Text),
        ],
        measures: vec![Measure {
            metric: Metric {
                name: "http.server.request.duration".to_owned(),
                unit: "s".to_owned(),
                description: "Duration of HTTP server requests.".to_owned(),
                divisor: 1_000_000_000,
                kind: Kind::Histogram { bounds: DURATION_BOUNDS_NS.into() },
            },
            value: Value::Of(4),
        }],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::SOURCES_MAX;

    #[test]
    fn the_preset_points_only_at_what_it_reads() {
        let plan = otel();
        assert!(plan.sources.len() <= SOURCES_MAX);
        assert!(plan.dimensions.iter().all(|dimension| dimension.source < plan.sources.len()));
        assert!(plan.dimensions.is_sorted_by(|a, b| a.name < b.name));
        for measure in &plan.measures {
            assert_eq!(Metric::from_wire(measure.metric.to_wire()), Ok(measure.metric.clone()));
            assert!(!matches!(measure.value, Value::Of(source) if source >= plan.sources.len()));
        }
    }
}
