//! What was seen of one stream: the values of a plan's sources, in the host's wire form.

use crate::plan::SOURCES_MAX;

/// The values of one stream, by the place of their source; a place without one stands for an absent attribute.
#[derive(Clone, Copy, Debug, Default)]
pub struct Observation<'a>([Option<&'a [u8]>; SOURCES_MAX]);

impl<'a> Observation<'a> {
    /// The places, to be filled.
    pub fn places_mut(&mut self) -> &mut [Option<&'a [u8]>; SOURCES_MAX] {
        &mut self.0
    }

    /// The bytes of a value.
    pub fn text(&self, source: usize) -> Option<&'a [u8]> {
        self.0.get(source).copied().flatten()
    }

    /// The value as an integer, a duration in nanoseconds or a time: 8 bytes little-endian.
    pub fn integer(&self, source: usize) -> Option<i64> {
        Some(i64::from_le_bytes(<[u8; 8]>::try_from(self.text(source)?).ok()?))
    }
}
