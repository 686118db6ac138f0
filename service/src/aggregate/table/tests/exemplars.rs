//! The exemplars that destinations get.

use tributary_proto::histogram::Histogram;

use super::*;

/// One value in a histogram, with an exemplar made at `time`.
fn observed(value: u64, time: u64) -> Batch {
    let mut histogram = Histogram::new(1);
    histogram.record(value, &[10]);
    let exemplar = Exemplar::new(value, time, [1; 16], [1; 8]);
    batch_of(Kind::Histogram { bounds: [10].into() }, "a", Point::Histogram(histogram), exemplar)
}

fn exemplars(exported: &[Exported]) -> Vec<Option<u64>> {
    exported.iter().map(|exported| exported.exemplar).collect()
}

#[test]
fn the_greatest_exemplar_since_the_last_export_is_exported_once() {
    let mut table = table(10);
    for (value, time) in [(3, 1), (9, 1), (9, 2), (1, 9)] {
        table.merge(observed(value, time), 9);
    }
    assert_eq!(exemplars(&export(&mut table, CUMULATIVE, 100, 10, false)), [Some(9)]);
    assert_eq!(exemplars(&export(&mut table, CUMULATIVE, 100, 11, true)), [Some(9)], "it was not confirmed");
    assert_eq!(exemplars(&export(&mut table, CUMULATIVE, 100, 12, true)), [None], "it was confirmed");
    assert_eq!(exemplars(&export(&mut table, DELTA, 100, 13, true)), [Some(9)], "not by this destination");
    table.merge(observed(2, 20), 20);
    assert_eq!(exemplars(&export(&mut table, CUMULATIVE, 100, 21, true)), [Some(2)], "the greatest since");
}

#[test]
fn a_slow_destination_keeps_no_exemplar_from_the_others() {
    let mut table = table(10);
    table.merge(observed(9, 1), 1);
    assert_eq!(exemplars(&export(&mut table, CUMULATIVE, 100, 10, true)), [Some(9)]);
    table.merge(observed(2, 11), 11);
    assert_eq!(exemplars(&export(&mut table, CUMULATIVE, 100, 20, true)), [Some(2)]);
    assert_eq!(exemplars(&export(&mut table, DELTA, 100, 30, true)), [Some(2)]);
}

#[test]
fn an_exemplar_that_comes_during_an_export_is_in_the_next_one() {
    let mut table = table(10);
    table.merge(observed(2, 1), 1);
    let (_, next) = export_rows(&mut table, CUMULATIVE, Cursor::default(), 100, 10);
    table.merge(observed(9, 11), 11);
    table.confirm(CUMULATIVE, Cursor::default(), next);
    assert_eq!(exemplars(&export(&mut table, CUMULATIVE, 100, 20, true)), [Some(9)]);
}
