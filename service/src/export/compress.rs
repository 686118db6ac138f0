//! The compression of a request's body, part by part: compressing the whole body at once would block
//! Envoy's main thread for too long.

use std::fmt;

use crc::{CRC_32_ISO_HDLC, Crc, Digest, Table};
use miniz_oxide::deflate::core::{
    CompressorOxide, TDEFLFlush, compress_to_output, create_comp_flags_from_zip_params,
};
use prost::encoding::{decode_varint, encode_varint};

/// The fastest level of deflate that compresses at all.
const DEFLATE_LEVEL: i32 = 1;
/// Selects raw deflate, without the header and checksum of zlib.
const NO_ZLIB: i32 = 0;

/// A gzip header without information: deflate, no flags, no time, fastest, unknown system (RFC 1952, section
/// 2.3).
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255];

/// The CRC of gzip, with a table of 1 KiB: tables for a faster CRC are larger than the rest of gzip in the
/// module.
static GZIP_CRC: Crc<u32, Table<1>> = Crc::<u32, Table<1>>::new(&CRC_32_ISO_HDLC);

/// The compression of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// No compression.
    None,
    /// Gzip (RFC 1952), at the fastest level: it runs on Envoy's main thread, and metrics are so
    /// repetitive that slower levels gain little.
    Gzip,
    /// Snappy's block format, without framing, as in remote write.
    Snappy,
}

/// Compresses a body part by part.
pub struct Compressor {
    /// The number of uncompressed bytes.
    pub(super) bytes: usize,
    out: Vec<u8>,
    method: Method,
}

enum Method {
    None,
    Gzip { deflate: Box<CompressorOxide>, crc: Digest<'static, u32, Table<1>> },
    Snappy(Box<snap::raw::Encoder>),
}

impl Compression {
    /// Returns the value of the header `content-encoding`, if the request needs one.
    pub fn content_encoding(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Gzip => Some("gzip"),
            Self::Snappy => Some("snappy"),
        }
    }
}

impl Compressor {
    /// Creates an empty body.
    pub fn new(compression: Compression) -> Self {
        let (out, method) = match compression {
            Compression::None => (Vec::new(), Method::None),
            Compression::Gzip => {
                let flags = create_comp_flags_from_zip_params(DEFLATE_LEVEL, NO_ZLIB, 0);
                let deflate = Box::new(CompressorOxide::new(flags));
                (GZIP_HEADER.to_vec(), Method::Gzip { deflate, crc: GZIP_CRC.digest() })
            }
            Compression::Snappy => (Vec::new(), Method::Snappy(Box::new(snap::raw::Encoder::new()))),
        };
        Self { bytes: 0, out, method }
    }

    /// Compresses a part, and appends it to the body.
    pub fn push(&mut self, part: &[u8]) {
        self.bytes = self.bytes.saturating_add(part.len());
        match &mut self.method {
            Method::None => self.out.extend_from_slice(part),
            Method::Gzip { deflate, crc } => {
                crc.update(part);
                deflate_into(&mut self.out, deflate, part, TDEFLFlush::None);
            }
            // A Snappy body is its length, then elements, which refer only to the 64 KiB before them. So
            // the elements of all parts can be joined. Compression fails only for a part of 4 GiB, which
            // no Wasm module can hold.
            Method::Snappy(encoder) => {
                let body = encoder.compress_vec(part).unwrap_or_default();
                let mut elements = body.as_slice();
                let _length = decode_varint(&mut elements);
                self.out.extend_from_slice(elements);
            }
        }
    }

    /// Returns the compressed body.
    pub fn finish(self) -> Vec<u8> {
        let Self { bytes, mut out, method } = self;
        let bytes = as_u64(bytes);
        match method {
            Method::None => out,
            Method::Gzip { mut deflate, crc } => {
                deflate_into(&mut out, &mut deflate, &[], TDEFLFlush::Finish);
                out.extend_from_slice(&crc.finalize().to_le_bytes());
                // The length modulo 2^32 (RFC 1952).
                let [a, b, c, d, ..] = bytes.to_le_bytes();
                out.extend_from_slice(&[a, b, c, d]);
                out
            }
            Method::Snappy(_) => {
                let mut body = Vec::with_capacity(out.len().saturating_add(10));
                encode_varint(bytes, &mut body);
                body.append(&mut out);
                body
            }
        }
    }
}

impl fmt::Debug for Compressor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} bytes", self.bytes)
    }
}

/// Converts a length, which has at most 64 bits on every target.
pub(super) fn as_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

fn deflate_into(out: &mut Vec<u8>, deflate: &mut CompressorOxide, part: &[u8], flush: TDEFLFlush) {
    compress_to_output(deflate, part, flush, |bytes| {
        out.extend_from_slice(bytes);
        true
    });
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use proptest::prelude::*;

    use super::*;

    fn decompress(compression: Compression, bytes: &[u8]) -> Vec<u8> {
        match compression {
            Compression::None => bytes.to_vec(),
            Compression::Gzip => {
                let mut body = Vec::new();
                flate2::read::GzDecoder::new(bytes).read_to_end(&mut body).unwrap();
                body
            }
            Compression::Snappy => snap::raw::Decoder::new().decompress_vec(bytes).unwrap(),
        }
    }

    fn compress(compression: Compression, parts: &[&[u8]]) -> Vec<u8> {
        let mut compressor = Compressor::new(compression);
        parts.iter().for_each(|part| compressor.push(part));
        assert_eq!(compressor.bytes, parts.iter().map(|part| part.len()).sum::<usize>());
        compressor.finish()
    }

    #[test]
    fn repetitive_bodies_become_small() {
        let body = b"http.server.request.duration".repeat(10_000);
        for (compression, most) in
            [(Compression::Gzip, body.len() / 50), (Compression::Snappy, body.len() / 15)]
        {
            let bytes = compress(compression, &[&body]);
            assert!(bytes.len() < most, "{compression:?}: {} bytes", bytes.len());
        }
    }

    #[test]
    fn gzip_has_a_header_and_snappy_has_no_frame() {
        let gzip = compress(Compression::Gzip, &[b"abc"]);
        assert_eq!(&gzip[..3], [0x1f, 0x8b, 8], "RFC 1952, deflate");
        // A block begins with its length, here 3; the tag of a literal is (length - 1) << 2, here 8.
        assert_eq!(compress(Compression::Snappy, &[b"abc"]), b"\x03\x08abc");
        assert_eq!(compress(Compression::Snappy, &[b"ab", b"c"]), b"\x03\x04ab\x00c");
    }

    proptest! {
        #[test]
        fn every_body_is_decompressed_to_itself(
            parts in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..300), 0usize..60), 0..9),
        ) {
            let parts: Vec<Vec<u8>> = parts.iter().map(|(piece, times)| piece.repeat(*times)).collect();
            let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            for compression in [Compression::None, Compression::Gzip, Compression::Snappy] {
                let bytes = compress(compression, &parts);
                prop_assert!(decompress(compression, &bytes) == parts.concat(), "{:?}", compression);
            }
        }
    }
}
