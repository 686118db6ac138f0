//! Limits which values the series of a fold may have. It limits the distinct values of a dimension and, when
//! a fold is nearly full, the values that clients choose.

use std::hash::BuildHasher;

use hashbrown::HashSet;

use super::key;
use tributary_plan::plan::{Dimension, DimensionValue, MetricGroup};
use tributary_plan::transform::OTHER;

/// The distinct values of each dimension that has a limit.
#[derive(Debug)]
pub(super) struct DistinctValues<S> {
    /// For each dimension in keys, its known values, or `None` for a dimension without a limit.
    limited: Vec<Option<Known<S>>>,
    /// For each dimension in keys, whether a client chooses its values.
    client_chosen: Vec<bool>,
}

/// The known values of a dimension, and their limit.
type Known<S> = (HashSet<Box<[u8]>, S>, usize);

impl<S: BuildHasher + Clone> DistinctValues<S> {
    pub(super) fn new(group: &MetricGroup, hasher: &S) -> Self {
        let is_keyed = |dimension: &&Dimension| matches!(dimension.value, DimensionValue::Source(_));
        let keyed = || group.dimensions.iter().filter(is_keyed);
        let limited = |dimension: &Dimension| {
            dimension.max_values.map(|max_values| (HashSet::with_hasher(hasher.clone()), max_values))
        };
        let client_chosen = keyed().map(|dimension| group.is_client_chosen(dimension)).collect();
        Self { limited: keyed().map(limited).collect(), client_chosen }
    }

    /// Returns the key with [`OTHER`] in place of new values past a limit. In a fold that `is_closed` to
    /// clients, [`OTHER`] also replaces all values that clients choose. Returns `None` if no value needs to
    /// be replaced.
    pub(super) fn restricted(&self, key: &[u8], is_closed: bool) -> Option<Vec<u8>> {
        let mut changed = false;
        let limits = self.limited.iter().zip(&self.client_chosen);
        let restricted = key::of_values(key::values(key).zip(limits).map(|(value, (limited, is_chosen))| {
            let value = value?;
            let is_surplus =
                limited.as_ref().is_some_and(|(known, max)| known.len() >= *max && !known.contains(value));
            let is_replaced = value != OTHER && (is_surplus || is_closed && *is_chosen);
            changed |= is_replaced;
            Some(if is_replaced { OTHER } else { value })
        }));
        changed.then_some(restricted)
    }

    /// Adds the values of a new series to the known values.
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

    /// Replaces the known values by the values of the series with these keys.
    pub(super) fn retain<'a>(&mut self, keys: impl Iterator<Item = &'a [u8]>) {
        if self.limited.iter().all(Option::is_none) {
            return;
        }
        self.limited.iter_mut().flatten().for_each(|(known, _)| known.clear());
        keys.for_each(|key| self.insert(key));
    }
}
