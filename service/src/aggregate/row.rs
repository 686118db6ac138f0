//! One series: its value, and which part of it each destination has confirmed.

use std::borrow::Cow;
use std::rc::Rc;

use tributary_proto::batch::Point;
use tributary_proto::exemplar::Exemplar;
use tributary_proto::metric::Kind;

use super::data_point::DataPoint;

/// The maximum number of destinations: a set of destinations has 16 bits.
pub const DESTINATIONS_CAPACITY: usize = 16;

/// A destination, as the table knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DestinationId {
    /// The number of the destination, from 0; less than [`DESTINATIONS_CAPACITY`].
    pub number: usize,
    /// The index among the destinations with delta temporality; `None` if this destination is cumulative.
    pub delta: Option<usize>,
}

impl DestinationId {
    /// A reader that is not a destination, such as the console: it gets all cumulative values and
    /// confirms nothing.
    pub const READER: Self = Self { number: DESTINATIONS_CAPACITY, delta: None };
}

/// One series.
#[derive(Debug)]
pub struct Row {
    /// Canonical bytes, shared by the metrics of one group.
    pub(super) attributes: Rc<[u8]>,
    /// The time from which the series counts, in Unix nanoseconds.
    start_unix_nano: u64,
    /// The value that the series has counted since `start_unix_nano`.
    point: Point,
    /// The time of the last update or, if the series has ended, the time at which it was found idle.
    changed_unix_nano: u64,
    /// Whether the series was found idle. An idle series counts nothing more, and its end is exported.
    has_ended: bool,
    /// The destinations to which the current value was sent.
    sent: DestinationSet,
    /// The destinations that have confirmed the current value or the end of the series.
    confirmed: DestinationSet,
    /// The delta state, one item for each destination with delta temporality.
    deltas: Box<[Delta]>,
    exemplar: Option<Box<KeptExemplar>>,
}

/// The exemplar of a row. All destinations share it, and each of them gets it once.
///
/// A greater exemplar replaces the kept exemplar. After one destination has confirmed the kept exemplar,
/// any newer exemplar replaces it. So the destination with the most frequent exports gets the greatest
/// exemplar since its last export. Other destinations may miss some exemplars, but a destination that is
/// down delays no other destination.
#[derive(Clone, Copy, Debug)]
struct KeptExemplar {
    exemplar: Exemplar,
    /// The destinations to which the exemplar was sent.
    sent: DestinationSet,
    /// The destinations that have confirmed the exemplar.
    confirmed: DestinationSet,
}

/// What a destination with delta temporality has confirmed of a row.
#[derive(Debug)]
struct Delta {
    /// The start of the next window, which is the end of the last confirmed window.
    since_unix_nano: u64,
    /// The cumulative value at `since_unix_nano`; `None` means that nothing was counted before.
    baseline: Option<Point>,
    in_flight: Option<Window>,
    /// The number of observations that were counted after the baseline and are not confirmed.
    unconfirmed: u64,
}

/// What a destination with delta temporality has confirmed of a counter in shared data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeltaBaseline {
    /// The cumulative value that the destination has confirmed.
    pub value: u64,
    /// The end of the last confirmed window, in Unix nanoseconds.
    pub end_unix_nano: u64,
}

/// A delta that was sent, and has no confirmation yet.
#[derive(Debug)]
struct Window {
    end_unix_nano: u64,
    /// The cumulative value at the end of the window.
    point: Point,
    /// The number of observations in the window.
    observations: u64,
}

/// A set of destinations by their numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct DestinationSet(u16);

#[cfg(target_pointer_width = "32")]
const _: () = assert!(size_of::<Option<Row>>() == 64, "there may be a million rows");

