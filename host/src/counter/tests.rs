//! Concurrent additions by several workers, in any interleaving of their reads and writes.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use proptest::prelude::*;

use super::*;
use crate::fake::store::FakeStore;

/// One worker's view of the store: other workers add between the reads and the writes of this worker.
struct Contended {
    store: Rc<RefCell<FakeStore>>,
    /// What other workers add before the n-th write of this worker.
    others: HashMap<usize, u64>,
    writes: usize,
}

impl SharedData for Contended {
    fn get(&mut self, key: &str) -> Result<Option<(Vec<u8>, Version)>, Status> {
        match self.store.borrow().get(key) {
            Ok((value, version)) => Ok(Some((value, Version(version)))),
            Err(_) => Ok(None),
        }
    }

    fn set(&mut self, key: &str, value: &[u8], version: Version) -> Result<(), Status> {
        if let Some(more) = self.others.get(&self.writes) {
            let mut other = Contended { store: self.store.clone(), others: HashMap::new(), writes: 0 };
            add(&mut other, key, *more).unwrap();
        }
        self.writes += 1;
        self.store.borrow_mut().set(key, value, version.0)
    }
}

proptest! {
    #[test]
    fn no_interleaving_loses_an_addition(
        additions in prop::collection::vec(0u64..1000, 1..20),
        others in prop::collection::hash_map(0usize..40, 1u64..1000, 0..30),
    ) {
        let store = Rc::new(RefCell::new(FakeStore::default()));
        let mut worker = Contended { store: store.clone(), others: others.clone(), writes: 0 };
        let (mut carried, mut added) = (0, 0);
        for more in additions {
            carried += more;
            match add(&mut worker, "key", carried) {
                Ok(_) => added += std::mem::take(&mut carried),
                Err(error) => prop_assert_eq!(error, AddError::Contended),
            }
        }
        let by_others: u64 = (0..worker.writes).filter_map(|write| others.get(&write)).sum();
        prop_assert_eq!(read(&mut worker, "key"), Ok(Some(added + by_others)));
    }
}

#[test]
fn two_workers_can_create_a_counter_at_the_same_time() {
    let store = Rc::new(RefCell::new(FakeStore::default()));
    let mut worker = Contended { store, others: HashMap::from([(0, 5)]), writes: 0 };
    assert_eq!(add(&mut worker, "key", 3), Ok(8));
}

#[test]
fn a_value_that_is_not_a_counter_is_not_changed() {
    let store = Rc::new(RefCell::new(FakeStore::default()));
    store.borrow_mut().set("key", b"text", 0).unwrap();
    let mut worker = Contended { store: store.clone(), others: HashMap::new(), writes: 0 };
    assert_eq!(add(&mut worker, "key", 1), Err(AddError::NotACounter));
    assert_eq!(read(&mut worker, "key"), Ok(None));
    assert_eq!(store.borrow().get("key").unwrap().0, b"text");
}

#[test]
fn an_addition_fails_after_eight_retries() {
    let store = Rc::new(RefCell::new(FakeStore::default()));
    let others = (0..100).map(|write| (write, 1)).collect();
    let mut worker = Contended { store, others, writes: 0 };
    assert_eq!(add(&mut worker, "key", 1), Err(AddError::Contended));
    assert_eq!(worker.writes, 9, "one try and eight retries");
}
