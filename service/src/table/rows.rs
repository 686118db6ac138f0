//! Rows in places that do not change while they are there.

use super::row::Row;

/// Rows of one piece. Pieces, unlike one list of all rows, never move: a hundred thousand rows would take milliseconds.
const PIECE_ROWS: usize = 256;

/// Rows by their places.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pieces: Vec<Vec<Option<Row>>>,
    /// Places of rows that are gone.
    free: Vec<usize>,
}

impl Rows {
    /// How many places there are, with rows or without.
    pub(super) fn places(&self) -> usize {
        let last = self.pieces.last().map_or(0, Vec::len);
        self.pieces.len().saturating_sub(1).saturating_mul(PIECE_ROWS).saturating_add(last)
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.places().saturating_sub(self.free.len())
    }

    pub(super) fn get(&self, place: usize) -> Option<&Row> {
        self.pieces.get(place / PIECE_ROWS)?.get(place % PIECE_ROWS)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, place: usize) -> Option<&mut Row> {
        self.slot(place)?.as_mut()
    }

    /// Puts a row somewhere.
    pub(super) fn insert(&mut self, row: Row) -> usize {
        if let Some(place) = self.free.pop() {
            if let Some(slot) = self.slot(place) {
                *slot = Some(row);
            }
            return place;
        }
        let place = self.places();
        match self.pieces.last_mut().filter(|piece| piece.len() < PIECE_ROWS) {
            Some(piece) => piece.push(Some(row)),
            None => {
                let mut piece = Vec::with_capacity(PIECE_ROWS);
                piece.push(Some(row));
                self.pieces.push(piece);
            }
        }
        place
    }

    pub(super) fn remove(&mut self, place: usize) -> Option<Row> {
        let row = self.slot(place)?.take()?;
        self.free.push(place);
        Some(row)
    }

    /// Every row from `first` on with its place, up to `end`.
    pub(super) fn range_mut(&mut self, first: usize, end: usize) -> impl Iterator<Item = (usize, &mut Row)> {
        let pieces = self.pieces.iter_mut().enumerate().skip(first / PIECE_ROWS);
        let places = pieces.flat_map(|(number, piece)| {
            let place = number.saturating_mul(PIECE_ROWS);
            (place..).zip(piece.iter_mut())
        });
        let skipped = places.skip(first % PIECE_ROWS).take_while(move |(place, _)| *place < end);
        skipped.filter_map(|(place, row)| Some((place, row.as_mut()?)))
    }

    fn slot(&mut self, place: usize) -> Option<&mut Option<Row>> {
        self.pieces.get_mut(place / PIECE_ROWS)?.get_mut(place % PIECE_ROWS)
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
    fn rows_stay_where_they_are_and_places_are_used_again() {
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

    #[test]
    fn a_range_has_every_row_in_it() {
        let mut rows = Rows::default();
        for number in 0..600 {
            rows.insert(row(number));
        }
        rows.remove(300);
        for (first, end) in
            [(0, 600), (10, 20), (250, 260), (256, 512), (299, 302), (512, usize::MAX), (600, 700), (9, 9)]
        {
            let found: Vec<usize> = rows
                .range_mut(first, end)
                .map(|(place, row)| {
                    assert_eq!(number(row), place);
                    place
                })
                .collect();
            let expected: Vec<usize> = (first..end.min(600)).filter(|place| *place != 300).collect();
            assert_eq!(found, expected, "{first}..{end}");
        }
    }
}
