//! Which sources are guarded in the list that is tried first: those that were absent often of late.
//!
//! A guard costs each stream nearly as much as the value itself, and a list that fails for want of one costs a stream the
//! whole list. So what is absent is counted, and from time to time the list is made anew.

use tributary_plan::plan::SOURCES_MAX;
use tributary_plan::source::{ABSENT, Guard, Source};

use crate::observation::Observation;

/// A set of sources, by their places.
pub type Set = u64;

const _: () = assert!(SOURCES_MAX <= 64);

/// Streams that must be seen before anything is changed.
const STREAMS_MIN: u32 = 64;

/// Absent in one stream of so many and more: a guard is cheaper than the lists that fail. A failed list costs as much as four
/// to eight guards.
const GUARD_FROM: u32 = 8;

/// Absent in one stream of so many and fewer: none is.
const NO_GUARD_BELOW: u32 = 32;

/// What was absent of late.
#[derive(Debug)]
pub struct Guards {
    /// The sources whose guards tell that a value is absent.
    marking: Set,
    /// Of those, the ones that are guarded.
    guarded: Set,
    streams: u32,
    /// By source.
    absent: Vec<u32>,
}

impl Guards {
    /// What ordinary streams do not have is guarded to begin with.
    pub fn new(sources: &[Source]) -> Self {
        let set = |is_in: fn(Guard) -> bool| {
            let places = sources.iter().enumerate().filter(|(_, source)| is_in(source.guard));
            places.fold(0, |set, (at, _)| set | bit(at))
        };
        Self {
            marking: set(|guard| guard != Guard::Silent),
            guarded: set(|guard| guard == Guard::Marks { often_absent: true }),
            streams: 0,
            absent: vec![0; sources.len()],
        }
    }

    /// The sources that are guarded in the list that is tried first.
    pub fn guarded(&self) -> Set {
        self.guarded
    }

    /// The sources that are guarded where all are: those whose guards tell it.
    pub fn all(&self) -> Set {
        self.marking
    }

    /// Takes what stands for absent values out of an observation that was read with these sources guarded, and counts it.
    pub fn unmark(&mut self, mut guarded: Set, observation: &mut Observation<'_>) {
        self.streams = self.streams.saturating_add(1);
        while guarded != 0 {
            let at = usize::try_from(guarded.trailing_zeros()).unwrap_or_default();
            guarded &= guarded.wrapping_sub(1);
            if let (Some(place), Some(absent)) =
                (observation.places_mut().get_mut(at), self.absent.get_mut(at))
                && *place == Some(ABSENT)
            {
                *place = None;
                *absent = absent.saturating_add(1);
            }
        }
    }

    /// Decides anew what to guard, if enough was seen; none if that is what is guarded.
    pub fn decide(&mut self) -> Option<Set> {
        if self.streams < STREAMS_MIN {
            return None;
        }
        let mut guarded = self.guarded;
        for (at, absent) in self.absent.iter_mut().enumerate() {
            let absent = std::mem::take(absent);
            if self.marking & bit(at) == 0 {
                continue;
            }
            if absent >= self.streams.div_ceil(GUARD_FROM) {
                guarded |= bit(at);
            } else if absent <= self.streams / NO_GUARD_BELOW {
                guarded &= !bit(at);
            }
        }
        self.streams = 0;
        (self.guarded != guarded).then_some(guarded)
    }

    /// These are guarded from now on.
    pub fn adopt(&mut self, guarded: Set) {
        self.guarded = guarded;
    }
}

/// Whether a source is in a set.
pub fn has(set: Set, at: usize) -> bool {
    set & bit(at) != 0
}

fn bit(at: usize) -> Set {
    u32::try_from(at).ok().and_then(|at| 1_u64.checked_shl(at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn guards() -> Guards {
        let sources = ["request.method", "xds.cluster_name", "connection.mtls"].map(Source::attribute);
        let mut sources = sources.to_vec();
        sources.push(Source::expression("1"));
        Guards::new(&sources)
    }

    fn decide(guards: &mut Guards) -> Option<Set> {
        guards.decide().inspect(|set| guards.adopt(*set))
    }

    /// Streams of which one in `one_in` lacks the source at `at`.
    fn see(guards: &mut Guards, streams: u32, one_in: u32, at: usize) {
        for number in 0..streams {
            let mut observation = Observation::default();
            observation.places_mut().fill(Some(b"x"));
            if number % one_in == 0 {
                observation.places_mut()[at] = Some(ABSENT);
            }
            guards.unmark(guards.all(), &mut observation);
            assert_eq!(observation.bytes(at), if number % one_in == 0 { &b""[..] } else { b"x" });
        }
    }

    #[test]
    fn what_is_often_absent_becomes_guarded_and_what_never_is_becomes_plain() {
        let mut guards = guards();
        assert_eq!((guards.all(), guards.guarded()), (0b11, 0b10));
        see(&mut guards, STREAMS_MIN - 1, 2, 0);
        assert_eq!(decide(&mut guards), None, "too few streams to tell");
        see(&mut guards, STREAMS_MIN, 2, 0);
        assert_eq!(decide(&mut guards), Some(0b01));
        see(&mut guards, STREAMS_MIN, 16, 0);
        assert_eq!(decide(&mut guards), None, "in between, all stays as it is");
        see(&mut guards, STREAMS_MIN, u32::MAX, 1);
        assert_eq!(decide(&mut guards), Some(0), "one of 64 is no reason for a guard");
    }

    #[test]
    fn without_a_marking_guard_nothing_is_taken_for_absent() {
        let mut guards = guards();
        let mut observation = Observation::default();
        observation.places_mut()[2] = Some(&[0]);
        guards.unmark(guards.all(), &mut observation);
        assert!(observation.places_mut()[2].is_some(), "false is a value");
    }

    proptest! {
        #[test]
        fn steady_traffic_settles(one_in in 1u32..200, at in 0usize..2) {
            let mut guards = guards();
            let mut changes = 0;
            for _ in 0..10 {
                see(&mut guards, 320, one_in, at);
                changes += u32::from(decide(&mut guards).is_some());
            }
            prop_assert!(changes <= 1, "{changes}");
        }
    }
}
