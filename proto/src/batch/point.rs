//! Addition and subtraction of points, for the fold in a worker and for the table in the service.

use super::Point;
use crate::exponential::ExponentialHistogram;
use crate::histogram::Histogram;
use crate::metric::Kind;

impl Point {
    /// Creates the point of a metric without observations.
    pub fn empty(kind: &Kind) -> Self {
        match kind {
            Kind::Counter => Point::Counter(0),
            Kind::UpDownCounter => Point::UpDownCounter(0),
            Kind::Histogram { bounds } => Point::Histogram(Histogram::new(bounds.len())),
            Kind::Exponential { max_size } => Point::Exponential(ExponentialHistogram::new(*max_size).into()),
        }
    }

    /// Adds another point. Returns false and changes nothing if its kind or its number of bounds differs.
    pub fn add(&mut self, delta: &Point) -> bool {
        match (self, delta) {
            (Point::Counter(sum), Point::Counter(delta)) => {
                *sum = sum.saturating_add(*delta);
                true
            }
            // Wraps instead of saturating: a sum that fits is right even if an intermediate sum did not fit.
            (Point::UpDownCounter(sum), Point::UpDownCounter(delta)) => {
                *sum = sum.wrapping_add(*delta);
                true
            }
            (Point::Histogram(sum), Point::Histogram(delta)) => sum.merge(delta),
            (Point::Exponential(sum), Point::Exponential(delta)) => {
                sum.merge(delta);
                true
            }
            (
                Point::Counter(_) | Point::UpDownCounter(_) | Point::Histogram(_) | Point::Exponential(_),
                _,
            ) => false,
        }
    }

    /// Returns the difference to an earlier state `base` of this point. The extremes of a histogram are
    /// unknown then.
    #[must_use]
    pub fn since(&self, base: &Point) -> Point {
        match (self, base) {
            (Point::Counter(now), Point::Counter(then)) => Point::Counter(now.saturating_sub(*then)),
            (Point::UpDownCounter(now), Point::UpDownCounter(then)) => {
                Point::UpDownCounter(now.wrapping_sub(*then))
            }
            (Point::Histogram(now), Point::Histogram(then)) => Point::Histogram(now.since(then)),
            (Point::Exponential(now), Point::Exponential(then)) => Point::Exponential(now.since(then).into()),
            // Impossible: the kind of a series does not change.
            (
                Point::Counter(_) | Point::UpDownCounter(_) | Point::Histogram(_) | Point::Exponential(_),
                _,
            ) => self.clone(),
        }
    }

    /// Removes all observations.
    pub fn clear(&mut self) {
        match self {
            Point::Counter(count) => *count = 0,
            Point::UpDownCounter(sum) => *sum = 0,
            Point::Histogram(histogram) => histogram.clear(),
            Point::Exponential(histogram) => histogram.clear(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kinds() -> [Kind; 4] {
        [
            Kind::Counter,
            Kind::Histogram { bounds: [10, 100].into() },
            Kind::Exponential { max_size: 4 },
            Kind::UpDownCounter,
        ]
    }

    fn counted(kind: &Kind, values: &[u64]) -> Point {
        let mut point = Point::empty(kind);
        for value in values {
            match (&mut point, kind) {
                (Point::Counter(count), _) => *count += value,
                (Point::UpDownCounter(sum), _) => *sum += if value % 2 == 0 { 1 } else { -1 },
                (Point::Histogram(histogram), Kind::Histogram { bounds }) => histogram.record(*value, bounds),
                (Point::Exponential(histogram), _) => histogram.record(*value, 1),
                (point, kind) => panic!("{point:?} of {kind:?}"),
            }
        }
        point
    }

    /// Returns a point without its extremes.
    fn without_extremes(point: &Point) -> Point {
        point.since(&match point {
            Point::Counter(_) => Point::Counter(0),
            Point::UpDownCounter(_) => Point::UpDownCounter(0),
            Point::Histogram(histogram) => Point::Histogram(Histogram::new(histogram.buckets().len() - 1)),
            Point::Exponential(_) => Point::Exponential(ExponentialHistogram::new(4).into()),
        })
    }

    proptest! {
        #[test]
        fn base_plus_difference_is_the_point(
            before in prop::collection::vec(0u64..100_000, 0..20),
            since in prop::collection::vec(0u64..100_000, 0..20),
        ) {
            for kind in kinds() {
                let base = counted(&kind, &before);
                let mut now = base.clone();
                prop_assert!(now.add(&counted(&kind, &since)));
                let difference = now.since(&base);
                if let Point::Histogram(difference) = &difference {
                    prop_assert_eq!((difference.min(), difference.max()), (None, None));
                    prop_assert_eq!(difference.count(), since.len() as u64);
                }
                let mut sum = base.clone();
                prop_assert!(sum.add(&difference));
                prop_assert_eq!(without_extremes(&sum), without_extremes(&now));
                now.clear();
                prop_assert_eq!(now, Point::empty(&kind));
            }
        }
    }

    proptest! {
        #[test]
        fn up_down_counters_add_up_in_any_order(
            shuffled in prop::collection::vec((any::<i64>(), 0usize..4), 0..50).prop_shuffle(),
        ) {
            let mut parts = [const { Point::UpDownCounter(0) }; 4];
            for (change, worker) in &shuffled {
                prop_assert!(parts[*worker].add(&Point::UpDownCounter(*change)));
            }
            let mut whole = Point::UpDownCounter(0);
            prop_assert!(parts.iter().all(|part| whole.add(part)));
            let sum: i128 = shuffled.iter().map(|(change, _)| i128::from(*change)).sum();
            if let Ok(sum) = i64::try_from(sum) {
                prop_assert_eq!(whole, Point::UpDownCounter(sum));
            }
        }
    }

    #[test]
    fn points_of_different_kinds_or_bounds_are_not_added() {
        let [counter, one, exponential, up_down] = kinds();
        let two = Kind::Histogram { bounds: [1].into() };
        for (left, right) in [
            (&one, &counter),
            (&counter, &one),
            (&one, &two),
            (&exponential, &one),
            (&up_down, &counter),
            (&counter, &up_down),
        ] {
            let mut point = Point::empty(left);
            assert!(!point.add(&Point::empty(right)));
            assert_eq!(point, Point::empty(left));
        }
    }
}
