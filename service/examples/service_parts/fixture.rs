//! The metric of the measurements, and batches of its series.

use tributary_proto::batch::{BatchWriter, Point};
use tributary_proto::histogram::Histogram;
use tributary_proto::metric::{Kind, Metric};

/// The bounds of the semantic conventions, in milliseconds.
const BOUNDS_MS: [u64; 14] = [5, 10, 25, 50, 75, 100, 250, 500, 750, 1_000, 2_500, 5_000, 7_500, 10_000];

pub(crate) fn metric() -> Metric {
    Metric {
        name: "http.server.request.duration".to_owned(),
        unit: "s".to_owned(),
        description: "Duration of HTTP server requests.".to_owned(),
        divisor: 1_000_000_000,
        kind: Kind::Histogram { bounds: bounds() },
    }
}

/// Returns a histogram of these values, in nanoseconds.
pub(crate) fn histogram(values: &[u64]) -> Histogram {
    let bounds = bounds();
    let mut histogram = Histogram::new(bounds.len());
    values.iter().for_each(|value| histogram.record(*value, &bounds));
    histogram
}

/// Returns batches of these series: attributes, observations and the values of each.
pub(crate) fn batches<const N: usize>(
    series: impl Iterator<Item = (Vec<u8>, u64, [u64; N])>,
) -> Vec<Vec<u8>> {
    let mut writer = BatchWriter::new(1, Vec::new(), &[metric()]);
    let mut batches = Vec::new();
    for (attributes, observations, values) in series {
        let points = [Point::Histogram(histogram(&values))];
        batches.extend(writer.push(&attributes, observations, &points, &[]));
    }
    batches.extend(writer.finish());
    batches
}

fn bounds() -> Box<[u64]> {
    BOUNDS_MS.iter().map(|ms| ms * 1_000_000).collect()
}
