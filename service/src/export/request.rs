//! A request to a collector that is written slice by slice.

use super::compress::{Compression, Compressor};
use super::encode::{Encoded, Encoding};
use super::resource::Resource;
use super::slice::Slice;
use crate::aggregate::Cursor;

/// A request to a collector, with the slices that were written so far.
#[derive(Debug)]
pub struct ExportRequest {
    encoding: Encoding,
    body: Compressor,
    /// The number of points in the request.
    pub points: u64,
    /// The position in the table at which the request starts.
    pub start: Cursor,
    /// The position in the table at which the next slice starts.
    pub end: Cursor,
}

impl ExportRequest {
    /// Creates an empty request for the rows from `start` on.
    pub fn new(encoding: Encoding, compression: Compression, start: Cursor) -> Self {
        Self { encoding, body: Compressor::new(compression), points: 0, start, end: start }
    }

    /// Appends a slice, which ends at `end`. Returns the number of points that the encoding cannot represent.
    pub fn push(&mut self, resource: &Resource, slice: &Slice<'_>, end: Cursor) -> u64 {
        self.end = end;
        let is_first = self.points == 0;
        let time = is_first.then_some(slice.time_unix_nano);
        let Encoded { bytes, points, left_out } = self.encoding.part(resource, &slice.metrics, time);
        if points > 0 {
            let [before, between, _] = self.encoding.frame();
            self.body.push(if is_first { before } else { between });
            self.body.push(&bytes);
            self.points = self.points.saturating_add(points);
        }
        left_out
    }

    /// Returns the length of the body before compression, in bytes.
    pub fn bytes(&self) -> usize {
        self.body.bytes
    }

    /// Returns the compressed body.
    pub fn finish(self) -> Vec<u8> {
        let [_, _, after] = self.encoding.frame();
        let mut body = self.body;
        body.push(after);
        body.finish()
    }
}