// Functions that read a row.
impl Row {
    /// Returns the point that a destination gets in an export at this time; `None` if it gets no point.
    pub fn point(&self, destination: DestinationId, time_unix_nano: u64) -> Option<DataPoint<'_>> {
        if !self.has_update(destination) {
            return None;
        }
        // Each destination gets an exemplar once.
        let kept = self.exemplar.as_deref().filter(|kept| !kept.confirmed.contains(destination.number));
        let mut point = DataPoint {
            attributes: &self.attributes,
            start_unix_nano: self.start_unix_nano,
            time_unix_nano,
            value: Some(Cow::Borrowed(&self.point)),
            exemplar: kept.map(|kept| &kept.exemplar),
        };
        if let Some(delta) = destination.delta {
            let Delta { since_unix_nano, baseline, .. } = self.deltas.get(delta)?;
            point.start_unix_nano = *since_unix_nano;
            if let Some(baseline) = baseline {
                point.value = Some(Cow::Owned(self.point.since(baseline)));
            }
        } else if self.has_ended {
            // The end of the series must not have a later time: the series may start again from this time.
            point.time_unix_nano = self.changed_unix_nano.max(self.start_unix_nano);
            point.value = None;
        }
        Some(point)
    }

    /// Returns whether a destination has confirmed the current value or the end of the series.
    pub fn is_confirmed(&self, destination: DestinationId) -> bool {
        self.confirmed.contains(destination.number)
    }
}

// Functions that change the value of a row.
impl Row {
    pub(super) fn new(attributes: Rc<[u8]>, kind: &Kind, start_unix_nano: u64, deltas: usize) -> Self {
        Self {
            attributes,
            start_unix_nano,
            point: Point::empty(kind),
            changed_unix_nano: start_unix_nano,
            has_ended: false,
            sent: DestinationSet::default(),
            confirmed: DestinationSet::default(),
            deltas: (0..deltas).map(|_| Delta::new(start_unix_nano)).collect(),
            exemplar: None,
        }
    }

    /// Adds a point with its observations. A series that had ended starts again, at `start_unix_nano` or at
    /// its end. Returns false if the point has another kind.
    pub(super) fn add(
        &mut self,
        point: &Point,
        observations: u64,
        exemplar: Option<Exemplar>,
        start_unix_nano: u64,
        now_unix_nano: u64,
    ) -> bool {
        if self.has_ended {
            self.restart(start_unix_nano.max(self.changed_unix_nano));
        }
        if !self.point.add(point) {
            return false;
        }
        for delta in &mut self.deltas {
            delta.unconfirmed = delta.unconfirmed.saturating_add(observations);
        }
        if let Some(exemplar) = exemplar {
            self.offer(exemplar);
        }
        self.changed(now_unix_nano);
        true
    }

    /// Sets the value of the series.
    pub(super) fn set(&mut self, point: Point, now_unix_nano: u64) {
        if self.point != point {
            self.point = point;
            self.changed(now_unix_nano);
        }
    }

    /// Ends the series if it was idle for `idle_ns` and every destination has confirmed its last value.
    pub(super) fn end_if_idle(&mut self, idle_ns: u64, destinations: usize, now_unix_nano: u64) {
        let is_idle = now_unix_nano.saturating_sub(self.changed_unix_nano) >= idle_ns;
        // An up-down counter that is not 0 will change: restarted at 0, it would become negative.
        let is_balanced = !matches!(self.point, Point::UpDownCounter(sum) if sum != 0);
        if is_idle && is_balanced && !self.has_ended && self.confirmed.has_all(destinations) {
            self.has_ended = true;
            self.changed(now_unix_nano);
        }
    }

    /// Returns when the series ended; `None` unless every destination has confirmed the end.
    pub(super) fn confirmed_end(&self, destinations: usize) -> Option<u64> {
        (self.has_ended && self.confirmed.has_all(destinations)).then_some(self.changed_unix_nano)
    }

    /// Keeps the greater of the old and the new exemplar. If a destination has confirmed the old exemplar,
    /// keeps the new exemplar.
    fn offer(&mut self, exemplar: Exemplar) {
        let stays =
            |kept: &KeptExemplar| kept.confirmed == DestinationSet::default() && kept.exemplar >= exemplar;
        if !self.exemplar.as_deref().is_some_and(stays) {
            let (sent, confirmed) = (DestinationSet::default(), DestinationSet::default());
            self.exemplar = Some(Box::new(KeptExemplar { exemplar, sent, confirmed }));
        }
    }

    fn restart(&mut self, start_unix_nano: u64) {
        self.start_unix_nano = start_unix_nano;
        self.has_ended = false;
        self.point.clear();
        self.exemplar = None;
        for delta in &mut self.deltas {
            *delta = Delta::new(start_unix_nano);
        }
    }

