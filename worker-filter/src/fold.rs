//! The fold: what one worker saw since its last hand-over, series by series, within a bound.
//!
//! Known series cost no allocation: a key is built in a buffer that stays, and found in a table. Series stay known from
//! one hand-over to the next, until nothing was seen of them for sixty hand-overs.

mod distinct;
mod key;

use std::hash::BuildHasher;

use hashbrown::HashTable;
use tributary_proto::attributes;
use tributary_proto::batch::Point;
use tributary_proto::exemplar::Exemplar;
use tributary_proto::metric::Kind;

use crate::observation::{Moment, Observation};
use crate::trace;
use distinct::Distinct;
use tributary_plan::plan::{Measure, Part, Side, Value};

/// Hand-overs without an observation after which a series is forgotten: a minute, with the default interval.
const IDLE_TAKES_MAX: u32 = 60;

/// Observations added up by series.
#[derive(Debug)]
pub struct Fold<S> {
    part: Part,
    /// The measure whose slowest observation keeps its trace: the first histogram, if traces are read.
    traced: Option<usize>,
    hasher: S,
    distinct: Distinct<S>,
    /// Places in `slots` by the hash of their keys.
    index: HashTable<usize>,
    slots: Vec<Slot>,
    slots_max: usize,
    /// Whether room was looked for, in vain, since the last hand-over: looking is not cheap.
    full: bool,
    overflow: Slot,
    /// Where keys are built.
    key: Vec<u8>,
    records: u64,
    observations: u64,
    mistyped: u64,
}

/// One series.
#[derive(Debug)]
struct Slot {
    key: Box<[u8]>,
    /// Canonical bytes, encoded once.
    attributes: Box<[u8]>,
    /// How often something was added.
    records: u64,
    /// How many streams ended in it.
    observations: u64,
    /// One for each measure of the part.
    cells: Vec<Point>,
    /// The slowest observation whose trace is known.
    exemplar: Option<Exemplar>,
    idle_takes: u32,
}

impl<S: BuildHasher + Clone> Fold<S> {
    /// An empty fold that keeps `series_max` series apart, besides the overflow series.
    pub fn new(part: Part, series_max: usize, hasher: S) -> Self {
        let overflow = Slot::new(&part, Box::default(), attributes::overflow().into_boxed_slice());
        Self {
            distinct: Distinct::new(&part.dimensions, &hasher),
            traced: part.traced(),
            part,
            hasher,
            index: HashTable::new(),
            slots: Vec::new(),
            slots_max: series_max,
            full: false,
            overflow,
            key: Vec::new(),
            records: 0,
            observations: 0,
            mistyped: 0,
        }
    }

    /// Adds one observation.
    // Once in a module, whoever calls: it is the largest part of the way of a request.
    #[inline(never)]
    pub fn record(&mut self, observation: &Observation<'_>, moment: Moment<'_>) {
        self.records = self.records.saturating_add(1);
        self.observations = self.observations.saturating_add(u64::from(moment.ended));
        let mistyped = key::build(&mut self.key, &self.part.dimensions, observation);
        let slot = match self.place().and_then(|at| self.slots.get_mut(at)) {
            Some(slot) => slot,
            None => &mut self.overflow,
        };
        let traced = self.traced.zip(self.part.trace);
        let more_mistyped = slot.record(&self.part.measures, traced, observation, moment);
        self.mistyped = self.mistyped.saturating_add(mistyped).saturating_add(more_mistyped);
    }

    /// Whether nothing waits for the next hand-over.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Values that were of another type than expected, since the last time.
    pub fn take_mistyped(&mut self) -> u64 {
        std::mem::take(&mut self.mistyped)
    }

    /// How many ended streams wait for the next hand-over.
    pub fn observations(&self) -> u64 {
        self.observations
    }

    /// Gives everything folded since the last time, series by series, and begins anew.
    pub fn take(&mut self, mut each: impl FnMut(&[u8], u64, &[Point], &[(usize, Exemplar)])) {
        for slot in self.slots.iter_mut().chain([&mut self.overflow]) {
            if slot.records > 0 {
                let exemplar = self.traced.zip(slot.exemplar);
                each(&slot.attributes, slot.observations, &slot.cells, exemplar.as_slice());
                slot.clear();
            } else {
                slot.idle_takes = slot.idle_takes.saturating_add(1);
            }
        }
        (self.records, self.observations) = (0, 0);
        self.full = false;
        self.forget(IDLE_TAKES_MAX);
    }

    /// The place of the present key's series, which is made unless it is known; none if all are taken.
    fn place(&mut self) -> Option<usize> {
        let hash = self.hasher.hash_one(&self.key);
        if let Some(at) = self.find(hash) {
            return Some(at);
        }
        let Some(restricted) = self.distinct.restricted(&self.key) else { return self.insert(hash) };
        self.key = restricted;
        let hash = self.hasher.hash_one(&self.key);
        self.find(hash).or_else(|| self.insert(hash))
    }

