//! Prometheus' classic histograms, assembled from one series per bucket.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

use super::{Attributes, HistogramPoint, NumberPoint, ReceivedHistogram, to_count};

const BOUND_LABEL: &str = "le";

/// Assembles histograms from their series `_bucket`, whose values are cumulative, and `_sum`.
///
/// # Errors
/// The buckets contradict each other, or one is missing.
pub fn classic_histograms(buckets: Vec<NumberPoint>, sums: Vec<NumberPoint>) -> Result<Vec<HistogramPoint>> {
    let mut cumulative: BTreeMap<(String, Attributes), Vec<(f64, u64)>> = BTreeMap::new();
    for mut point in buckets {
        let bound = point.attributes.remove(BOUND_LABEL).context("a bucket without a bound")?;
        let bound = bound.to_string().parse().with_context(|| format!("the bound {bound} of a bucket"))?;
        cumulative
            .entry((point.instance, point.attributes))
            .or_default()
            .push((bound, to_count(point.value)));
    }
    let mut histograms = BTreeMap::new();
    for (series, buckets) in cumulative {
        let histogram = histogram(buckets).with_context(|| format!("{series:?}"))?;
        histograms.insert(series, histogram);
    }
    for point in sums {
        let series = (point.instance, point.attributes);
        let histogram = histograms.get_mut(&series).with_context(|| format!("no buckets of {series:?}"))?;
        histogram.sum = point.value;
    }
    let point = |((instance, attributes), histogram)| HistogramPoint { instance, attributes, histogram };
    Ok(histograms.into_iter().map(point).collect())
}

/// Assembles a histogram from its cumulative buckets: upper bound and number of values.
fn histogram(mut buckets: Vec<(f64, u64)>) -> Result<ReceivedHistogram> {
    buckets.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let mut histogram = ReceivedHistogram::default();
    for (bound, up_to) in buckets {
        let count =
            up_to.checked_sub(histogram.count).context("a bucket has fewer values than the one before")?;
        histogram.count = up_to;
        histogram.buckets.push(count);
        if bound.is_finite() {
            histogram.bounds.push(bound);
        }
    }
    ensure!(histogram.buckets.len() == histogram.bounds.len() + 1, "the bucket +Inf is missing");
    Ok(histogram)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cumulative_buckets_become_separate_buckets() {
        let found = histogram(vec![(f64::INFINITY, 9), (0.5, 2), (1.0, 5)]).unwrap();
        assert_eq!((found.bounds.as_slice(), found.buckets.as_slice()), (&[0.5, 1.0][..], &[2, 3, 4][..]));
        assert_eq!(found.count, 9);
        assert!(histogram(vec![(0.5, 2), (f64::INFINITY, 1)]).is_err());
        assert!(histogram(vec![(0.5, 2)]).is_err());
    }

    #[test]
    fn series_are_grouped_by_their_other_labels() {
        let point = |labels: &[(&str, &str)], value| NumberPoint {
            instance: String::new(),
            attributes: labels.iter().map(|(key, text)| ((*key).to_owned(), (*text).into())).collect(),
            value,
        };
        let buckets = vec![
            point(&[("route", "a"), ("le", "0.5")], 1.0),
            point(&[("route", "b"), ("le", "+Inf")], 7.0),
            point(&[("route", "a"), ("le", "+Inf")], 3.0),
        ];
        let sums = vec![point(&[("route", "a")], 2.5)];
        let found = classic_histograms(buckets.clone(), sums).unwrap();
        assert_eq!((found[0].histogram.buckets.as_slice(), found[0].histogram.sum), (&[1, 2][..], 2.5));
        assert_eq!(found[1].attributes, [("route".to_owned(), "b".into())].into());
        assert!(classic_histograms(buckets, vec![point(&[("route", "c")], 2.5)]).is_err());
    }
}
