//! Decides which values of the plain list have guards: the values that were often absent recently.
//!
//! A guard costs each stream nearly as much as the value. If a guard is missing and the list fails, one
//! stream pays the cost of a whole list. So absent values are counted, and the list is compiled again if
//! other values should have guards.

use tributary_plan::plan::SOURCES_MAX;
use tributary_plan::source::{ABSENT, Guard, Source};

use crate::observation::Observation;

/// A set of sources: bit `i` stands for source `i`.
pub type SourceSet = u64;

const _: () = assert!(SOURCES_MAX <= 64);

/// The number of streams that are counted before guards change.
const STREAMS_MIN: u32 = 64;

/// A value gets a guard if it is absent in at least one of this many streams. A failed list costs as much
/// as four to eight guards.
const GUARD_FROM: u32 = 8;

/// A value loses its guard if it is absent in at most one of this many streams.
const NO_GUARD_BELOW: u32 = 32;

/// The guards of the plain list, and how often each value was absent since the last decision about guards.
#[derive(Debug)]
pub struct Guards {
    /// The sources whose guards mark an absent value.
    pub marking: SourceSet,
    /// The sources in `marking` that have guards in the plain list.
    pub guarded: SourceSet,
    streams: u32,
    /// For each source, the number of streams in which its value was absent.
    absent: Vec<u32>,
}

impl Guards {
    /// Creates guards for the values that ordinary streams often lack.
    pub fn new(sources: &[Source]) -> Self {
        let set = |is_in: fn(Guard) -> bool| {
            let matching = sources.iter().enumerate().filter(|(_, source)| is_in(source.guard));
            matching.fold(0, |set, (at, _)| set | bit(at))
        };
        Self {
            marking: set(|guard| guard != Guard::Silent),
            guarded: set(|guard| guard == Guard::Marks { often_absent: true }),
            streams: 0,
            absent: vec![0; sources.len()],
        }
    }

    /// Replaces the marks of absent values in an observation by `None`, and counts them. `guarded` are the
    /// sources that may have such a mark.
    pub fn clear_absent(&mut self, mut guarded: SourceSet, observation: &mut Observation<'_>) {
        self.streams = self.streams.saturating_add(1);
        while guarded != 0 {
            let at = usize::try_from(guarded.trailing_zeros()).unwrap_or_default();
            guarded &= guarded.wrapping_sub(1);
            if let (Some(value), Some(absent)) =
                (observation.values_mut().get_mut(at), self.absent.get_mut(at))
                && *value == Some(ABSENT)
            {
                *value = None;
                *absent = absent.saturating_add(1);
            }
        }
    }

    /// Decides which sources should have guards and starts counting from 0. Returns `None` if too few streams
    /// were counted or nothing changes.
    pub fn decide(&mut self) -> Option<SourceSet> {
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
}

/// Returns whether a source is in a set.
pub fn has(set: SourceSet, at: usize) -> bool {
    set & bit(at) != 0
}

fn bit(at: usize) -> SourceSet {
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

    fn decide(guards: &mut Guards) -> Option<SourceSet> {
        guards.decide().inspect(|set| guards.guarded = *set)
    }

    /// Reads streams of which one in `one_in` lacks the source at `at`.
    fn read_streams(guards: &mut Guards, streams: u32, one_in: u32, at: usize) {
        for number in 0..streams {
            let mut observation = Observation::default();
            observation.values_mut().fill(Some(b"x"));
            if number % one_in == 0 {
                observation.values_mut()[at] = Some(ABSENT);
            }
            guards.clear_absent(guards.marking, &mut observation);
            assert_eq!(observation.bytes(at), if number % one_in == 0 { &b""[..] } else { b"x" });
        }
    }

    #[test]
    fn a_value_gets_a_guard_if_it_is_often_absent_and_loses_it_if_it_is_rarely_absent() {
        let mut guards = guards();
        assert_eq!((guards.marking, guards.guarded), (0b11, 0b10));
        read_streams(&mut guards, STREAMS_MIN - 1, 2, 0);
        assert_eq!(decide(&mut guards), None, "too few streams");
        read_streams(&mut guards, STREAMS_MIN, 2, 0);
        assert_eq!(decide(&mut guards), Some(0b01));
        read_streams(&mut guards, STREAMS_MIN, 16, 0);
        assert_eq!(decide(&mut guards), None, "in between, nothing changes");
        read_streams(&mut guards, STREAMS_MIN, u32::MAX, 1);
        assert_eq!(decide(&mut guards), Some(0), "absent in one of 64 streams");
    }

    #[test]
    fn false_is_a_value_unless_a_guard_marks_absence_with_it() {
        let mut guards = guards();
        let mut observation = Observation::default();
        observation.values_mut()[2] = Some(&[0]);
        guards.clear_absent(guards.marking, &mut observation);
        assert!(observation.values_mut()[2].is_some());
    }

    proptest! {
        #[test]
        fn steady_traffic_changes_the_guards_at_most_once(one_in in 1u32..200, at in 0usize..2) {
            let mut guards = guards();
            let mut changes = 0;
            for _ in 0..10 {
                read_streams(&mut guards, 320, one_in, at);
                changes += u32::from(decide(&mut guards).is_some());
            }
            prop_assert!(changes <= 1, "{changes}");
        }
    }
}
