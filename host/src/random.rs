//! Random numbers and hash seeds. The seeds of the standard library are fixed on this target, which is not
//! safe because clients choose attribute values.

use std::sync::OnceLock;

use foldhash::SharedSeed;
use proxy_wasm::types::Status;

use crate::raw;

/// The hasher for keys that clients choose.
pub type Hasher = foldhash::fast::SeedableRandomState;

/// Creates a hasher. Both of its seeds are random: with foldhash's default shared seed, inputs can be
/// constructed that collide with any other seed.
pub fn hasher() -> Hasher {
    static SHARED: OnceLock<SharedSeed> = OnceLock::new();
    let seed = || number().unwrap_or_else(|_| crate::clock::now_unix_nano());
    Hasher::with_seed(seed(), SHARED.get_or_init(|| SharedSeed::from_u64(seed())))
}

/// Returns a random number.
pub fn number() -> Result<u64, Status> {
    raw::random().map(u64::from_le_bytes)
}

/// Returns a random UUID (RFC 9562, version 4) as text.
pub fn uuid() -> Result<String, Status> {
    let bits = u128::from_be_bytes(raw::random()?);
    let bits = bits & !(0xf << 76) | 4 << 76; // the version
    let bits = bits & !(0x3 << 62) | 2 << 62; // the variant
    Ok(format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        bits >> 96,
        bits >> 80 & 0xffff,
        bits >> 64 & 0xffff,
        bits >> 48 & 0xffff,
        bits & 0xffff_ffff_ffff
    ))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_uuid_has_its_version_and_variant() {
        let uuid = super::uuid().unwrap();
        assert_eq!(uuid.len(), 36);
        assert_eq!(uuid.as_bytes()[14], b'4');
        assert!(matches!(uuid.as_bytes()[19], b'8' | b'9' | b'a' | b'b'), "{uuid}");
        assert_ne!(uuid, super::uuid().unwrap());
    }
}
