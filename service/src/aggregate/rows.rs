//! Rows in places that never change.

use super::row::Row;

/// The rows of a chunk. Chunks never move: moving a single list of 100,000 rows would take milliseconds.
const CHUNK_ROWS: usize = 256;

/// Rows by their places.
#[derive(Debug, Default)]
pub(super) struct Rows {
    chunks: Vec<Vec<Option<Row>>>,
    /// Places of removed rows.
    free: Vec<usize>,
}

impl Rows {
    /// Returns the number of places, including those without a row.
    pub(super) fn places(&self) -> usize {
        let last = self.chunks.last().map_or(0, Vec::len);
        self.chunks.len().saturating_sub(1).saturating_mul(CHUNK_ROWS).saturating_add(last)
    }

    /// Returns the number of rows.
    pub(super) fn len(&self) -> usize {
        self.places().saturating_sub(self.free.len())
    }

    pub(super) fn get(&self, place: usize) -> Option<&Row> {
        self.chunks.get(place / CHUNK_ROWS)?.get(place % CHUNK_ROWS)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, place: usize) -> Option<&mut Row> {
        self.slot(place)?.as_mut()
    }

    /// Adds a row, and returns its place.
    pub(super) fn insert(&mut self, row: Row) -> usize {
        if let Some(place) = self.free.pop() {
            if let Some(slot) = self.slot(place) {
                *slot = Some(row);
            }
            return place;
        }
        let place = self.places();
        match self.chunks.last_mut().filter(|chunk| chunk.len() < CHUNK_ROWS) {
            Some(chunk) => chunk.push(Some(row)),
            None => {
                let mut chunk = Vec::with_capacity(CHUNK_ROWS);
                chunk.push(Some(row));
                self.chunks.push(chunk);
            }
        }
        place
    }

    pub(super) fn remove(&mut self, place: usize) -> Option<Row> {
        let row = self.slot(place)?.take()?;
        self.free.push(place);
        Some(row)
    }

    fn slot(&mut self, place: usize) -> Option<&mut Option<Row>> {
        self.chunks.get_mut(place / CHUNK_ROWS)?.get_mut(place % CHUNK_ROWS)
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use tributary_proto::metric::Kind;

    use super::*;

    fn row(number: usize) -> Row {
        Row::new(Rc::from(number.to_le_bytes()), &Kind::Counter, 0, 0)
    }

    fn number(row: &Row) -> usize {
        usize::from_le_bytes((*row.attributes).try_into().unwrap())
    }

    #[test]
    fn rows_never_move_and_places_are_reused() {
        let mut rows = Rows::default();
        assert_eq!((rows.places(), rows.len()), (0, 0));
        for number in 0..600 {
            assert_eq!(rows.insert(row(number)), number);
        }
        for place in [3, 255, 256, 599] {
            assert_eq!(number(&rows.remove(place).unwrap()), place);
            assert!(rows.get(place).is_none() && rows.remove(place).is_none());
        }
        assert_eq!((rows.places(), rows.len()), (600, 596));
        let place = rows.insert(row(1_000));
        assert_eq!((place, number(rows.get(place).unwrap())), (599, 1_000));
        assert_eq!(number(rows.get_mut(257).unwrap()), 257);
        assert!(rows.get(600).is_none() && rows.get_mut(10_000).is_none());
    }
}
