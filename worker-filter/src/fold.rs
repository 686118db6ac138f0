//! The fold: a worker's observations since its last flush, added up by series. The number of series is
//! limited.
//!
//! An observation of a known series allocates nothing, because its key is built in a buffer that is reused. A
//! series stays known until sixty flushes had no observation of it.
//!
//! Beyond the limit, a quarter of the limit is a reserve. A new series in the reserve has `_OTHER` in place
//! of the values that clients choose. If the reserve is full, observations are added to the overflow
//! series.

mod distinct;
mod key;

use std::hash::BuildHasher;

use hashbrown::HashTable;
use tributary_proto::attributes;
use tributary_proto::batch::Point;
use tributary_proto::exemplar::Exemplar;
use tributary_proto::metric::Kind;

use crate::observation::{Observation, Progress};
use crate::trace;
use distinct::DistinctValues;
use tributary_plan::plan::{Measure, MeasureInput, MetricGroup, Side};

/// The number of flushes without an observation after which a series is removed: a minute with the default
/// interval.
const IDLE_FLUSHES_MAX: u32 = 60;

/// Observations of one metric group, added up by series.
#[derive(Debug)]
pub struct Fold<S> {
    group: MetricGroup,
    /// The measure that has exemplars: the first histogram, if traces are read. An exemplar is the trace of
    /// the measure's greatest value.
    traced: Option<usize>,
    hasher: S,
    distinct: DistinctValues<S>,
    /// The indexes of series in `slots`, by the hash of their keys.
    index: HashTable<usize>,
    slots: Vec<Slot>,
    slots_max: usize,
    /// The number of series up to which clients can choose values. Series above this number form the
    /// reserve. However many values clients invent, the reserve has room for values that the server
    /// chooses, such as a route with a new status.
    open_max: usize,
    /// Whether removing idle series has failed to make room since the last flush. If so, this is not tried
    /// again, because it is expensive.
    full: bool,
    overflow: Slot,
    /// The buffer in which keys are built.
    key: Vec<u8>,
    /// The number of observations since the last flush.
    records: u64,
    /// The number of observations since the last flush whose stream has ended.
    observations: u64,
    mistyped: u64,
}

/// One series of the fold.
#[derive(Debug)]
struct Slot {
    key: Box<[u8]>,
    /// The attributes in their canonical encoding.
    attributes: Box<[u8]>,
    /// The number of observations since the last flush.
    records: u64,
    /// The number of observations since the last flush whose stream has ended.
    observations: u64,
    /// The points, one for each measure of the group.
    cells: Vec<Point>,
    /// The greatest value of the traced measure among the values that have a trace.
    exemplar: Option<Exemplar>,
    idle_flushes: u32,
}

impl<S: BuildHasher + Clone> Fold<S> {
    /// Creates an empty fold for at most `series_max` series, a reserve for series without values that
    /// clients choose, and the overflow series.
    pub fn new(group: MetricGroup, series_max: usize, hasher: S) -> Self {
        let has_client_chosen = group.dimensions.iter().any(|dimension| group.is_client_chosen(dimension));
        let overflow = Slot::new(&group, Box::default(), attributes::overflow().into_boxed_slice());
        Self {
            distinct: DistinctValues::new(&group, &hasher),
            traced: group.traced(),
            group,
            hasher,
            index: HashTable::new(),
            slots: Vec::new(),
            slots_max: if has_client_chosen { attributes::with_reserve(series_max) } else { series_max },
            open_max: series_max,
            full: false,
            overflow,
            key: Vec::new(),
            records: 0,
            observations: 0,
            mistyped: 0,
        }
    }

    /// Adds one observation.
    // Not inlined, because it is the largest function that a request passes through and has several callers.
    #[inline(never)]
    pub fn record(&mut self, observation: &Observation<'_>, progress: Progress<'_>) {
        self.records = self.records.saturating_add(1);
        self.observations = self.observations.saturating_add(u64::from(progress.phase.is_last()));
        let mistyped = key::build(&mut self.key, &self.group.dimensions, observation);
        let slot = match self.series_index().and_then(|at| self.slots.get_mut(at)) {
            Some(slot) => slot,
            None => &mut self.overflow,
        };
        let traced = self.traced.zip(self.group.trace);
        let more_mistyped = slot.record(&self.group.measures, traced, observation, progress);
        self.mistyped = self.mistyped.saturating_add(mistyped).saturating_add(more_mistyped);
    }

