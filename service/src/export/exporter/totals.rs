//! The results of one destination's exports, counted as in the OpenTelemetry semantic conventions for SDKs.

use std::borrow::Cow;

use tributary_proto::histogram::Histogram;

/// The maximum number of error types. Further error types count as [`OTHER`].
const ERROR_TYPES_MAX: usize = 16;
/// The `error.type` of results beyond [`ERROR_TYPES_MAX`] (OpenTelemetry semantic conventions, `error.type`).
const OTHER: &str = "_OTHER";
/// The `error.type` of points that a collector rejected in an otherwise successful response
/// (OpenTelemetry semantic conventions, `otel.sdk.exporter.*`).
pub(super) const REJECTED: &str = "rejected";
/// The `error.type` of a call without a response.
const NO_RESPONSE: &str = "no_response";

/// The bounds of [`ExportTotals::durations`], in milliseconds: the bounds in the semantic conventions for
/// HTTP.
const BOUNDS_MS: [u64; 14] = [5, 10, 25, 50, 75, 100, 250, 500, 750, 1_000, 2_500, 5_000, 7_500, 10_000];

/// A value of `error.type`.
pub type ErrorType = Cow<'static, str>;

/// Points and calls by their result: `None` for success, otherwise an error type.
#[derive(Debug, Default)]
pub struct ExportTotals {
    /// The number of points by result.
    pub points: Vec<(Option<ErrorType>, u64)>,
    /// The durations of calls by result, in nanoseconds.
    pub durations: Vec<(Option<ErrorType>, Histogram)>,
}

impl ExportTotals {
    /// Counts points that will not be sent again. `error` is `None` if the collector accepted them.
    pub fn points_ended(&mut self, error: Option<ErrorType>, points: u64) {
        if points > 0 {
            count(&mut self.points, error, || 0, |sum| *sum = sum.saturating_add(points));
        }
    }

    /// Counts a call and its duration.
    pub fn call_ended(&mut self, error: Option<ErrorType>, duration_ns: u64) {
        let bounds = duration_bounds_ns();
        let new = || Histogram::new(bounds.len());
        count(&mut self.durations, error, new, |all| all.record(duration_ns, &bounds));
    }
}

/// Returns the bounds of [`ExportTotals::durations`], in nanoseconds.
pub fn duration_bounds_ns() -> [u64; 14] {
    BOUNDS_MS.map(|ms| ms * 1_000_000)
}

/// Adds to the count of a result. A collector may respond with any status, so the number of error types is
/// limited.
fn count<T>(
    counts: &mut Vec<(Option<ErrorType>, T)>,
    error: Option<ErrorType>,
    new: impl FnOnce() -> T,
    add: impl FnOnce(&mut T),
) {
    let is_known = counts.iter().any(|(present, _)| *present == error);
    let error = if is_known || counts.len() < ERROR_TYPES_MAX { error } else { Some(OTHER.into()) };
    if let Some((_, counted)) = counts.iter_mut().find(|(present, _)| *present == error) {
        return add(counted);
    }
    let mut counted = new();
    add(&mut counted);
    counts.push((error, counted));
}

/// Returns the error type of a failed call: its status, or [`NO_RESPONSE`].
pub(super) fn error_type(status: Option<&[u8]>) -> ErrorType {
    let status = std::str::from_utf8(status.unwrap_or_default()).ok().filter(|text| !text.is_empty());
    status.map_or(NO_RESPONSE.into(), |status| status.to_owned().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_error_types_is_limited() {
        let mut totals = ExportTotals::default();
        for status in 400..500_u16 {
            totals.points_ended(Some(status.to_string().into()), 2);
            totals.call_ended(Some(status.to_string().into()), 1);
        }
        totals.points_ended(None, 0);
        assert_eq!((totals.points.len(), totals.durations.len()), (ERROR_TYPES_MAX + 1, ERROR_TYPES_MAX + 1));
        let count = |error: &str| {
            let found = totals.points.iter().find(|(present, _)| present.as_deref() == Some(error));
            found.map(|(_, count)| *count)
        };
        assert_eq!((count("400"), count(OTHER), count("499")), (Some(2), Some(168), None));
        assert_eq!(totals.points.iter().map(|(_, count)| count).sum::<u64>(), 200);
    }

    #[test]
    fn durations_are_counted_by_error_type() {
        let mut totals = ExportTotals::default();
        totals.call_ended(None, 1_000_000);
        totals.call_ended(None, 30_000_000);
        totals.call_ended(Some(NO_RESPONSE.into()), 10_000_000_000);
        let counts: Vec<_> =
            totals.durations.iter().map(|(error, all)| (error.as_deref(), all.count())).collect();
        assert_eq!(counts, [(None, 2), (Some(NO_RESPONSE), 1)]);
    }
}