    fn find(&self, hash: u64) -> Option<usize> {
        let is_it = |at: &usize| self.slots.get(*at).is_some_and(|slot| *slot.key == *self.key);
        self.index.find(hash, is_it).copied()
    }

    /// A place for the series of the present key; none if all are taken.
    fn insert(&mut self, hash: u64) -> Option<usize> {
        if self.slots.len() >= self.slots_max {
            if self.full {
                return None;
            }
            self.forget(1);
            self.full = self.slots.len() >= self.slots_max;
            if self.full {
                return None;
            }
        }
        self.distinct.insert(&self.key);
        let attributes = key::attributes(&self.key, &self.part.dimensions).into_boxed_slice();
        let at = self.slots.len();
        self.slots.push(Slot::new(&self.part, self.key.clone().into_boxed_slice(), attributes));
        let (slots, hasher) = (&self.slots, &self.hasher);
        self.index.insert_unique(hash, at, |at| slots.get(*at).map_or(0, |slot| hasher.hash_one(&*slot.key)));
        Some(at)
    }

    /// Forgets the series of which nothing was seen for `takes` hand-overs, and nothing waits.
    fn forget(&mut self, takes: u32) {
        let before = self.slots.len();
        self.slots.retain(|slot| slot.records > 0 || slot.idle_takes < takes);
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
    fn new(part: &Part, key: Box<[u8]>, attributes: Box<[u8]>) -> Self {
        let cells = part.measures.iter().map(|measure| Point::nothing(&measure.metric.kind)).collect();
        Self { key, attributes, records: 0, observations: 0, cells, exemplar: None, idle_takes: 0 }
    }

    /// Adds one observation; gives how many values were no integers.
    ///
    /// `traced` is the measure whose greatest value keeps its trace, and the source of that.
    fn record(
        &mut self,
        measures: &[Measure],
        traced: Option<(usize, usize)>,
        observation: &Observation<'_>,
        moment: Moment<'_>,
    ) -> u64 {
        self.records = self.records.saturating_add(1);
        self.observations = self.observations.saturating_add(u64::from(moment.ended));
        let mut taken = moment.taken.iter_mut();
        let mut mistyped: u64 = 0;
        for (at, (cell, measure)) in self.cells.iter_mut().zip(measures).enumerate() {
            let taken = taken.next();
            let value = match measure.value {
                Value::One => u64::from(moment.ended),
                Value::Opened => u64::from(moment.opened),
                Value::Of(source) => match positive(observation, source) {
                    Ok(value) => value,
                    Err(is_mistyped) => {
                        mistyped = mistyped.saturating_add(u64::from(is_mistyped));
                        continue;
                    }
                },
                Value::OfEach(source) => positive(observation, source).unwrap_or_else(|is_mistyped| {
                    mistyped = mistyped.saturating_add(u64::from(is_mistyped));
                    0
                }),
                Value::Messages(source, side) => match messages(observation.bytes(source), side) {
                    Some(messages) => messages,
                    None => {
                        mistyped = mistyped.saturating_add(u64::from(!observation.bytes(source).is_empty()));
                        continue;
                    }
                },
                Value::Since(source) => match positive(observation, source) {
                    Ok(start) => moment.now_unix_nano.saturating_sub(start),
                    Err(_) => continue,
                },
            };
            if let Some((_, source)) = traced.filter(|(measure, _)| *measure == at)
                && moment.ended
                && self.exemplar.is_none_or(|kept| kept.value() < value)
            {
                let exemplar = trace::exemplar(observation.bytes(source), value, moment.now_unix_nano);
                self.exemplar = self.exemplar.max(exemplar);
            }
            match (cell, &measure.metric.kind) {
                (Point::Counter(count), _) => {
                    let before = taken.map_or(0, |taken| std::mem::replace(taken, value));
                    let before = if matches!(measure.value, Value::Of(_)) { before } else { 0 };
                    *count = count.saturating_add(value.saturating_sub(before));
                }
                _ if !moment.ended => {}
                (Point::Histogram(histogram), Kind::Histogram { bounds }) => histogram.record(value, bounds),
                (Point::Exponential(histogram), _) => histogram.record(value, measure.metric.divisor),
                // Cells are made from the kinds, so there is no such pair.
                (Point::UpDownCounter(_) | Point::Histogram(_), _) => {}
            }
        }
        mistyped
    }

    fn clear(&mut self) {
        (self.records, self.observations, self.idle_takes) = (0, 0, 0);
        self.exemplar = None;
        self.cells.iter_mut().for_each(Point::clear);
    }
}

/// The value of a source that is not negative; whether it was of another type if there is none.
fn positive(observation: &Observation<'_>, source: usize) -> Result<u64, bool> {
    match observation.integer(source) {
        Some(value) => u64::try_from(value).map_err(|_| false),
        None => Err(!observation.bytes(source).is_empty()),
    }
}

/// One of the two numbers in `3,500`.
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
