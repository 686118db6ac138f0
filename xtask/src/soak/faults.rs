//! Faults of collectors: random, independent of each other, and temporary.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use clap::ValueEnum;
use fastrand::Rng;
use tributary_tests::sink::{Fault, Sink};

use super::environment::FaultyCollector;

/// The longest duration of a fault mode, in steps of the schedule, which has one each second.
const STEPS_MAX: u64 = 4;

/// Longer than the export interval, shorter than the timeout of an export.
const SLOW_DELAY: Duration = Duration::from_millis(800);
/// More than Envoy buffers of a response.
const FLOOD_BYTES: usize = 33 << 20;

/// A behaviour of a collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(super) enum FaultMode {
    /// Accepts everything.
    Healthy,
    /// Answers 503.
    #[value(name = "503")]
    Unavailable,
    /// Answers 429 with `Retry-After: 1`.
    #[value(name = "429")]
    TooMany,
    /// Answers 502, like a proxy without upstream.
    #[value(name = "502")]
    BadGateway,
    /// Answers 400, which forbids a retry.
    #[value(name = "400")]
    BadRequest,
    /// Answers 500, which forbids a retry.
    #[value(name = "500")]
    InternalError,
    /// Closes the connection without a response.
    Closes,
    /// Never answers one request.
    Hangs,
    /// Accepts everything, with a delay.
    Slow,
    /// Accepts everything, and answers with an invalid message.
    Garbage,
    /// Truncates its response.
    Truncates,
    /// Answers one request with 33 MiB.
    Floods,
    /// Accepts everything, and reports one rejected point.
    #[value(name = "partial_success")]
    PartialSuccess,
}

/// The random fault modes of all collectors.
pub(super) struct FaultSchedule {
    random: Rng,
    /// For each collector, the steps that its fault mode still lasts.
    steps_left: Vec<u64>,
    drawn: BTreeMap<FaultMode, u64>,
}

impl FaultMode {
    /// Its name in reports.
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Its probability, relative to the other modes.
    fn weight(self) -> u64 {
        if self == Self::Healthy { 8 } else { 1 }
    }

    /// Whether deltas are lost. The collector's sums are then too low, and the ledger reports by how much in
    /// total, but not by metric.
    fn loses_deltas(self) -> bool {
        matches!(self, Self::BadRequest | Self::InternalError)
    }

    fn apply(self, sink: &Sink) {
        sink.heal();
        match self {
            Self::Healthy => {}
            Self::Unavailable => sink.fail_always(Fault::status(503)),
            Self::TooMany => sink.fail_always(Fault::status(429).header("retry-after", "1")),
            Self::BadGateway => sink.fail_always(Fault::status(502)),
            Self::BadRequest => sink.fail_always(Fault::status(400)),
            Self::InternalError => sink.fail_always(Fault::status(500)),
            Self::Closes => sink.fail_always(Fault::Close),
            Self::Hangs => sink.fail_next(1, &Fault::Hang),
            Self::Slow => sink.fail_always(Fault::Slow { delay: SLOW_DELAY }),
            Self::Garbage => sink.fail_always(Fault::Garbage),
            Self::Truncates => sink.fail_always(Fault::Truncate),
            Self::Floods => sink.fail_next(1, &Fault::Flood { bytes: FLOOD_BYTES }),
            Self::PartialSuccess => {
                sink.fail_always(Fault::PartialSuccess { rejected: 1, message: "fault mode".to_owned() });
            }
        }
    }

    /// All modes with their probabilities.
    pub(super) fn table() -> String {
        let total: u64 = Self::value_variants().iter().copied().map(Self::weight).sum();
        let mut table = String::new();
        for mode in Self::value_variants() {
            // Writing to a String cannot fail.
            let _ = writeln!(table, "{:<16} {} of {total}", mode.name(), mode.weight());
        }
        table.trim_end().to_owned()
    }
}

impl FaultSchedule {
    /// The same seed gives the same modes.
    pub(super) fn new(seed: u64) -> Self {
        Self { random: Rng::with_seed(seed), steps_left: Vec::new(), drawn: BTreeMap::new() }
    }

    /// Advances by one step: collectors whose mode is over get another one.
    pub(super) fn advance(&mut self, collectors: &[FaultyCollector]) {
        self.steps_left.resize(collectors.len(), 0);
        for (steps_left, collector) in self.steps_left.iter_mut().zip(collectors) {
            if let Some(less) = steps_left.checked_sub(1) {
                *steps_left = less;
                continue;
            }
            *steps_left = self.random.u64(0..STEPS_MAX);
            let mode = draw(&mut self.random, collector.is_cumulative);
            mode.apply(&collector.sink);
            *self.drawn.entry(mode).or_default() += 1;
        }
    }

    /// How often each mode was drawn.
    pub(super) fn drawn(&self) -> BTreeMap<String, u64> {
        self.drawn.iter().map(|(mode, count)| (mode.name(), *count)).collect()
    }
}

fn draw(random: &mut Rng, is_cumulative: bool) -> FaultMode {
    let allowed =
        FaultMode::value_variants().iter().copied().filter(|mode| is_cumulative || !mode.loses_deltas());
    let total = allowed.clone().map(FaultMode::weight).sum();
    let mut at = random.u64(0..total);
    for mode in allowed {
        match at.checked_sub(mode.weight()) {
            Some(rest) => at = rest,
            None => return mode,
        }
    }
    FaultMode::Healthy
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_faults_and_eventually_all_of_them() {
        let drawn = |seed, is_cumulative| {
            let mut random = Rng::with_seed(seed);
            (0..500).map(|_| draw(&mut random, is_cumulative)).collect::<Vec<_>>()
        };
        assert_eq!(drawn(1, true), drawn(1, true));
        assert_ne!(drawn(1, true), drawn(2, true));
        assert!(FaultMode::value_variants().iter().all(|mode| drawn(1, true).contains(mode)));
        assert!(drawn(1, false).iter().all(|mode| !mode.loses_deltas()));
    }

    #[test]
    fn the_table_has_every_mode() {
        assert_eq!(FaultMode::table().lines().count(), FaultMode::value_variants().len());
    }
}
