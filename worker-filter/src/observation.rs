//! The values that were read from one stream, in Envoy's wire format.

use tributary_plan::plan::SOURCES_MAX;
use tributary_plan::transform;

/// The values of one stream, by the index of their source. `None` is an absent value.
#[derive(Clone, Copy, Debug)]
pub struct Observation<'a>([Option<&'a [u8]>; SOURCES_MAX]);

/// The part of a stream's life that an observation covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The whole stream: it has ended and was not observed before.
    Whole,
    /// The first observation of a stream that is still open.
    First,
    /// A later observation of a stream that is still open.
    Next,
    /// The last observation of a stream that was observed while it was open.
    Last,
}

/// The progress of a stream at the time of an observation.
#[derive(Debug)]
pub struct Progress<'a> {
    /// The part of the stream's life that the observation covers.
    pub phase: Phase,
    /// The current time; 0 if no measure needs it.
    pub now_unix_nano: u64,
    /// For each measure, the value that earlier observations have counted; empty for a stream that is
    /// observed once.
    pub counted: &'a mut [u64],
}

impl Phase {
    /// Returns whether the stream was not observed before.
    pub fn is_first(self) -> bool {
        matches!(self, Self::Whole | Self::First)
    }

    /// Returns whether the stream has ended.
    pub fn is_last(self) -> bool {
        matches!(self, Self::Whole | Self::Last)
    }
}

impl Progress<'_> {
    /// Creates the progress of a stream that has ended and is observed once.
    pub fn whole(now_unix_nano: u64) -> Self {
        Self { phase: Phase::Whole, now_unix_nano, counted: &mut [] }
    }
}

impl Default for Observation<'_> {
    fn default() -> Self {
        Self([None; SOURCES_MAX])
    }
}

impl<'a> Observation<'a> {
    /// Returns the values, which the caller fills in.
    pub fn values_mut(&mut self) -> &mut [Option<&'a [u8]>; SOURCES_MAX] {
        &mut self.0
    }

    /// Returns the bytes of a value. An absent value gives empty bytes, like an absent value of an item
    /// with a guard.
    pub fn bytes(&self, source: usize) -> &'a [u8] {
        self.0.get(source).copied().flatten().unwrap_or_default()
    }

    /// Returns a value as an integer; durations and times are in nanoseconds.
    pub fn integer(&self, source: usize) -> Option<i64> {
        transform::integer(self.bytes(source))
    }

    /// Returns whether a value is true.
    pub fn is_true(&self, source: usize) -> bool {
        self.bytes(source) == [1]
    }
}
