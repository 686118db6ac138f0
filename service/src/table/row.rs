//! One series: what it counted, and how far each destination knows of it.

use std::rc::Rc;

use tributary_proto::batch::Point;
use tributary_proto::exemplar::Exemplar;
use tributary_proto::metric::Kind;

use crate::config::DESTINATIONS_MAX;

/// A destination's view of the rows: which it is, and how it wants them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Viewer {
    /// Its number, from 0; less than [`DESTINATIONS_MAX`].
    pub number: usize,
    /// Its place among the destinations that take deltas, if it is one of them.
    pub delta: Option<usize>,
}

/// One series.
#[derive(Debug)]
pub(super) struct Row {
    /// Canonical bytes, shared by the metrics of one group.
    pub(super) attributes: Rc<[u8]>,
    /// Since when it counts.
    pub(super) start_unix_nano: u64,
    /// What it counted since then.
    pub(super) point: Point,
    /// When it counted last or, if it has ended, when it was found idle.
    changed_unix_nano: u64,
    /// Whether it was found idle: it counts no more, and its end is being told.
    has_ended: bool,
    /// By destination: its present value is on its way there.
    sent: Destinations,
    /// By destination: its present value, or its end, has arrived there.
    taken: Destinations,
    /// For each destination that takes deltas.
    deltas: Box<[Delta]>,
    exemplar: Option<Box<Kept>>,
}

/// The one exemplar that a row keeps, whatever the number of destinations: each is told it once. A greater one takes its
/// place; any newer one does as soon as one destination has it. So the destination that exports most often gets the
/// greatest since its last export, and another gets the greatest since the last export of any: it may miss some, but
/// holds up nobody, even if it is down.
#[derive(Clone, Copy, Debug)]
struct Kept {
    exemplar: Exemplar,
    /// By destination: it is on its way there.
    sent: Destinations,
    /// By destination: it has arrived there.
    taken: Destinations,
}

/// What one destination has of a row that it takes deltas of.
#[derive(Debug)]
struct Delta {
    /// Where the next window begins: where the last one ended.
    since_unix_nano: u64,
    /// The cumulative value at that time; none for nothing.
    base: Option<Point>,
    /// What is on its way.
    in_flight: Option<Window>,
    /// Observations that came since the base and have not arrived.
    waiting: u64,
}

/// From where the deltas of a counter go on for a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Base {
    /// What the destination has of it.
    pub value: u64,
    /// Up to when.
    pub end_unix_nano: u64,
}

/// What came until some time.
#[derive(Debug)]
struct Window {
    end_unix_nano: u64,
    /// The cumulative value then.
    point: Point,
    /// Observations in it.
    observations: u64,
}

/// A set of destinations by their numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Destinations(u16);

const _: () = assert!(DESTINATIONS_MAX <= 16, "a set of destinations has 16 places");
#[cfg(target_pointer_width = "32")]
const _: () = assert!(size_of::<Option<Row>>() == 64, "there may be a million rows");

/// What a destination is to be told of a row now.
#[derive(Debug, PartialEq)]
pub(super) enum News {
    /// Nothing that it does not know.
    None,
    /// The cumulative value.
    Value,
    /// What came since `start_unix_nano`.
    Delta {
        /// The beginning of the window.
        start_unix_nano: u64,
        /// What came in it.
        point: Point,
    },
    /// That it has ended.
    End {
        /// When: not later, since it may begin anew from there.
        time_unix_nano: u64,
    },
}

impl Row {
    pub(super) fn new(attributes: Rc<[u8]>, kind: &Kind, start_unix_nano: u64, deltas: usize) -> Self {
        Self {
            attributes,
            start_unix_nano,
            point: Point::empty(kind),
            changed_unix_nano: start_unix_nano,
            has_ended: false,
            sent: Destinations::default(),
            taken: Destinations::default(),
            deltas: (0..deltas).map(|_| Delta::new(start_unix_nano)).collect(),
            exemplar: None,
        }
    }

    /// Adds to it what so many observations made. One that had ended begins anew at `start_unix_nano`; false if `delta` is of
    /// another kind.
    pub(super) fn add(
        &mut self,
        delta: &Point,
        observations: u64,
        exemplar: Option<Exemplar>,
        start_unix_nano: u64,
        now_unix_nano: u64,
    ) -> bool {
        if self.has_ended {
            self.begin(start_unix_nano.max(self.changed_unix_nano));
        }
        if !self.point.add(delta) {
            return false;
        }
        for delta in &mut self.deltas {
            delta.waiting = delta.waiting.saturating_add(observations);
        }
        if let Some(exemplar) = exemplar {
            self.offer(exemplar);
        }
        self.changed(now_unix_nano);
        true
    }

    /// Keeps one of the observations that were added, or the one that it has.
    fn offer(&mut self, exemplar: Exemplar) {
        let stays = |kept: &Kept| kept.taken.is_empty() && kept.exemplar >= exemplar;
        if !self.exemplar.as_deref().is_some_and(stays) {
            let (sent, taken) = (Destinations::default(), Destinations::default());
            self.exemplar = Some(Box::new(Kept { exemplar, sent, taken }));
        }
    }

    /// The exemplar that `viewer` is to be told with a value.
    pub(super) fn exemplar_for(&self, viewer: Viewer) -> Option<&Exemplar> {
        let kept = self.exemplar.as_deref().filter(|kept| !kept.taken.contains(viewer.number));
        kept.map(|kept| &kept.exemplar)
    }

    /// Gives it this value.
    pub(super) fn set(&mut self, point: Point, now_unix_nano: u64) {
        if self.point != point {
            self.point = point;
            self.changed(now_unix_nano);
        }
    }

