//! The fold: what one worker saw since its last hand-over, series by series, within a bound.
//!
//! Known series cost no allocation: a key is built in a buffer that stays, and found in a table. Series stay known from
//! one hand-over to the next, until nothing was seen of them for sixty hand-overs.

mod key;

use std::hash::BuildHasher;

use hashbrown::HashTable;
use tributary_proto::attributes;
use tributary_proto::batch::Point;
use tributary_proto::metric::Kind;

use crate::observation::Observation;
use crate::plan::{Plan, Value};

/// Hand-overs without an observation after which a series is forgotten: a minute, with the default interval.
const IDLE_TAKES_MAX: u32 = 60;

/// Observations added up by series.
#[derive(Debug)]
pub struct Fold<S> {
    plan: Plan,
    hasher: S,
    /// Places in `slots` by the hash of their keys.
    index: HashTable<usize>,
    slots: Vec<Slot>,
    slots_max: usize,
    /// Whether room was looked for, in vain, since the last hand-over: looking is not cheap.
    full: bool,
    overflow: Slot,
    /// Where keys are built.
    key: Vec<u8>,
    observations: u64,
}

/// One series.
#[derive(Debug)]
struct Slot {
    key: Box<[u8]>,
    /// Canonical bytes, encoded once.
    attributes: Box<[u8]>,
    observations: u64,
    /// One for each measure of the plan.
    cells: Vec<Point>,
    idle_takes: u32,
}

impl<S: BuildHasher> Fold<S> {
    /// An empty fold that keeps `series_max` series apart, besides the overflow series.
    pub fn new(plan: Plan, series_max: usize, hasher: S) -> Self {
        let overflow = Slot::new(&plan, Box::default(), attributes::overflow().into_boxed_slice());
        let (index, slots, key) = (HashTable::new(), Vec::new(), Vec::new());
        Self {
            plan,
            hasher,
            index,
            slots,
            slots_max: series_max,
            full: false,
            overflow,
            key,
            observations: 0,
        }
    }

    /// Adds one observation.
    pub fn record(&mut self, observation: &Observation<'_>) {
        self.observations = self.observations.saturating_add(1);
        key::build(&mut self.key, &self.plan.dimensions, observation);
        let hash = self.hasher.hash_one(&self.key);
        let (slots, key) = (&self.slots, &self.key);
        let known =
            self.index.find(hash, |at| slots.get(*at).is_some_and(|slot| *slot.key == **key)).copied();
        let at = known.or_else(|| self.insert(hash));
        let slot = match at.and_then(|at| self.slots.get_mut(at)) {
            Some(slot) => slot,
            None => &mut self.overflow,
        };
        slot.record(&self.plan, observation);
    }

    /// How many observations wait for the next hand-over.
    pub fn observations(&self) -> u64 {
        self.observations
    }

    /// Gives everything folded since the last time, series by series, and begins anew.
    pub fn take(&mut self, mut each: impl FnMut(&[u8], u64, &[Point])) {
        for slot in self.slots.iter_mut().chain([&mut self.overflow]) {
            if slot.observations > 0 {
                each(&slot.attributes, slot.observations, &slot.cells);
                slot.clear();
            } else {
                slot.idle_takes = slot.idle_takes.saturating_add(1);
            }
        }
        self.observations = 0;
        self.full = false;
        self.forget(IDLE_TAKES_MAX);
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
        let attributes = key::attributes(&self.key, &self.plan.dimensions).into_boxed_slice();
        let at = self.slots.len();
        self.slots.push(Slot::new(&self.plan, self.key.clone().into_boxed_slice(), attributes));
        let (slots, hasher) = (&self.slots, &self.hasher);
        self.index.insert_unique(hash, at, |at| slots.get(*at).map_or(0, |slot| hasher.hash_one(&*slot.key)));
        Some(at)
    }

    /// Forgets the series of which nothing was seen for `takes` hand-overs, and nothing waits.
    fn forget(&mut self, takes: u32) {
        let before = self.slots.len();
        self.slots.retain(|slot| slot.observations > 0 || slot.idle_takes < takes);
        if self.slots.len() == before {
            return;
        }
        self.index.clear();
        let (slots, hasher) = (&self.slots, &self.hasher);
        for (at, slot) in slots.iter().enumerate() {
            let rehash = |at: &usize| slots.get(*at).map_or(0, |slot| hasher.hash_one(&*slot.key));
            self.index.insert_unique(hasher.hash_one(&*slot.key), at, rehash);
        }
    }
}

impl Slot {
    fn new(plan: &Plan, key: Box<[u8]>, attributes: Box<[u8]>) -> Self {
        let cells = plan.measures.iter().map(|measure| Point::nothing(&measure.metric.kind)).collect();
        Self { key, attributes, observations: 0, cells, idle_takes: 0 }
    }

    fn record(&mut self, plan: &Plan, observation: &Observation<'_>) {
        self.observations = self.observations.saturating_add(1);
        for (cell, measure) in self.cells.iter_mut().zip(&plan.measures) {
            let value = match measure.value {
                Value::One => 1,
                Value::Of(source) => {
                    observation.integer(source).and_then(|n| u64::try_from(n).ok()).unwrap_or(0)
                }
            };
            match (cell, &measure.metric.kind) {
                (Point::Counter(count), _) => *count = count.saturating_add(value),
                (Point::Histogram(histogram), Kind::Histogram { bounds }) => histogram.record(value, bounds),
                (Point::Exponential(histogram), _) => histogram.record(value, measure.metric.divisor),
                // Cells are made from the kinds, so there is no such pair.
                (Point::UpDownCounter(_) | Point::Histogram(_), _) => {}
            }
        }
    }

    fn clear(&mut self) {
        self.observations = 0;
        self.idle_takes = 0;
        self.cells.iter_mut().for_each(Point::clear);
    }
}

#[cfg(test)]
mod tests;