    /// Returns whether there was no observation since the last flush.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Returns the number of values of another type than configured since the last call.
    pub fn take_mistyped(&mut self) -> u64 {
        std::mem::take(&mut self.mistyped)
    }

    /// Returns the number of streams that ended since the last flush.
    pub fn observations(&self) -> u64 {
        self.observations
    }

    /// Calls `each` with every series that was observed since the last flush, and resets the series. The
    /// arguments are the attributes, the number of streams that ended, the points, and the exemplars with the
    /// index of their point.
    pub fn drain(&mut self, mut each: impl FnMut(&[u8], u64, &[Point], &[(usize, Exemplar)])) {
        for slot in self.slots.iter_mut().chain([&mut self.overflow]) {
            if slot.records > 0 {
                let exemplar = self.traced.zip(slot.exemplar);
                each(&slot.attributes, slot.observations, &slot.cells, exemplar.as_slice());
                slot.clear();
            } else {
                slot.idle_flushes = slot.idle_flushes.saturating_add(1);
            }
        }
        (self.records, self.observations) = (0, 0);
        self.full = false;
        self.remove_idle(IDLE_FLUSHES_MAX);
    }

    /// Returns the index of the series of `self.key`. Creates the series unless it is known. `None` stands
    /// for the overflow series.
    fn series_index(&mut self) -> Option<usize> {
        let hash = self.hasher.hash_one(&self.key);
        if let Some(at) = self.find(hash) {
            return Some(at);
        }
        self.create(hash)
    }

    /// Creates the series of `self.key`. Past a limit, finds or creates the series with `_OTHER` in place of
    /// the values that are not allowed.
    #[cold]
    fn create(&mut self, mut hash: u64) -> Option<usize> {
        let is_closed = !self.has_room(self.open_max);
        if let Some(restricted) = self.distinct.restricted(&self.key, is_closed) {
            self.key = restricted;
            hash = self.hasher.hash_one(&self.key);
            if let Some(at) = self.find(hash) {
                return Some(at);
            }
        }
        self.insert(hash)
    }

    fn find(&self, hash: u64) -> Option<usize> {
        let has_key = |at: &usize| self.slots.get(*at).is_some_and(|slot| key::equal(&slot.key, &self.key));
        self.index.find(hash, has_key).copied()
    }

    /// Creates the series of `self.key`, unless there are too many.
    fn insert(&mut self, hash: u64) -> Option<usize> {
        if !self.has_room(self.slots_max) {
            return None;
        }
        self.distinct.insert(&self.key);
        let attributes = key::attributes(&self.key, &self.group.dimensions).into_boxed_slice();
        let at = self.slots.len();
        self.slots.push(Slot::new(&self.group, self.key.clone().into_boxed_slice(), attributes));
        let (slots, hasher) = (&self.slots, &self.hasher);
        self.index.insert_unique(hash, at, |at| slots.get(*at).map_or(0, |slot| hasher.hash_one(&*slot.key)));
        Some(at)
    }

    /// Returns whether there are fewer than `max` series. If necessary, removes idle series first.
    fn has_room(&mut self, max: usize) -> bool {
        if self.slots.len() >= max && !self.full {
            self.remove_idle(1);
            self.full = self.slots.len() >= max;
        }
        self.slots.len() < max
    }

    /// Removes the series without an observation for at least `flushes` flushes.
    fn remove_idle(&mut self, flushes: u32) {
        let before = self.slots.len();
        self.slots.retain(|slot| slot.records > 0 || slot.idle_flushes < flushes);
        if self.slots.len() == before {
            return;
        }
        self.distinct.retain(self.slots.iter().map(|slot| &*slot.key));
        self.index.clear();
        let (slots, hasher) = (&self.slots, &self.hasher);
        for (at, slot) in slots.iter().enumerate() {
            let rehash = |at: &usize| slots.get(*at).map_or(0, |slot| hasher.hash_one(&*slot.key));
            self.index.insert_unique(hasher.hash_one(&*slot.key), at, rehash);
        }
    }
}

