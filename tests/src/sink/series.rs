//! One series: how its points follow each other in time, and what they add up to.

use anyhow::{Result, ensure};

use super::point::{Kind, Point, Value, Window};
use crate::metrics::Exemplar;

/// The state of a series after all its points.
#[derive(Debug, Clone, Default)]
pub(super) struct Series {
    /// Deltas, and cumulative points of earlier start times.
    finished: Option<Value>,
    /// The latest cumulative point, or the latest value of a gauge.
    current: Option<Value>,
    /// The kind and the window of the latest point.
    latest: Option<(Kind, Window)>,
    /// Whether the latest point said that there is no value any more.
    ended: bool,
    allows_gaps: bool,
    exemplars: Vec<Exemplar>,
}

impl Series {
    /// One whose deltas may leave out times in which nothing came.
    pub(super) fn with_gaps(allows_gaps: bool) -> Self {
        Self { allows_gaps, ..Self::default() }
    }

    /// What was measured in all; none if nothing was.
    pub(super) fn total(&self) -> Option<Value> {
        match (&self.finished, &self.current) {
            // What cannot be added was refused before.
            (Some(finished), Some(current)) => finished.clone().plus(current).ok(),
            (finished, current) => finished.clone().or_else(|| current.clone()),
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    pub(super) fn exemplars(&self) -> &[Exemplar] {
        &self.exemplars
    }

    /// Takes the next point.
    ///
    /// # Errors
    /// It cannot be right, by itself or after the points before it; the series is then of no use any more.
    pub(super) fn take(&mut self, kind: Kind, point: Point) -> Result<()> {
        let window = point.window;
        ensure!(window.time >= window.start, "its time {} is before its start {}", window.time, window.start);
        ensure!(
            point.is_flagged == point.value.is_none(),
            "a value and the flag that there is none exclude each other"
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
            // Cumulative points bring the same ones again.
            if !self.exemplars.contains(&exemplar) {
                self.exemplars.push(exemplar);
            }
        }
        Ok(())
    }

    fn follow(&mut self, kind: Kind, window: Window, value: Value) -> Result<()> {
        let earlier = self.latest.map(|(_, earlier)| earlier);
        if let Some(earlier) = earlier {
            ensure!(window.time >= earlier.time, "its window {window} is older than {earlier} before it");
        }
        match kind {
            Kind::Gauge => self.current = Some(value),
            Kind::Delta { monotonic } => {
                ensure!(!monotonic || !value.is_negative(), "a delta of {value:?} makes the sum fall");
                if let Some(earlier) = earlier {
                    ensure!(window.start >= earlier.time, "its window {window} overlaps {earlier} before it");
                    let goes_on = window.start == earlier.time;
                    ensure!(
                        goes_on || self.ended || self.allows_gaps,
                        "there is a gap between its window {window} and {earlier} before it"
                    );
                }
                self.finish(value)?;
            }
            Kind::Cumulative { monotonic } => {
                match (earlier, self.current.take()) {
                    (Some(earlier), current) if window.start != earlier.start => {
                        ensure!(
                            window.start >= earlier.time,
                            "its window {window} overlaps {earlier} before it"
                        );
                        current.map_or(Ok(()), |current| self.finish(current))?;
                    }
                    (_, Some(earlier)) => {
                        ensure!(!monotonic || !value.is_below(&earlier), "{value:?} comes after {earlier:?}");
                    }
                    (Some(_), None) => {
                        ensure!(!self.ended, "it had ended, and goes on without a new start time")
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

    fn end(&mut self, kind: Kind, window: Window) -> Result<()> {
        let start = match self.latest {
            Some((_, earlier)) => {
                ensure!(window.time >= earlier.time, "it ends before its window {earlier} does");
                earlier.start
            }
            None => window.start,
        };
        if let Some(current) = self.current.take().filter(|_| kind != Kind::Gauge) {
            self.finish(current)?;
        }
        self.latest = Some((kind, Window { start, time: window.time }));
        self.ended = true;
        Ok(())
    }

    fn finish(&mut self, value: Value) -> Result<()> {
        self.finished = Some(match self.finished.take() {
            Some(finished) => finished.plus(&value)?,
            None => value,
        });
        Ok(())
    }
}
