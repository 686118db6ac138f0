//! Lists of names and values as they cross the boundary: their number, the lengths of each name and value, then each name
//! and value with a NUL behind it; numbers are `u32` little-endian (proxy-wasm-cpp-host f2db56af,
//! `include/proxy-wasm/pairs_util.h`).

/// The wire form of pairs.
pub fn encode(pairs: &[(&str, &str)]) -> Vec<u8> {
    let number = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    let mut wire = number(pairs.len()).to_vec();
    for (name, value) in pairs {
        wire.extend_from_slice(&number(name.len()));
        wire.extend_from_slice(&number(value.len()));
    }
    for (name, value) in pairs {
        for text in [name, value] {
            wire.extend_from_slice(text.as_bytes());
            wire.push(0);
        }
    }
    wire
}

#[cfg(test)]
mod tests {
    #[test]
    fn pairs_are_written_as_the_host_reads_them() {
        assert_eq!(super::encode(&[]), [0; 4]);
        assert_eq!(
            super::encode(&[(":path", "/"), ("a", "")]),
            b"\x02\0\0\0\x05\0\0\0\x01\0\0\0\x01\0\0\0\0\0\0\0:path\0/\0a\0\0"
        );
    }
}