impl Slot {
    fn new(group: &MetricGroup, key: Box<[u8]>, attributes: Box<[u8]>) -> Self {
        let cells = group.measures.iter().map(|measure| Point::empty(&measure.metric.kind)).collect();
        Self { key, attributes, records: 0, observations: 0, cells, exemplar: None, idle_flushes: 0 }
    }

    /// Adds one observation and returns how many values were not integers.
    ///
    /// `traced` is the measure whose greatest value keeps its trace, and the source of the trace.
    fn record(
        &mut self,
        measures: &[Measure],
        traced: Option<(usize, usize)>,
        observation: &Observation<'_>,
        progress: Progress<'_>,
    ) -> u64 {
        let (is_first, is_last) = (progress.phase.is_first(), progress.phase.is_last());
        self.records = self.records.saturating_add(1);
        self.observations = self.observations.saturating_add(u64::from(is_last));
        let mut counted = progress.counted.iter_mut();
        let mut mistyped: u64 = 0;
        for (at, (cell, measure)) in self.cells.iter_mut().zip(measures).enumerate() {
            let counted = counted.next();
            let value = match measure.input {
                MeasureInput::End => u64::from(is_last),
                MeasureInput::Start => u64::from(is_first),
                MeasureInput::Source(source) | MeasureInput::SourceOrZero(source) => {
                    match positive(observation, source) {
                        Ok(value) => value,
                        Err(reason) => {
                            mistyped = mistyped.saturating_add(u64::from(reason == NoValue::Mistyped));
                            if matches!(measure.input, MeasureInput::Source(_)) {
                                continue;
                            }
                            0
                        }
                    }
                }
                MeasureInput::Messages(source, side) => match messages(observation.bytes(source), side) {
                    Some(messages) => messages,
                    None => {
                        mistyped = mistyped.saturating_add(u64::from(!observation.bytes(source).is_empty()));
                        continue;
                    }
                },
                MeasureInput::TimeSince(source) => match positive(observation, source) {
                    Ok(start) => progress.now_unix_nano.saturating_sub(start),
                    Err(_) => continue,
                },
            };
            if let Some((_, source)) = traced.filter(|(measure, _)| *measure == at)
                && is_last
                && self.exemplar.is_none_or(|kept| kept.value() < value)
            {
                let exemplar = trace::exemplar(observation.bytes(source), value, progress.now_unix_nano);
                self.exemplar = self.exemplar.max(exemplar);
            }
            match (cell, &measure.metric.kind) {
                (Point::Counter(count), _) => {
                    let before = counted.map_or(0, |counted| std::mem::replace(counted, value));
                    let before = if matches!(measure.input, MeasureInput::Source(_)) { before } else { 0 };
                    *count = count.saturating_add(value.saturating_sub(before));
                }
                _ if !is_last => {}
                (Point::Histogram(histogram), Kind::Histogram { bounds }) => histogram.record(value, bounds),
                (Point::Exponential(histogram), _) => histogram.record(value, measure.metric.divisor),
                // Impossible: cells are created from the kinds.
                (Point::UpDownCounter(_) | Point::Histogram(_), _) => {}
            }
        }
        mistyped
    }

    fn clear(&mut self) {
        (self.records, self.observations, self.idle_flushes) = (0, 0, 0);
        self.exemplar = None;
        self.cells.iter_mut().for_each(Point::clear);
    }
}

/// Why a measure has no value in an observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NoValue {
    /// The value is absent or negative.
    Absent,
    /// The value is not an integer.
    Mistyped,
}

/// Returns the value of a source that is a non-negative integer.
fn positive(observation: &Observation<'_>, source: usize) -> Result<u64, NoValue> {
    match observation.integer(source) {
        Some(value) => u64::try_from(value).map_err(|_| NoValue::Absent),
        None if observation.bytes(source).is_empty() => Err(NoValue::Absent),
        None => Err(NoValue::Mistyped),
    }
}

/// Reads one of the two numbers of messages in a text such as `3,500`.
fn messages(text: &[u8], side: Side) -> Option<u64> {
    let (requests, responses) = std::str::from_utf8(text).ok()?.split_once(',')?;
    let number = match side {
        Side::Request => requests,
        Side::Response => responses,
    };
    number.parse().ok()
}

#[cfg(test)]
mod tests;
