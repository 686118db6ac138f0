//! Makes collectors fail: at random, independently of each other, and for a few seconds.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use tributary_tests::sink::{Fault, Sink};

use super::environment::FaultyCollector;

/// The longest duration of a fault mode, in steps of the schedule. A step takes one second.
const STEPS_MAX: u64 = 4;

/// The delay of slow responses: longer than the export interval, shorter than the timeout of an export.
const SLOW_DELAY: Duration = Duration::from_millis(800);
/// The size of a response that is too large: more than Envoy buffers of a response.
const FLOOD_BYTES: usize = 33 << 20;

/// A behaviour of a collector.
pub(super) struct FaultMode {
    /// The name of the mode in reports.
    name: &'static str,
    /// The probability of the mode, relative to the other modes.
    weight: u64,
    /// Whether the mode loses deltas. The sums of the collector are then too low. The ledger reports the
    /// total of the lost observations, but not the number for each metric.
    loses_deltas: bool,
    apply: fn(&Sink),
}

/// Makes a mode that loses no deltas, with the usual probability.
const fn mode(name: &'static str, apply: fn(&Sink)) -> FaultMode {
    FaultMode { name, weight: 1, loses_deltas: false, apply }
}

/// All modes. The status codes 400 and 500 forbid a retry.
static MODES: [FaultMode; 13] = [
    FaultMode { weight: 8, ..mode("healthy", |_| ()) },
    mode("503", |sink| sink.fail_always(Fault::status(503))),
    mode("429", |sink| sink.fail_always(Fault::status(429).header("retry-after", "1"))),
    mode("502", |sink| sink.fail_always(Fault::status(502))),
    FaultMode { loses_deltas: true, ..mode("400", |sink| sink.fail_always(Fault::status(400))) },
    FaultMode { loses_deltas: true, ..mode("500", |sink| sink.fail_always(Fault::status(500))) },
    mode("closes", |sink| sink.fail_always(Fault::Close)),
    mode("hangs", |sink| sink.fail_next(1, &Fault::Hang)),
    mode("slow", |sink| sink.fail_always(Fault::Slow { delay: SLOW_DELAY })),
    mode("garbage", |sink| sink.fail_always(Fault::Garbage)),
    mode("truncates", |sink| sink.fail_always(Fault::Truncate)),
    mode("floods", |sink| sink.fail_next(1, &Fault::Flood { bytes: FLOOD_BYTES })),
    mode("partial_success", |sink| {
        sink.fail_always(Fault::PartialSuccess { rejected: 1, message: "fault mode".to_owned() });
    }),
];

/// The schedule of the random fault modes of all collectors.
pub(super) struct FaultSchedule {
    random: Rng,
    /// For each collector, the number of steps until its fault mode ends.
    steps_left: Vec<u64>,
    /// How often each mode was drawn.
    pub(super) drawn: BTreeMap<&'static str, u64>,
}

/// Returns a text table of all modes and their probabilities.
pub(super) fn table() -> String {
    let total: u64 = MODES.iter().map(|mode| mode.weight).sum();
    let line = |mode: &FaultMode| format!("{:<16} {} of {total}", mode.name, mode.weight);
    MODES.iter().map(line).collect::<Vec<_>>().join("\n")
}

impl FaultSchedule {
    /// Creates a schedule of random modes. The same seed gives the same modes.
    pub(super) fn new(seed: u64) -> Self {
        Self { random: Rng::with_seed(seed), steps_left: Vec::new(), drawn: BTreeMap::new() }
    }

    /// Advances by one step: a collector whose mode has ended gets another mode.
    pub(super) fn advance(&mut self, collectors: &[FaultyCollector]) {
        self.steps_left.resize(collectors.len(), 0);
        for (steps_left, collector) in self.steps_left.iter_mut().zip(collectors) {
            if let Some(less) = steps_left.checked_sub(1) {
                *steps_left = less;
                continue;
            }
            *steps_left = self.random.u64(0..STEPS_MAX);
            let mode = draw(&mut self.random, collector.is_cumulative);
            collector.sink.heal();
            (mode.apply)(&collector.sink);
            *self.drawn.entry(mode.name).or_default() += 1;
        }
    }
}

fn draw(random: &mut Rng, is_cumulative: bool) -> &'static FaultMode {
    let allowed = || MODES.iter().filter(|mode| is_cumulative || !mode.loses_deltas);
    let mut at = random.u64(0..allowed().map(|mode| mode.weight).sum());
    let drawn = allowed().find(|mode| match at.checked_sub(mode.weight) {
        Some(rest) => {
            at = rest;
            false
        }
        None => true,
    });
    drawn.unwrap_or(&MODES[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_faults_and_eventually_all_of_them() {
        let drawn = |seed, is_cumulative| {
            let mut random = Rng::with_seed(seed);
            (0..500).map(|_| draw(&mut random, is_cumulative).name).collect::<Vec<_>>()
        };
        assert_eq!(drawn(1, true), drawn(1, true));
        assert_ne!(drawn(1, true), drawn(2, true));
        assert!(MODES.iter().all(|mode| drawn(1, true).contains(&mode.name)));
        assert!(drawn(1, false).iter().all(|name| !["400", "500"].contains(name)));
    }

    #[test]
    fn the_table_has_every_mode() {
        assert_eq!(table().lines().count(), MODES.len());
    }
}
