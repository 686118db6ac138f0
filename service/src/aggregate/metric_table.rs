//! All series of one metric.

use std::hash::BuildHasher;
use std::rc::Rc;

use tributary_host::random::Hasher;
use tributary_proto::attributes;
use tributary_proto::metric::Metric;

use super::index::Index;
use super::row::Row;
use super::rows::Rows;

/// All series of one metric.
#[derive(Debug)]
pub(super) struct MetricTable {
    pub(super) metric: Metric,
    pub(super) rows: Rows,
    index: Index,
    hasher: Hasher,
}

/// The limits and the start time for a new row.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewRow {
    /// The maximum number of rows, without the overflow row and the reserve.
    pub(super) series_max: usize,
    /// The number of destinations with delta temporality.
    pub(super) deltas: usize,
    /// The time from which the row counts, in Unix nanoseconds.
    pub(super) start_unix_nano: u64,
}

impl MetricTable {
    /// Creates a table without series.
    pub(super) fn new(metric: Metric, hasher: Hasher) -> Self {
        Self { metric, rows: Rows::default(), index: Index::default(), hasher }
    }

    /// Returns the row of these attributes, whose hash is `hash`; the overflow row if the table is full.
    ///
    /// `shared` is the allocation of the attributes, which the metrics of a group share.
    pub(super) fn row(
        &mut self,
        attributes: &[u8],
        hash: u64,
        shared: &mut Option<Rc<[u8]>>,
        new: NewRow,
    ) -> Option<&mut Row> {
        if let Some(place) = self.find(attributes, hash) {
            return self.rows.get_mut(place);
        }
        let rows = self.rows.len();
        // If clients flood a worker with values, the worker sends `_OTHER` instead. Series with `_OTHER`
        // may use the reserve; `rows` then includes the overflow row.
        let has_reserve = || attributes::has_other(attributes);
        if rows < new.series_max || rows <= attributes::with_reserve(new.series_max) && has_reserve() {
            let shared = Rc::clone(shared.get_or_insert_with(|| Rc::from(attributes)));
            return self.insert(shared, hash, new);
        }
        let overflow = attributes::overflow();
        let hash = self.hasher.hash_one(overflow.as_slice());
        match self.find(&overflow, hash) {
            Some(place) => self.rows.get_mut(place),
            None => self.insert(Rc::from(overflow), hash, new),
        }
    }

    /// Ends the row if it is idle, and removes it if every destination has confirmed its end. Returns the
    /// time at which a removed row ended.
    pub(super) fn sweep(
        &mut self,
        place: usize,
        idle_ns: u64,
        destinations: usize,
        now_unix_nano: u64,
    ) -> Option<u64> {
        let row = self.rows.get_mut(place)?;
        row.end_if_idle(idle_ns, destinations, now_unix_nano);
        let ended = row.confirmed_end(destinations)?;
        let row = self.rows.remove(place)?;
        self.index.remove(self.hasher.hash_one(&*row.attributes), place);
        Some(ended)
    }

    fn find(&self, attributes: &[u8], hash: u64) -> Option<usize> {
        self.index.find(hash, |place| self.rows.get(place).is_some_and(|row| *row.attributes == *attributes))
    }

    fn insert(&mut self, attributes: Rc<[u8]>, hash: u64, new: NewRow) -> Option<&mut Row> {
        let row = Row::new(attributes, &self.metric.kind, new.start_unix_nano, new.deltas);
        let place = self.rows.insert(row);
        let (rows, hasher) = (&self.rows, &self.hasher);
        let hash_of = |place| rows.get(place).map(|row| hasher.hash_one(&*row.attributes));
        self.index.insert(hash, place, rows.places(), hash_of);
        self.rows.get_mut(place)
    }
}
