//! A TLS ClientHello, from which Envoy's TLS inspector reads the server name.

use anyhow::Result;

/// Encodes a minimal ClientHello with this server name (RFC 8446 section 4.1.2, RFC 6066 section 3).
///
/// # Errors
/// The name is longer than 65,000 bytes.
pub fn encode(server_name: &str) -> Result<Vec<u8>> {
    let with_length = |bytes: &[u8]| -> Result<Vec<u8>> {
        Ok([&u16::try_from(bytes.len())?.to_be_bytes(), bytes].concat())
    };
    let name = [&[0][..], &with_length(server_name.as_bytes())?].concat();
    let server_name = [&[0, 0][..], &with_length(&with_length(&name)?)?].concat();
    let random = [7; 32];
    let one_cipher = [0, 2, 0xc0, 0x2f];
    let no_compression = [1, 0];
    let body =
        [&[3, 3][..], &random[..], &[0], &one_cipher, &no_compression, &with_length(&server_name)?].concat();
    let handshake = [&[1, 0][..], &with_length(&body)?].concat();
    Ok([&[22, 3, 1][..], &with_length(&handshake)?].concat())
}
