//! Counts of the events of a simulation, to prove that it exercises every fault.

use std::collections::BTreeMap;

/// Declares [`Event`] and the list of all its variants.
macro_rules! events {
    ($($(#[$about:meta])* $event:ident,)+) => {
        /// An event of a simulation.
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
    /// The service trapped while the collector of deltas had only a part of the shared counter.
    CounterOutlivedService,
    /// Observations that were dropped for a collector.
    Dropped,
    FlushBlocked,
    /// Observations in overflow series.
    Overflow,
    /// Observations in batches that never arrived.
    Missing,
    Duplicate,
    Invalid,
    Export,
    ExportFailed,
    ClockWentBack,
    ClockJumpedForward,
    /// The clock went back between a trap of the service and the start of the next service.
    ClockWentBackWithoutService,
    SeriesEnded,
    LoggedAtShutdown,
}

/// The number of occurrences of each event.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct EventCounts(BTreeMap<Event, u64>);

impl EventCounts {
    pub(crate) fn add(&mut self, event: Event, count: u64) {
        *self.0.entry(event).or_default() += count;
    }

    pub(crate) fn add_all(&mut self, other: &Self) {
        other.0.iter().for_each(|(event, count)| self.add(*event, *count));
    }

    /// Returns the events that never occurred.
    pub(crate) fn missed(&self) -> Vec<Event> {
        let missed = |event: &&Event| self.0.get(event).is_none_or(|count| *count == 0);
        Event::ALL.iter().filter(missed).copied().collect()
    }
}
