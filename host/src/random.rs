//! Randomness: the standard library's hash seeds are fixed on this target, and attribute values come from strangers.

use std::sync::OnceLock;

use foldhash::SharedSeed;
use proxy_wasm::types::Status;

use crate::raw;

/// Hashes keys that strangers choose.
pub type Hasher = foldhash::fast::SeedableRandomState;

/// A hasher whose seeds, both of them, come from the host's randomness: with the shared seed that foldhash has by default,
/// inputs can be built that collide under any other seed.
pub fn hasher() -> Hasher {
    static SHARED: OnceLock<SharedSeed> = OnceLock::new();
    let seed = || number().unwrap_or_else(|_| crate::clock::now_unix_nano());
    Hasher::with_seed(seed(), SHARED.get_or_init(|| SharedSeed::from_u64(seed())))
}

/// A random number.
pub fn number() -> Result<u64, Status> {
    let mut bytes = [0; 8];
    raw::random(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

/// A random UUID (RFC 9562, version 4) in its usual text form.
pub fn uuid() -> Result<String, Status> {
    let mut bytes = [0; 16];
    raw::random(&mut bytes)?;
    let bits = u128::from_be_bytes(bytes);
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
    fn a_uuid_says_its_version_and_variant() {
        let uuid = super::uuid().unwrap();
        assert_eq!(uuid.len(), 36);
        assert_eq!(uuid.as_bytes()[14], b'4');
        assert!(matches!(uuid.as_bytes()[19], b'8' | b'9' | b'a' | b'b'), "{uuid}");
        assert_ne!(uuid, super::uuid().unwrap());
    }
}
