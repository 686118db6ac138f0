//! Finds the places of rows by the hashes of their attributes. The index grows a few entries at a time:
//! hashing 100,000 keys at once would block Envoy's main thread for tens of milliseconds.

use hashbrown::HashTable;

/// The initial capacity, in entries.
const CAPACITY_MIN: usize = 64;
/// The number of rows that each insertion moves to the new table. A new table has room for twice as many
/// entries as there are places, so two moves for each insertion would just suffice before the table is
/// full. Its size depends on the places and not on the rows: removed entries leave tombstones, so a table
/// can be full with few rows in many places.
const MOVES: usize = 4;

/// The index: places of rows by hashes, in two tables while it grows.
#[derive(Debug, Default)]
pub(super) struct Index {
    table: HashTable<u32>,
    /// The table before it grew, which keeps its entries until all of them are in the new table.
    old: HashTable<u32>,
    /// The first place whose row is not yet moved to the new table.
    moved: usize,
}

impl Index {
    /// Returns the place with this hash for which `is` returns true; `None` if no place matches.
    pub(super) fn find(&self, hash: u64, is: impl Fn(usize) -> bool) -> Option<usize> {
        let is = |place: &u32| is(from(*place));
        self.table.find(hash, is).or_else(|| self.old.find(hash, is)).map(|place| from(*place))
    }

    /// Adds a place that is not in the index. `places` is the total number of places; `hash_of` returns
    /// the hash of a place's row, or `None` if the place has no row.
    pub(super) fn insert(
        &mut self,
        hash: u64,
        place: usize,
        places: usize,
        hash_of: impl Fn(usize) -> Option<u64>,
    ) {
        if self.table.len() >= self.table.capacity() {
            let capacity = places.saturating_mul(2).max(CAPACITY_MIN);
            self.old = std::mem::replace(&mut self.table, HashTable::with_capacity(capacity));
            self.moved = 0;
        }
        self.put(hash, place, &hash_of);
        if self.old.is_empty() {
            return;
        }
        let end = self.moved.saturating_add(MOVES).min(places);
        for place in self.moved..end {
            if let Some(hash) = hash_of(place)
                && self.table.find(hash, |present| from(*present) == place).is_none()
            {
                self.put(hash, place, &hash_of);
            }
        }
        self.moved = end;
        if end == places {
            self.old = HashTable::new();
        }
    }

    /// Removes a place.
    pub(super) fn remove(&mut self, hash: u64, place: usize) {
        for table in [&mut self.table, &mut self.old] {
            if let Ok(entry) = table.find_entry(hash, |present| from(*present) == place) {
                entry.remove();
            }
        }
    }

    fn put(&mut self, hash: u64, place: usize, hash_of: impl Fn(usize) -> Option<u64>) {
        // A table has at most a million series. It grows only in `insert`, so nothing is hashed here.
        let number = u32::try_from(place).unwrap_or(u32::MAX);
        self.table.insert_unique(hash, number, |present| hash_of(from(*present)).unwrap_or(0));
    }
}

fn from(place: u32) -> usize {
    usize::try_from(place).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::{BTreeMap, VecDeque};

    use proptest::prelude::*;

    use super::*;

    /// Returns a hash with many collisions.
    fn hash(key: u64) -> u64 {
        (key % 97).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    #[test]
    fn an_insertion_costs_few_hashes_at_any_size() {
        let (mut index, mut keys) = (Index::default(), Vec::new());
        let hashes = Cell::new(0);
        let spread = |key: u64| key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for key in 0..50_000_u64 {
            keys.push(key);
            hashes.set(0);
            let hash_of = |place: usize| {
                hashes.set(hashes.get() + 1);
                keys.get(place).map(|key| spread(*key))
            };
            index.insert(spread(key), keys.len() - 1, keys.len(), hash_of);
            assert!(hashes.get() <= MOVES, "{} hashes for entry {key}", hashes.get());
        }
        for key in 0..50_000 {
            assert_eq!(index.find(spread(key), |place| keys[place] == key), usize::try_from(key).ok());
        }
    }

    /// Many series end, then a few stay while many others come and go: their tombstones make the table grow
    /// while it has far fewer entries than there are places.
    #[test]
    fn nothing_is_lost_with_more_places_than_rows() {
        const FLOOD: u64 = 896;
        const STAY: usize = 30;
        let spread = |key: u64| {
            (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ key >> 7).wrapping_mul(0xbf58_476d_1ce4_e5b9)
        };
        let (mut index, mut keys) = (Index::default(), Vec::new());
        for key in 0..FLOOD {
            keys.push(Some(key));
            index.insert(spread(key), keys.len() - 1, keys.len(), |place| keys[place].map(spread));
        }
        let mut free: VecDeque<usize> = (0..keys.len() - STAY).collect();
        for place in &free {
            index.remove(spread(keys[*place].take().unwrap()), *place);
        }
        let mut passing = VecDeque::new();
        for key in FLOOD..10 * FLOOD {
            let place = free.pop_front().unwrap();
            keys[place] = Some(key);
            index.insert(spread(key), place, keys.len(), |place| keys[place].map(spread));
            passing.push_back(place);
            // The last series are not removed.
            if passing.len() > 10 && key < 7 * FLOOD {
                let place = passing.pop_front().unwrap();
                index.remove(spread(keys[place].take().unwrap()), place);
                free.push_back(place);
            }
            for (place, key) in keys.iter().enumerate().filter_map(|(place, key)| Some((place, (*key)?))) {
                assert_eq!(index.find(spread(key), |place| keys[place] == Some(key)), Some(place));
            }
            if free.is_empty() {
                break;
            }
        }
    }

    proptest! {
        #[test]
        fn exactly_the_inserted_places_are_found(steps in prop::collection::vec((any::<bool>(), 0u64..400), 0..2_000)) {
            let mut index = Index::default();
            let (mut keys, mut free): (Vec<Option<u64>>, Vec<usize>) = (Vec::new(), Vec::new());
            let mut places: BTreeMap<u64, usize> = BTreeMap::new();
            for (insert, key) in steps {
                let found = index.find(hash(key), |place| keys[place] == Some(key));
                prop_assert_eq!(found, places.get(&key).copied());
                match (insert, found) {
                    (true, None) => {
                        let place = free.pop().unwrap_or(keys.len());
                        keys.resize(keys.len().max(place + 1), None);
                        keys[place] = Some(key);
                        places.insert(key, place);
                        index.insert(hash(key), place, keys.len(), |place| keys[place].map(hash));
                    }
                    (false, Some(place)) => {
                        index.remove(hash(key), place);
                        places.remove(&key);
                        keys[place] = None;
                        free.push(place);
                    }
                    _ => {}
                }
            }
            for key in 0..400 {
                let found = index.find(hash(key), |place| keys[place] == Some(key));
                prop_assert_eq!(found, places.get(&key).copied());
            }
        }
    }
}
