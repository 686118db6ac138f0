//! What became of what one destination was sent, as the OpenTelemetry SDK conventions have an exporter count it.

use std::borrow::Cow;

use tributary_proto::histogram::Histogram;

use crate::answer::Verdict;

/// Ends that are told apart; what differs from all of them counts under [`OTHER`].
const ENDS_MAX: usize = 16;
/// The `error.type` of everything else (OpenTelemetry semantic conventions, `error.type`).
const OTHER: &str = "_OTHER";
/// The `error.type` of points that a collector refused in an otherwise successful answer (the same, `otel.sdk.exporter.*`).
pub const REJECTED: &str = "rejected";
/// The `error.type` of a call that had no answer.
pub const NO_ANSWER: &str = "no_answer";

/// Bounds of [`Tally::durations`], in nanoseconds: those that the conventions advise for the durations of HTTP calls.
pub const DURATION_BOUNDS_NS: [u64; 14] = [
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

/// How a call, or the way of a point, ended: with an `error.type`, or well.
pub type End = Option<Cow<'static, str>>;

/// Counts of ends.
#[derive(Debug, Default)]
pub struct Tally {
    points: Vec<(End, u64)>,
    durations: Vec<(End, Histogram)>,
}

impl Tally {
    /// So many points will not be sent again, for they are there or never will be.
    pub fn points_ended(&mut self, end: End, points: u64) {
        if points > 0 {
            count(&mut self.points, end, || 0, |sum| *sum = sum.saturating_add(points));
        }
    }

    /// A call is over.
    pub fn call_ended(&mut self, end: End, duration_ns: u64) {
        let new = || Histogram::new(DURATION_BOUNDS_NS.len());
        count(&mut self.durations, end, new, |all| all.record(duration_ns, &DURATION_BOUNDS_NS));
    }

    /// How many points ended how.
    pub fn points(&self) -> &[(End, u64)] {
        &self.points
    }

    /// How long calls took that ended so.
    pub fn durations(&self) -> &[(End, Histogram)] {
        &self.durations
    }
}

/// Adds to the count of an end. A collector may answer with any status, so only so many are told apart.
fn count<T>(counts: &mut Vec<(End, T)>, end: End, new: impl FnOnce() -> T, add: impl FnOnce(&mut T)) {
    let is_known = counts.iter().any(|(present, _)| *present == end);
    let end = if is_known || counts.len() < ENDS_MAX { end } else { Some(OTHER.into()) };
    match counts.iter_mut().find(|(present, _)| *present == end) {
        Some((_, counted)) => add(counted),
        None => {
            let mut counted = new();
            add(&mut counted);
            counts.push((end, counted));
        }
    }
}

/// How a call ended.
pub(super) fn end(verdict: &Verdict, status: Option<&[u8]>) -> End {
    match verdict {
        Verdict::Taken { rejected: 0, .. } => None,
        Verdict::Taken { .. } => Some(REJECTED.into()),
        Verdict::Retry { .. } | Verdict::Refused { .. } => {
            let status = std::str::from_utf8(status.unwrap_or_default()).ok().filter(|text| !text.is_empty());
            Some(status.map_or(NO_ANSWER.into(), |status| status.to_owned().into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_told_apart_up_to_a_limit() {
        let mut tally = Tally::default();
        for status in 400..500_u16 {
            tally.points_ended(Some(status.to_string().into()), 2);
            tally.call_ended(Some(status.to_string().into()), 1);
        }
        tally.points_ended(None, 0);
        assert_eq!((tally.points().len(), tally.durations().len()), (ENDS_MAX + 1, ENDS_MAX + 1));
        let count = |end: &str| {
            let found = tally.points().iter().find(|(present, _)| present.as_deref() == Some(end));
            found.map(|(_, count)| *count)
        };
        assert_eq!((count("400"), count(OTHER), count("499")), (Some(2), Some(168), None));
        assert_eq!(tally.points().iter().map(|(_, count)| count).sum::<u64>(), 200);
    }

    #[test]
    fn durations_are_counted_by_how_calls_ended() {
        let mut tally = Tally::default();
        tally.call_ended(None, 1_000_000);
        tally.call_ended(None, 30_000_000);
        tally.call_ended(Some(NO_ANSWER.into()), 10_000_000_000);
        let counts: Vec<_> =
            tally.durations().iter().map(|(end, all)| (end.as_deref(), all.count())).collect();
        assert_eq!(counts, [(None, 2), (Some(NO_ANSWER), 1)]);
    }
}
