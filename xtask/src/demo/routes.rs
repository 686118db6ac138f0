//! The table of routes, computed only from the exported histograms.

use std::collections::BTreeMap;

use anyhow::Result;
use comfy_table::Table;
use tributary_tests::metrics::{HistogramPoint, ReceivedHistogram, to_f64};

use crate::output;

const ROUTE: &str = "http.route";
const STATUS: &str = "http.response.status_code";
/// The name for requests without the route attribute, because no route matched them.
const NO_ROUTE: &str = "(no route)";
/// A note below the table.
pub(crate) const NOTE: &str =
    "(percentiles are estimates from the exported buckets; the first bucket ends at 5 ms)";
const FIRST_SERVER_ERROR: u16 = 500;

#[derive(Debug, Default)]
struct Route {
    durations: ReceivedHistogram,
    errors: u64,
}

/// Returns a table with one row for each route: requests, share of server errors, and percentiles estimated
/// from the buckets.
pub(crate) fn table(points: &[HistogramPoint]) -> Result<Table> {
    let rows = by_route(points)?.into_iter().map(|(name, route)| {
        let quantile = |q| route.durations.quantile(q).map_or_else(|| "-".to_owned(), milliseconds);
        let share = to_f64(route.errors) / to_f64(route.durations.count.max(1));
        [
            name,
            route.durations.count.to_string(),
            format!("{:.2} %", 100.0 * share),
            quantile(0.5),
            quantile(0.95),
            quantile(0.99),
        ]
    });
    Ok(output::number_table(["route", "requests", "5xx", "p50", "p95", "p99"], rows))
}

fn by_route(points: &[HistogramPoint]) -> Result<BTreeMap<String, Route>> {
    let mut routes: BTreeMap<String, Route> = BTreeMap::new();
    for point in points {
        let attribute = |key: &str| point.attributes.get(key).map(ToString::to_string);
        let route = routes.entry(attribute(ROUTE).unwrap_or_else(|| NO_ROUTE.to_owned())).or_default();
        route.durations.add(&point.histogram)?;
        let status: Option<u16> = attribute(STATUS).and_then(|status| status.parse().ok());
        if status.is_some_and(|status| status >= FIRST_SERVER_ERROR) {
            route.errors += point.histogram.count;
        }
    }
    Ok(routes)
}

fn milliseconds(seconds: f64) -> String {
    format!("{:.1} ms", seconds * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(route: Option<&str>, status: i64, buckets: [u64; 3]) -> HistogramPoint {
        let mut attributes = tributary_tests::metrics::Attributes::from([(STATUS.to_owned(), status.into())]);
        attributes.extend(route.map(|route| (ROUTE.to_owned(), route.into())));
        let count = buckets.iter().sum();
        let histogram =
            ReceivedHistogram { count, sum: 1.0, bounds: vec![0.01, 0.1], buckets: buckets.to_vec() };
        HistogramPoint { instance: String::new(), attributes, histogram }
    }

    #[test]
    fn series_of_one_route_are_added_up() {
        let points = [
            point(Some("users"), 200, [90, 0, 0]),
            point(Some("users"), 503, [0, 10, 0]),
            point(Some("orders"), 404, [4, 0, 0]),
            point(None, 404, [1, 0, 0]),
        ];
        let routes = by_route(&points).unwrap();
        let found = routes.iter().map(|(name, route)| (name.as_str(), route.durations.count, route.errors));
        assert_eq!(found.collect::<Vec<_>>(), [(NO_ROUTE, 1, 0), ("orders", 4, 0), ("users", 100, 10)]);
        let table = table(&points).unwrap().to_string();
        let users = table.lines().find(|line| line.contains("users")).unwrap();
        let cells: Vec<_> = users.split_whitespace().collect();
        // The 95th percentile is halfway into the second bucket, which ends at 100 ms.
        assert_eq!(cells, ["users", "100", "10.00", "%", "5.6", "ms", "55.0", "ms", "91.0", "ms"]);
    }

    #[test]
    fn histograms_of_different_bounds_are_rejected() {
        let mut other = point(Some("users"), 200, [1, 0, 0]);
        other.histogram.bounds = vec![0.5, 1.0];
        assert!(table(&[point(Some("users"), 503, [1, 0, 0]), other]).is_err());
    }
}
