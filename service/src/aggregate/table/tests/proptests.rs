//! Properties that hold for any sequence of events.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

proptest! {
    /// Confirmed exports add up to what was counted, even if exports are lost and series end and start again.
    #[test]
    fn confirmed_exports_add_up_to_what_was_counted(
        steps in prop::collection::vec((0u8..6, 0u8..6, 1u64..9, 1u64..150), 1..120),
        series_max in 1usize..5,
        rows_max in 1usize..4,
    ) {
        let mut table = table(series_max);
        let (mut now, mut counted, mut balance) = (10, 0, 0);
        // The sum of confirmed deltas; for each series, the end of its last window.
        let mut deltas: i64 = 0;
        let mut windows: BTreeMap<(String, Vec<u8>), u64> = BTreeMap::new();
        // The last cumulative value of each series and start time.
        let mut sums: BTreeMap<((String, Vec<u8>), u64), i64> = BTreeMap::new();
        // For each destination and series, the last value of the up-down counter; 0 after the series ended.
        let mut balances: BTreeMap<(usize, (String, Vec<u8>)), i64> = BTreeMap::new();
        let rounds = steps.len();
        let ending = [(2, 0, 1, 1), (4, 0, 1, 1)];
        for (at, (step, name, count, wait)) in steps.into_iter().chain(ending).enumerate() {
            now += wait;
            match step {
                0 | 1 => {
                    let series = format!("r{name}");
                    table.merge(batch("m", &[(&series, count)]), now);
                    let count = i64::try_from(count).unwrap();
                    counted += count;
                    let up_or_down = if step == 0 { count } else { -count };
                    table.merge(change(&series, up_or_down), now);
                    balance += up_or_down;
                }
                2 | 3 => {
                    let is_confirmed = step == 2 || at >= rounds;
                    for exported in export(&mut table, DELTA, rows_max, now, is_confirmed) {
                        if exported.series.0 == "other" {
                            if is_confirmed {
                                balances.insert((DELTA.number, exported.series), exported.count.unwrap_or(0));
                            }
                            continue;
                        }
                        let end = windows.entry(exported.series).or_default();
                        prop_assert!(exported.window.0 >= *end, "windows overlap");
                        if is_confirmed {
                            deltas += exported.count.unwrap();
                            *end = exported.window.1;
                        }
                    }
                }
                4 => {
                    for exported in export(&mut table, CUMULATIVE, rows_max, now, true) {
                        if exported.series.0 == "other" {
                            balances.insert((CUMULATIVE.number, exported.series), exported.count.unwrap_or(0));
                        } else if let Some(count) = exported.count {
                            let last = sums.insert((exported.series, exported.window.0), count).unwrap_or(0);
                            prop_assert!(last <= count, "a sum fell without a new start");
                        }
                    }
                }
                _ => table.sweep(usize::from(name), now),
            }
            prop_assert!(table.series() <= 2 * (series_max + 1));
        }
        prop_assert_eq!(deltas, counted);
        prop_assert_eq!(sums.values().sum::<i64>(), counted);
        for destination in [CUMULATIVE, DELTA] {
            let last = balances.iter().filter(|((number, _), _)| *number == destination.number);
            prop_assert_eq!(last.map(|(_, sum)| sum).sum::<i64>(), balance);
        }
    }
}
