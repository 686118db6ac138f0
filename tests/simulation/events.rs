//! What went on in a simulation: one in which nothing goes wrong would find nothing.

use std::collections::BTreeMap;

/// Everything that can happen, each named once.
macro_rules! events {
    ($($(#[$about:meta])* $event:ident,)+) => {
        /// What can happen.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Event {
            $($(#[$about])* $event,)+
        }

        impl Event {
            const ALL: &[Self] = &[$(Self::$event,)+];
        }
    };
}

events! {
    Request,
    WorkerEnded,
    WorkerTrapped,
    ServiceTrapped,
    /// With a counter in shared data of which the collector of deltas had a part.
    CounterOutlivedService,
    /// Observations, of which a collector was never told.
    Dropped,
    HeldBack,
    /// Observations in overflow series.
    Overflow,
    /// Observations in batches that never came.
    Missing,
    Duplicate,
    Refused,
    Export,
    ExportFailed,
    ClockWentBack,
    ClockLeapt,
    /// Between the failure of a service and the beginning of the next.
    ClockWentBackWithoutService,
    SeriesEnded,
    LoggedAtShutdown,
}

/// How often things happened.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct EventCounts(BTreeMap<Event, u64>);

impl EventCounts {
    pub(crate) fn add(&mut self, event: Event, count: u64) {
        *self.0.entry(event).or_default() += count;
    }

    pub(crate) fn add_all(&mut self, other: &Self) {
        other.0.iter().for_each(|(event, count)| self.add(*event, *count));
    }

    /// What never happened.
    pub(crate) fn missed(&self) -> Vec<Event> {
        let missed = |event: &&Event| self.0.get(event).is_none_or(|count| *count == 0);
        Event::ALL.iter().filter(missed).copied().collect()
    }
}
