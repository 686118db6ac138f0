//! A request as it grows, part by part, until it goes out.

use crate::compress::Compressor;
use crate::encode::{Encoded, Encoding};
use crate::resource::Resource;
use crate::table::{Cursor, Slice};

/// What one destination is to be told next, as far as it is written.
#[derive(Debug)]
pub struct Request {
    encoding: Encoding,
    body: Compressor,
    points: u64,
    /// Where in the table it begins.
    from: Cursor,
    /// Up to where it goes so far.
    at: Cursor,
}

impl Request {
    /// A request that begins there, with nothing in it.
    pub fn new(encoding: Encoding, body: Compressor, from: Cursor) -> Self {
        Self { encoding, body, points: 0, from, at: from }
    }

    /// Appends a slice, which ends at `at`. Gives how many of them could not be said.
    pub fn push(&mut self, resource: &Resource, slice: &Slice<'_>, at: Cursor) -> u64 {
        self.at = at;
        let first = self.points == 0;
        let time = first.then_some(slice.time_unix_nano);
        let Encoded { bytes, points, left_out } = self.encoding.part(resource, &slice.metrics, time);
        if points > 0 {
            let [before, between, _] = self.encoding.frame();
            self.body.push(if first { before } else { between });
            self.body.push(&bytes);
            self.points = self.points.saturating_add(points);
        }
        left_out
    }

    /// Points in it.
    pub fn points(&self) -> u64 {
        self.points
    }

    /// Its length so far, before compression.
    pub fn bytes(&self) -> usize {
        usize::try_from(self.body.bytes()).unwrap_or(usize::MAX)
    }

    /// Where in the table it begins.
    pub fn from(&self) -> Cursor {
        self.from
    }

    /// Up to where in the table it goes so far.
    pub fn at(&self) -> Cursor {
        self.at
    }

    /// The body, compressed.
    pub fn finish(self) -> Vec<u8> {
        let [_, _, after] = self.encoding.frame();
        let mut body = self.body;
        body.push(after);
        body.finish()
    }
}
