//! What was seen of one stream: the values of a part's sources, in the host's wire form.

use tributary_plan::form;
use tributary_plan::plan::SOURCES_MAX;

/// The values of one stream, by the place of their source; a place without one stands for an absent value.
#[derive(Clone, Copy, Debug)]
pub struct Observation<'a>([Option<&'a [u8]>; SOURCES_MAX]);

/// When in a stream's life an observation is made.
#[derive(Debug)]
pub struct Moment<'a> {
    /// Whether the stream was not observed before.
    pub opened: bool,
    /// Whether it has ended.
    pub ended: bool,
    /// The time, where a measure needs it.
    pub now_unix_nano: u64,
    /// For each measure, what was taken of the stream before; empty for a stream that is observed once.
    pub taken: &'a mut [u64],
}

impl Moment<'_> {
    /// The only observation of a stream, at its end.
    pub fn only(now_unix_nano: u64) -> Self {
        Self { opened: true, ended: true, now_unix_nano, taken: &mut [] }
    }
}

impl Default for Observation<'_> {
    fn default() -> Self {
        Self([None; SOURCES_MAX])
    }
}

impl<'a> Observation<'a> {
    /// The places, to be filled.
    pub fn places_mut(&mut self) -> &mut [Option<&'a [u8]>; SOURCES_MAX] {
        &mut self.0
    }

    /// The bytes of a value; empty for an absent one, which is what a guarded item gives.
    pub fn bytes(&self, source: usize) -> &'a [u8] {
        self.0.get(source).copied().flatten().unwrap_or_default()
    }

    /// The value as an integer, a duration in nanoseconds or a time.
    pub fn integer(&self, source: usize) -> Option<i64> {
        form::integer(self.bytes(source))
    }

    /// Whether the value is true.
    pub fn is_true(&self, source: usize) -> bool {
        self.bytes(source) == [1]
    }
}