    /// Has the deltas of a counter go on from `base` for `viewer`. It is at least at what a destination has of it.
    pub(super) fn resume(&mut self, viewer: Viewer, base: Base, now_unix_nano: u64) {
        let Base { value, end_unix_nano } = base;
        let Some(delta) = viewer.delta.and_then(|delta| self.deltas.get_mut(delta)) else { return };
        (delta.since_unix_nano, delta.base) = (end_unix_nano, Some(Point::Counter(value)));
        match self.point {
            Point::Counter(present) if present == value => self.taken.insert(viewer.number),
            Point::Counter(present) if present > value => {}
            _ => {
                self.set(Point::Counter(value), now_unix_nano);
                self.taken.insert(viewer.number);
            }
        }
    }

    /// From where the deltas of a counter go on for `viewer`, if it was told of it.
    pub(super) fn base(&self, viewer: Viewer) -> Option<Base> {
        let delta = self.deltas.get(viewer.delta?)?;
        let Some(Point::Counter(value)) = delta.base else { return None };
        Some(Base { value, end_unix_nano: delta.since_unix_nano })
    }

    /// Counts from nothing again.
    fn begin(&mut self, start_unix_nano: u64) {
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
        (self.sent, self.taken) = (Destinations::default(), Destinations::default());
    }

    /// What `viewer` is to be told, as of now; it is on its way from here, and with it the exemplar.
    pub(super) fn send(&mut self, viewer: Viewer, now_unix_nano: u64) -> News {
        let news = self.news(viewer, now_unix_nano);
        self.sent.insert(viewer.number);
        if news == News::None {
            self.taken.insert(viewer.number);
        } else if let Some(kept) = &mut self.exemplar {
            kept.sent.insert(viewer.number);
        }
        news
    }

    fn news(&mut self, viewer: Viewer, now_unix_nano: u64) -> News {
        let Some(delta) = viewer.delta else {
            let time_unix_nano = self.changed_unix_nano;
            return if self.has_ended { News::End { time_unix_nano } } else { News::Value };
        };
        // One that has ended was told in full before, and a stream of deltas just stops.
        let known = self.taken.contains(viewer.number) || self.has_ended;
        match self.deltas.get_mut(delta) {
            Some(delta) if !known => {
                delta.in_flight = Some(Window {
                    end_unix_nano: now_unix_nano,
                    point: self.point.clone(),
                    observations: delta.waiting,
                });
                let point = match &delta.base {
                    Some(base) => self.point.since(base),
                    None => self.point.clone(),
                };
                News::Delta { start_unix_nano: delta.since_unix_nano, point }
            }
            _ => News::None,
        }
    }

    /// Whether its present value, or its end, has arrived there.
    pub(super) fn is_known_to(&self, viewer: Viewer) -> bool {
        self.taken.contains(viewer.number)
    }

    /// What was last sent to `viewer`, one of so many destinations, has arrived there. Gives how many observations it was if
    /// `viewer` takes deltas.
    pub(super) fn arrived(&mut self, viewer: Viewer, destinations: usize) -> u64 {
        let mut observations = 0;
        // Not if it counted on in between: then the present value is still to be told.
        if self.sent.contains(viewer.number) {
            self.taken.insert(viewer.number);
        }
        let delta = viewer.delta.and_then(|delta| self.deltas.get_mut(delta));
        if let Some(delta) = delta
            && let Some(window) = delta.in_flight.take()
        {
            delta.since_unix_nano = window.end_unix_nano;
            delta.base = Some(window.point);
            delta.waiting = delta.waiting.saturating_sub(window.observations);
            observations = window.observations;
        }
        if let Some(kept) = self.exemplar.as_deref_mut().filter(|kept| kept.sent.contains(viewer.number)) {
            kept.taken.insert(viewer.number);
            if kept.taken.has_all(destinations) {
                self.exemplar = None;
            }
        }
        observations
    }

    /// Ends it if it has been idle for `idle_ns` and all `destinations` know its last value.
    pub(super) fn end_if_idle(&mut self, idle_ns: u64, destinations: usize, now_unix_nano: u64) {
        let idle = now_unix_nano.saturating_sub(self.changed_unix_nano) >= idle_ns;
        // What is there now ends some time: taken from a sum that began anew, it would make it negative.
        let balanced = !matches!(self.point, Point::UpDownCounter(sum) if sum != 0);
        if idle && balanced && !self.has_ended && self.taken.has_all(destinations) {
            (self.has_ended, self.changed_unix_nano) = (true, now_unix_nano);
            (self.sent, self.taken) = (Destinations::default(), Destinations::default());
        }
    }

    /// When it ended, if all `destinations` know that it did.
    pub(super) fn is_over(&self, destinations: usize) -> Option<u64> {
        (self.has_ended && self.taken.has_all(destinations)).then_some(self.changed_unix_nano)
    }
}

impl Delta {
    fn new(since_unix_nano: u64) -> Self {
        Self { since_unix_nano, base: None, in_flight: None, waiting: 0 }
    }
}

impl Destinations {
    fn insert(&mut self, number: usize) {
        self.0 |= Self::bit(number);
    }

    fn contains(self, number: usize) -> bool {
        self.0 & Self::bit(number) != 0
    }

    fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn has_all(self, count: usize) -> bool {
        (0..count).all(|number| self.contains(number))
    }

    fn bit(number: usize) -> u16 {
        u32::try_from(number).ok().and_then(|number| 1_u16.checked_shl(number)).unwrap_or(0)
    }
}
