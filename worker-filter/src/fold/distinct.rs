//! How many distinct values of a dimension a fold keeps apart: those of the series that it knows.

use std::hash::BuildHasher;

use hashbrown::HashSet;

use super::key;
use tributary_plan::form::OTHER;
use tributary_plan::plan::{Dimension, Origin};

/// The distinct values of the dimensions that have a limit.
#[derive(Debug)]
pub(super) struct Distinct<S> {
    /// For each dimension that has a place in keys, unless it has no limit.
    limited: Vec<Option<Known<S>>>,
}

/// The values that are known, and how many there may be.
type Known<S> = (HashSet<Box<[u8]>, S>, usize);

impl<S: BuildHasher + Clone> Distinct<S> {
    pub(super) fn new(dimensions: &[Dimension], hasher: &S) -> Self {
        let keyed = dimensions.iter().filter(|dimension| matches!(dimension.origin, Origin::Source(_)));
        let limited = |dimension: &Dimension| {
            dimension.max_values.map(|max_values| (HashSet::with_hasher(hasher.clone()), max_values))
        };
        Self { limited: keyed.map(limited).collect() }
    }

    /// The key with what is one value too many as [`OTHER`]; none if it may stay as it is.
    pub(super) fn restricted(&self, key: &[u8]) -> Option<Vec<u8>> {
        let mut any = false;
        let restricted = key::of_values(key::values(key).zip(&self.limited).map(|(value, limited)| {
            let (Some(value), Some((known, max_values))) = (value, limited) else { return value };
            let surplus = known.len() >= *max_values && value != OTHER && !known.contains(value);
            any |= surplus;
            Some(if surplus { OTHER } else { value })
        }));
        any.then_some(restricted)
    }

    /// A series with this key is known from now on.
    pub(super) fn insert(&mut self, key: &[u8]) {
        for (value, limited) in key::values(key).zip(&mut self.limited) {
            if let (Some(value), Some((known, _))) = (value, limited)
                && value != OTHER
                && !known.contains(value)
            {
                known.insert(value.into());
            }
        }
    }

    /// Only the series with these keys are known from now on.
    pub(super) fn retain<'a>(&mut self, keys: impl Iterator<Item = &'a [u8]>) {
        if self.limited.iter().all(Option::is_none) {
            return;
        }
        self.limited.iter_mut().flatten().for_each(|(known, _)| known.clear());
        keys.for_each(|key| self.insert(key));
    }
}
