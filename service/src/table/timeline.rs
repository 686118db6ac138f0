//! The times that points bear. The wall clock is the only one there is, and may be set back; engines refuse points that are older
//! than the one before, or that end before they begin.

/// By how much a point is younger than the one before at the least: the finest step that every engine keeps (remote write has
/// milliseconds).
pub const STEP_NS: u64 = 1_000_000;

/// The latest time that each destination was told, and that anything happened to a series.
#[derive(Debug)]
pub(super) struct Timeline {
    told: Vec<u64>,
    happened: u64,
    step_ns: u64,
}

impl Timeline {
    /// For so many destinations, which were told nothing yet: nothing began before `start_unix_nano`.
    pub(super) fn new(destinations: usize, start_unix_nano: u64, step_ns: u64) -> Self {
        Self { told: vec![start_unix_nano; destinations], happened: start_unix_nano, step_ns }
    }

    /// The time of what is told now: the clock's, but a step past what was told at the least where a destination is told from
    /// the beginning, and never before it.
    pub(super) fn at(&mut self, destination: usize, is_beginning: bool, now_unix_nano: u64) -> u64 {
        let Some(told) = self.told.get_mut(destination) else { return now_unix_nano };
        let earliest = if is_beginning { told.saturating_add(self.step_ns) } else { *told };
        *told = now_unix_nano.max(self.happened).max(earliest);
        *told
    }

    /// The latest that any destination was told.
    pub(super) fn told(&self) -> u64 {
        self.told.iter().copied().max().unwrap_or(0)
    }

    /// When something happens to a series: at the clock's time, or the latest that there was.
    pub(super) fn happens(&mut self, now_unix_nano: u64) -> u64 {
        let latest = self.told.iter().fold(now_unix_nano, |latest, told| latest.max(*told));
        self.happened = self.happened.max(latest);
        self.happened
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_clock_until_that_is_set_back_and_again_when_it_has_caught_up() {
        let mut timeline = Timeline::new(2, 1_000 * STEP_NS, STEP_NS);
        let told =
            [(1_001, true), (1_002, false), (5, true), (6, false), (7, true), (1_003, true), (1_010, true)];
        let told = told.map(|(now, begins)| timeline.at(0, begins, now * STEP_NS) / STEP_NS);
        assert_eq!(told, [1_001, 1_002, 1_003, 1_003, 1_004, 1_005, 1_010]);
        assert_eq!(timeline.at(1, false, 5), 1_000 * STEP_NS, "of its own");
        assert_eq!(timeline.at(2, false, 5), 5, "not one of them");
    }

    #[test]
    fn no_two_beginnings_are_in_one_millisecond() {
        let mut timeline = Timeline::new(1, 0, STEP_NS);
        let told = [10_900_000, 10_950_000, 10_960_000, 12_100_000];
        let told = told.map(|now| timeline.at(0, true, now) / STEP_NS);
        assert_eq!(told, [10, 11, 12, 13]);
    }

    #[test]
    fn what_happens_is_not_before_what_was_told_nor_told_before_it_happens() {
        let mut timeline = Timeline::new(2, 5, 1);
        assert_eq!((timeline.at(0, true, 9), timeline.happens(7), timeline.happens(20)), (9, 9, 20));
        assert_eq!((timeline.at(1, true, 8), timeline.happens(9)), (20, 20));
    }
}
