//! One series: checks the order of its points and adds them up.

use anyhow::{Result, ensure};

use super::point::{ReceivedPoint, ReceivedValue, SeriesKind, Window};
use crate::metrics::ReceivedExemplar;

/// The state of a series after all its points.
#[derive(Debug, Clone, Default)]
pub(super) struct ReceivedSeries {
    /// The sum of all deltas, and of the last cumulative points of earlier start times.
    finished: Option<ReceivedValue>,
    /// The latest cumulative point, or the latest value of a gauge.
    current: Option<ReceivedValue>,
    /// The kind and the window of the latest point.
    latest: Option<(SeriesKind, Window)>,
    /// Whether the latest point marked the series as ended.
    ended: bool,
    allows_gaps: bool,
    exemplars: Vec<ReceivedExemplar>,
}

impl ReceivedSeries {
    /// Creates an empty series. If `allows_gaps` is true, it accepts deltas with gaps between their times.
    pub(super) fn with_gaps(allows_gaps: bool) -> Self {
        Self { allows_gaps, ..Self::default() }
    }

    /// Returns the total of all points; `None` if no point has a value.
    pub(super) fn total(&self) -> Option<ReceivedValue> {
        match (&self.finished, &self.current) {
            // Values that cannot be added were rejected on arrival.
            (Some(finished), Some(current)) => finished.clone().plus(current).ok(),
            (finished, current) => finished.clone().or_else(|| current.clone()),
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    pub(super) fn exemplars(&self) -> &[ReceivedExemplar] {
        &self.exemplars
    }

    /// Checks and adds the next point.
    ///
    /// # Errors
    /// The point is invalid, or does not fit the previous points. The series must then be discarded.
    pub(super) fn take(&mut self, kind: SeriesKind, point: ReceivedPoint) -> Result<()> {
        let window = point.window;
        ensure!(window.time >= window.start, "its time {} is before its start {}", window.time, window.start);
        ensure!(
            point.is_flagged == point.value.is_none(),
            "it must have either a value or the flag NO_RECORDED_VALUE"
        );
        if let Some((earlier, _)) = self.latest {
            ensure!(kind == earlier, "its kind is {kind:?} after {earlier:?}");
        }
        match point.value {
            Some(value) => {
                value.check()?;
                self.follow(kind, window, value)?;
                self.latest = Some((kind, window));
                self.ended = false;
            }
            None => self.end(kind, window)?,
        }
        for exemplar in point.exemplars {
            // Cumulative points repeat their exemplars.
            if !self.exemplars.contains(&exemplar) {
                self.exemplars.push(exemplar);
            }
        }
        Ok(())
    }

    fn follow(&mut self, kind: SeriesKind, window: Window, value: ReceivedValue) -> Result<()> {
        let earlier = self.latest.map(|(_, earlier)| earlier);
        if let Some(earlier) = earlier {
            ensure!(window.time >= earlier.time, "its window {window} is older than the previous {earlier}");
        }
        match kind {
            SeriesKind::Gauge => self.current = Some(value),
            SeriesKind::Delta { monotonic } => {
                ensure!(
                    !monotonic || !value.is_negative(),
                    "the delta {value:?} of a monotonic sum is negative"
                );
                if let Some(earlier) = earlier {
                    ensure!(
                        window.start >= earlier.time,
                        "its window {window} overlaps the previous {earlier}"
                    );
                    let is_contiguous = window.start == earlier.time;
                    ensure!(
                        is_contiguous || self.ended || self.allows_gaps,
                        "there is a gap between its window {window} and the previous {earlier}"
                    );
                }
                self.finish(value)?;
            }
            SeriesKind::Cumulative { monotonic } => {
                match (earlier, self.current.take()) {
                    (Some(earlier), current) if window.start != earlier.start => {
                        ensure!(
                            window.start >= earlier.time,
                            "its window {window} overlaps the previous {earlier}"
                        );
                        current.map_or(Ok(()), |current| self.finish(current))?;
                    }
                    (_, Some(earlier)) => {
                        ensure!(!monotonic || !value.is_below(&earlier), "{value:?} comes after {earlier:?}");
                    }
                    (Some(_), None) => {
                        ensure!(!self.ended, "it continues after its end without a new start time")
                    }
                    (None, None) => {}
                }
                if let Some(finished) = &self.finished {
                    finished.clone().plus(&value)?;
                }
                self.current = Some(value);
            }
        }
        Ok(())
    }

    fn end(&mut self, kind: SeriesKind, window: Window) -> Result<()> {
        let start = match self.latest {
            Some((_, earlier)) => {
                ensure!(window.time >= earlier.time, "it ends before the end of its window {earlier}");
                earlier.start
            }
            None => window.start,
        };
        if let Some(current) = self.current.take().filter(|_| kind != SeriesKind::Gauge) {
            self.finish(current)?;
        }
        self.latest = Some((kind, Window { start, time: window.time }));
        self.ended = true;
        Ok(())
    }

    fn finish(&mut self, value: ReceivedValue) -> Result<()> {
        self.finished = Some(match self.finished.take() {
            Some(finished) => finished.plus(&value)?,
            None => value,
        });
        Ok(())
    }
}
