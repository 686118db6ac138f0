//! Compressing a request's body.

use crc::{CRC_32_ISO_HDLC, Crc, Table};
use miniz_oxide::deflate::compress_to_vec;

use crate::encode::as_u64;

/// The fastest level that compresses.
const DEFLATE_LEVEL: u8 = 1;

/// A header of gzip that says nothing: deflate, no flags, no time, fastest, unknown system (RFC 1952, section 2.3).
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255];

/// A table of 1 KiB; those that are faster weigh more than the rest of gzip in the module.
const GZIP_CRC: Crc<u32, Table<1>> = Crc::<u32, Table<1>>::new(&CRC_32_ISO_HDLC);

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// RFC 1952. At the fastest level: it runs on Envoy's main thread, and metrics repeat themselves so much that the others
    /// gain little.
    Gzip,
    /// Snappy's block format, without framing, as remote write has it.
    Snappy,
}

impl Compression {
    /// The value of the header `content-encoding`, if there is to be one.
    pub fn content_encoding(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Gzip => Some("gzip"),
            Self::Snappy => Some("snappy"),
        }
    }

    /// The compressed body; none only where a body has 4 GiB, which no Wasm module can hold.
    pub fn compress(self, body: Vec<u8>) -> Option<Vec<u8>> {
        match self {
            Self::None => Some(body),
            Self::Gzip => Some(gzip(&body)),
            Self::Snappy => snap::raw::Encoder::new().compress_vec(&body).ok(),
        }
    }
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut bytes = GZIP_HEADER.to_vec();
    bytes.extend_from_slice(&compress_to_vec(body, DEFLATE_LEVEL));
    bytes.extend_from_slice(&GZIP_CRC.checksum(body).to_le_bytes());
    // The length modulo 2^32, as RFC 1952 has it.
    let [a, b, c, d, ..] = as_u64(body.len()).to_le_bytes();
    bytes.extend_from_slice(&[a, b, c, d]);
    bytes
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

    #[test]
    fn what_repeats_itself_becomes_small() {
        let body = b"http.server.request.duration".repeat(10_000);
        for (compression, most) in
            [(Compression::Gzip, body.len() / 50), (Compression::Snappy, body.len() / 15)]
        {
            let bytes = compression.compress(body.clone()).unwrap();
            assert!(bytes.len() < most, "{compression:?}: {} bytes", bytes.len());
        }
    }

    #[test]
    fn gzip_says_what_it_is_and_snappy_has_no_frame() {
        let gzip = Compression::Gzip.compress(b"abc".to_vec()).unwrap();
        assert_eq!(&gzip[..3], [0x1f, 0x8b, 8], "RFC 1952, deflate");
        // A block begins with its length, then a literal of 3 bytes (length - 1) << 2.
        assert_eq!(Compression::Snappy.compress(b"abc".to_vec()).unwrap(), b"\x03\x08abc");
    }

    proptest! {
        #[test]
        fn nothing_changes_on_the_way(
            piece in prop::collection::vec(any::<u8>(), 0..300),
            times in 0usize..900,
        ) {
            let body = piece.repeat(times);
            for compression in [Compression::None, Compression::Gzip, Compression::Snappy] {
                let bytes = compression.compress(body.clone()).unwrap();
                prop_assert!(decompress(compression, &bytes) == body, "{:?}", compression);
            }
        }
    }
}
