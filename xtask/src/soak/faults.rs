//! How collectors fail: at random, each by itself, and never for ever.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use fastrand::Rng;
use tributary_tests::sink::{Fault, Sink};

use super::stage::Collector;

/// Looks at a collector, one a second, for which one of its moods lasts at the most.
const MOOD_LOOKS_MAX: u64 = 4;

/// Longer than an export's interval, shorter than a call may take.
const SLOW_DELAY: Duration = Duration::from_millis(800);
/// More than Envoy takes for an answer.
const FLOOD_BYTES: usize = 33 << 20;

/// What a collector may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// It takes everything.
    Healthy,
    /// It answers 503 to everything.
    Unavailable,
    /// It asks to be left alone for a second.
    TooMany,
    /// It answers 502, as a proxy does whose upstream is gone.
    BadGateway,
    /// It answers 400: what was sent is not to be sent again.
    BadRequest,
    /// It answers 500: the same.
    InternalError,
    /// It closes the connection without an answer.
    Closes,
    /// It never answers one request.
    Hangs,
    /// It takes everything, but takes its time to say so.
    Slow,
    /// It takes everything, and answers with what is no message.
    Garbage,
    /// It breaks off its answer.
    Truncates,
    /// It answers one request with 33 MiB.
    Floods,
    /// It takes everything, but says that it rejected a point.
    PartialSuccess,
}

/// The moods of all collectors.
pub(super) struct Weather {
    random: Rng,
    /// For each collector, the looks that its mood still lasts.
    lasts: Vec<u64>,
    drawn: BTreeMap<Kind, u64>,
}

impl Kind {
    const ALL: [Self; 13] = [
        Self::Healthy,
        Self::Unavailable,
        Self::TooMany,
        Self::BadGateway,
        Self::BadRequest,
        Self::InternalError,
        Self::Closes,
        Self::Hangs,
        Self::Slow,
        Self::Garbage,
        Self::Truncates,
        Self::Floods,
        Self::PartialSuccess,
    ];

    /// In a word.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Unavailable => "503",
            Self::TooMany => "429",
            Self::BadGateway => "502",
            Self::BadRequest => "400",
            Self::InternalError => "500",
            Self::Closes => "closes",
            Self::Hangs => "hangs",
            Self::Slow => "slow",
            Self::Garbage => "garbage",
            Self::Truncates => "truncates",
            Self::Floods => "floods",
            Self::PartialSuccess => "partial_success",
        }
    }

    /// How often it is drawn, in relation to the others.
    fn weight(self) -> u64 {
        if self == Self::Healthy { 8 } else { 1 }
    }

    /// Whether it loses deltas, and so the sum of what a collector of them got is not that of all: the ledger says by how much,
    /// but not of which metric.
    fn loses_deltas(self) -> bool {
        matches!(self, Self::BadRequest | Self::InternalError)
    }

    fn seize(self, sink: &Sink) {
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
                sink.fail_always(Fault::PartialSuccess { rejected: 1, message: "as asked".to_owned() });
            }
        }
    }

    /// All kinds, with how often each is drawn.
    pub(super) fn table() -> String {
        let total: u64 = Self::ALL.into_iter().map(Self::weight).sum();
        let mut table = String::new();
        for kind in Self::ALL {
            // Writing to a String cannot fail.
            let _ = writeln!(table, "{:<16} {} of {total}", kind.name(), kind.weight());
        }
        table.trim_end().to_owned()
    }
}

impl Weather {
    /// As the seed has it.
    pub(super) fn new(seed: u64) -> Self {
        Self { random: Rng::with_seed(seed), lasts: Vec::new(), drawn: BTreeMap::new() }
    }

    /// A second has passed: those whose mood is over get another one.
    pub(super) fn change(&mut self, collectors: &[Collector]) {
        self.lasts.resize(collectors.len(), 0);
        for (lasts, collector) in self.lasts.iter_mut().zip(collectors) {
            if let Some(less) = lasts.checked_sub(1) {
                *lasts = less;
                continue;
            }
            *lasts = self.random.u64(0..MOOD_LOOKS_MAX);
            let kind = draw(&mut self.random, collector.is_cumulative);
            kind.seize(&collector.sink);
            *self.drawn.entry(kind).or_default() += 1;
        }
    }

    /// How often each kind was drawn.
    pub(super) fn drawn(&self) -> BTreeMap<&'static str, u64> {
        self.drawn.iter().map(|(kind, count)| (kind.name(), *count)).collect()
    }
}

fn draw(random: &mut Rng, is_cumulative: bool) -> Kind {
    let allowed = Kind::ALL.into_iter().filter(|kind| is_cumulative || !kind.loses_deltas());
    let total = allowed.clone().map(Kind::weight).sum();
    let mut at = random.u64(0..total);
    for kind in allowed {
        match at.checked_sub(kind.weight()) {
            Some(rest) => at = rest,
            None => return kind,
        }
    }
    Kind::Healthy
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_faults_and_in_time_all_of_them() {
        let drawn = |seed, is_cumulative| {
            let mut random = Rng::with_seed(seed);
            (0..500).map(|_| draw(&mut random, is_cumulative)).collect::<Vec<_>>()
        };
        assert_eq!(drawn(1, true), drawn(1, true));
        assert_ne!(drawn(1, true), drawn(2, true));
        assert!(Kind::ALL.iter().all(|kind| drawn(1, true).contains(kind)));
        assert!(drawn(1, false).iter().all(|kind| !kind.loses_deltas()));
    }

    #[test]
    fn the_list_has_every_kind() {
        assert_eq!(Kind::table().lines().count(), Kind::ALL.len());
    }
}