    fn changed(&mut self, now_unix_nano: u64) {
        self.changed_unix_nano = now_unix_nano;
        (self.sent, self.confirmed) = (DestinationSet::default(), DestinationSet::default());
    }
}

// Functions that record exports of a row.
impl Row {
    /// Marks the update and the exemplar of the row as sent to a destination.
    pub(super) fn mark_sent(&mut self, destination: DestinationId, time_unix_nano: u64) {
        let has_update = self.has_update(destination);
        self.sent.insert(destination.number);
        if !has_update {
            self.confirmed.insert(destination.number);
            return;
        }
        if let Some(delta) = destination.delta.and_then(|delta| self.deltas.get_mut(delta)) {
            let (point, observations) = (self.point.clone(), delta.unconfirmed);
            delta.in_flight = Some(Window { end_unix_nano: time_unix_nano, point, observations });
        }
        if let Some(kept) = &mut self.exemplar {
            kept.sent.insert(destination.number);
        }
    }

    /// Records that a destination has accepted what was last sent to it. Returns the number of
    /// observations in it if the destination has delta temporality, otherwise 0.
    pub(super) fn confirm(&mut self, destination: DestinationId, destinations: usize) -> u64 {
        let mut observations = 0;
        // If the value changed after the request was sent, the new value is not sent yet.
        if self.sent.contains(destination.number) {
            self.confirmed.insert(destination.number);
        }
        let delta = destination.delta.and_then(|delta| self.deltas.get_mut(delta));
        if let Some(delta) = delta
            && let Some(window) = delta.in_flight.take()
        {
            delta.since_unix_nano = window.end_unix_nano;
            delta.baseline = Some(window.point);
            delta.unconfirmed = delta.unconfirmed.saturating_sub(window.observations);
            observations = window.observations;
        }
        if let Some(kept) = self.exemplar.as_deref_mut().filter(|kept| kept.sent.contains(destination.number))
        {
            kept.confirmed.insert(destination.number);
            if kept.confirmed.has_all(destinations) {
                self.exemplar = None;
            }
        }
        observations
    }

    /// Makes the deltas of a counter continue from `baseline`. The value of the counter becomes at least
    /// that of the baseline.
    pub(super) fn resume(&mut self, destination: DestinationId, baseline: DeltaBaseline, now_unix_nano: u64) {
        let DeltaBaseline { value, end_unix_nano } = baseline;
        let delta = destination.delta.and_then(|delta| self.deltas.get_mut(delta));
        let Some(delta) = delta else { return };
        (delta.since_unix_nano, delta.baseline) = (end_unix_nano, Some(Point::Counter(value)));
        match self.point {
            Point::Counter(present) if present == value => self.confirmed.insert(destination.number),
            Point::Counter(present) if present > value => {}
            _ => {
                self.set(Point::Counter(value), now_unix_nano);
                self.confirmed.insert(destination.number);
            }
        }
    }

    /// Returns what a destination with delta temporality has confirmed of a counter; `None` if it has
    /// confirmed nothing.
    pub(super) fn baseline(&self, destination: DestinationId) -> Option<DeltaBaseline> {
        let delta = self.deltas.get(destination.delta?)?;
        let Some(Point::Counter(value)) = delta.baseline else { return None };
        Some(DeltaBaseline { value, end_unix_nano: delta.since_unix_nano })
    }

    /// Returns whether a destination gets a point of this row. With delta temporality, the end of a
    /// series is not sent: before it ended, its last value was confirmed.
    fn has_update(&self, destination: DestinationId) -> bool {
        destination.delta.is_none() || !self.has_ended && !self.is_confirmed(destination)
    }
}

impl Delta {
    fn new(since_unix_nano: u64) -> Self {
        Self { since_unix_nano, baseline: None, in_flight: None, unconfirmed: 0 }
    }
}

impl DestinationSet {
    fn insert(&mut self, number: usize) {
        self.0 |= Self::bit(number);
    }

    fn contains(self, number: usize) -> bool {
        self.0 & Self::bit(number) != 0
    }

    fn has_all(self, count: usize) -> bool {
        (0..count).all(|number| self.contains(number))
    }

    fn bit(number: usize) -> u16 {
        u32::try_from(number).ok().and_then(|number| 1_u16.checked_shl(number)).unwrap_or(0)
    }
}
