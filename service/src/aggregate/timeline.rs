//! The timestamps of points. The wall clock is the only clock, and it may be set back; storage engines
//! reject points that are older than the previous point, or that end before they start.

/// The minimum difference between the timestamps of two points, in nanoseconds: the finest resolution
/// that every storage engine keeps (remote write has milliseconds).
pub const STEP_NS: u64 = 1_000_000;

/// The latest time that was exported to each destination, and the latest update of any series.
#[derive(Debug)]
pub(super) struct Timeline {
    exports: Vec<u64>,
    last_update: u64,
    step_ns: u64,
}

impl Timeline {
    /// Creates a timeline for this number of destinations that starts at `start_unix_nano`.
    pub(super) fn new(destinations: usize, start_unix_nano: u64, step_ns: u64) -> Self {
        Self { exports: vec![start_unix_nano; destinations], last_update: start_unix_nano, step_ns }
    }

    /// Returns the timestamp of an export at `now_unix_nano`. It is never before an update or the last
    /// export. If a cycle begins, it is at least one step after the last export.
    pub(super) fn export_time(&self, destination: usize, begins_cycle: bool, now_unix_nano: u64) -> u64 {
        let Some(last) = self.exports.get(destination) else { return now_unix_nano };
        let earliest = if begins_cycle { last.saturating_add(self.step_ns) } else { *last };
        now_unix_nano.max(self.last_update).max(earliest)
    }

    /// Records that points with this timestamp were sent to a destination.
    pub(super) fn exported(&mut self, destination: usize, time_unix_nano: u64) {
        if let Some(last) = self.exports.get_mut(destination) {
            *last = time_unix_nano;
        }
    }

    /// Returns the latest time that was exported to any destination.
    pub(super) fn last_export(&self) -> u64 {
        self.exports.iter().copied().max().unwrap_or(0)
    }

    /// Advances to the time of an update, and returns this time. It is the clock's time, but never earlier
    /// than the last update or any export.
    pub(super) fn advance(&mut self, now_unix_nano: u64) -> u64 {
        self.last_update = self.last_update.max(now_unix_nano).max(self.last_export());
        self.last_update
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn export(timeline: &mut Timeline, destination: usize, begins_cycle: bool, now: u64) -> u64 {
        let time = timeline.export_time(destination, begins_cycle, now);
        timeline.exported(destination, time);
        time
    }

    #[test]
    fn times_follow_the_clock_except_while_it_is_set_back() {
        let mut timeline = Timeline::new(2, 1_000 * STEP_NS, STEP_NS);
        let times =
            [(1_001, true), (1_002, false), (5, true), (6, false), (7, true), (1_003, true), (1_010, true)];
        let times = times.map(|(now, begins)| export(&mut timeline, 0, begins, now * STEP_NS) / STEP_NS);
        assert_eq!(times, [1_001, 1_002, 1_003, 1_003, 1_004, 1_005, 1_010]);
        assert_eq!(export(&mut timeline, 1, false, 5), 1_000 * STEP_NS, "each destination has its own");
    }

    #[test]
    fn no_two_cycles_begin_in_one_millisecond() {
        let mut timeline = Timeline::new(1, 0, STEP_NS);
        let times = [10_900_000, 10_950_000, 10_960_000, 12_100_000];
        let times = times.map(|now| export(&mut timeline, 0, true, now) / STEP_NS);
        assert_eq!(times, [10, 11, 12, 13]);
    }

    #[test]
    fn updates_and_exports_are_never_before_each_other() {
        let mut timeline = Timeline::new(2, 5, 1);
        assert_eq!(export(&mut timeline, 0, true, 9), 9);
        assert_eq!((timeline.advance(7), timeline.advance(20)), (9, 20));
        assert_eq!((export(&mut timeline, 1, true, 8), timeline.advance(9)), (20, 20));
    }
}
