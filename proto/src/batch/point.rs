//! Addition and subtraction of points, for the fold in a worker and for the table in the service.

use super::Point;
use crate::exponential::ExponentialHistogram;
use crate::histogram::Histogram;
use crate::metric::Kind;

impl Point {
    /// Creates the point of a metric without observations.
    pub fn empty(kind: &Kind) -> Self {
        match kind {
            Kind::Counter => Self::Counter(0),
            Kind::UpDownCounter => Self::UpDownCounter(0),
            Kind::Histogram { bounds } => Self::Histogram(Histogram::new(bounds.len())),
            Kind::Exponential { max_size } => Self::Exponential(ExponentialHistogram::new(*max_size).into()),
        }
    }

    /// Adds another point. Returns false and changes nothing if its kind or its number of bounds differs.
    pub fn add(&mut self, delta: &Point) -> bool {
        match (self, delta) {
            (Self::Counter(sum), Self::Counter(delta)) => *sum = sum.saturating_add(*delta),
            // Wraps instead of saturating: a sum that fits is right even if an intermediate sum did not fit.
            (Self::UpDownCounter(sum), Self::UpDownCounter(delta)) => *sum = sum.wrapping_add(*delta),
            (Self::Histogram(sum), Self::Histogram(delta)) => return sum.merge(delta),
            (Self::Exponential(sum), Self::Exponential(delta)) => sum.merge(delta),
            _ => return false,
        }
        true
    }

    /// Returns the difference between this point and its earlier state `base`. The minimum and the maximum of
    /// a histogram are unknown in the difference.
    #[must_use]
    pub fn since(&self, base: &Point) -> Point {
        match (self, base) {
            (Self::Counter(now), Self::Counter(then)) => Self::Counter(now.saturating_sub(*then)),
            (Self::UpDownCounter(now), Self::UpDownCounter(then)) => {
                Self::UpDownCounter(now.wrapping_sub(*then))
            }
            (Self::Histogram(now), Self::Histogram(then)) => Self::Histogram(now.since(then)),
            (Self::Exponential(now), Self::Exponential(then)) => Self::Exponential(now.since(then).into()),
            // Impossible: the kind of a series does not change.
            _ => self.clone(),
        }
    }

    /// Removes all observations.
    pub fn clear(&mut self) {
        match self {
            Self::Counter(count) => *count = 0,
            Self::UpDownCounter(sum) => *sum = 0,
            Self::Histogram(histogram) => histogram.clear(),
            Self::Exponential(histogram) => histogram.clear(),
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

    /// Returns the point without minimum and maximum.
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
