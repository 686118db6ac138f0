//! Lists of names and values in the ABI: their number, the lengths of each name and value, then each name and
//! value followed by NUL. Numbers are `u32` little-endian (proxy-wasm-cpp-host f2db56af,
//! `include/proxy-wasm/pairs_util.h`).

/// Encodes pairs.
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

/// An iterator over encoded pairs that copies nothing. It ends at the first pair that is truncated.
#[derive(Clone, Copy, Debug)]
pub struct Pairs<'a> {
    lengths: &'a [u8],
    bytes: &'a [u8],
}

impl<'a> Pairs<'a> {
    /// Reads the number of pairs and their lengths. Returns `None` if they are truncated.
    #[inline]
    pub fn read(wire: &'a [u8]) -> Option<Self> {
        let (count, rest) = number(wire)?;
        let (lengths, bytes) = rest.split_at_checked(count.checked_mul(8)?)?;
        Some(Self { lengths, bytes })
    }

    /// Returns the encoded number of pairs.
    #[inline]
    pub fn announced(&self) -> usize {
        self.lengths.len() / 8
    }

    /// Returns the name of the next pair, or `None` if the pair is truncated or has a value. Costs half as
    /// much as `next`. It is used for lists, which have only names and are read for every request.
    #[inline]
    pub fn next_name(&mut self) -> Option<&'a [u8]> {
        let (lengths, rest) = self.lengths.split_first_chunk()?;
        self.lengths = rest;
        // The upper half of `lengths` is the length of the value.
        let length = u32::try_from(u64::from_le_bytes(*lengths)).ok()?;
        let (name, rest) = self.bytes.split_at_checked(usize::try_from(length).ok()?)?;
        self.bytes = rest.get(2..)?;
        Some(name)
    }

    #[inline]
    fn text(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = number(self.lengths)?;
        self.lengths = rest;
        let (text, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest.get(1..)?;
        Some(text)
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a [u8], &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        Some((self.text()?, self.text()?))
    }
}

#[inline]
fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((usize::try_from(u32::from_le_bytes(*number)).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn encoded_pairs_can_be_read(pairs in prop::collection::vec(("[a-z]{0,9}", "[ -~]{0,9}"), 0..9), most in 0usize..12) {
            let borrowed: Vec<_> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let wire = encode(&borrowed);
            let read = Pairs::read(&wire).unwrap();
            prop_assert_eq!(read.announced(), pairs.len());
            let read: Vec<_> = read.take(most).map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
            let expected: Vec<_> = pairs.iter().take(most).map(|(name, value)| (name.clone().into_bytes(), value.clone().into_bytes())).collect();
            prop_assert_eq!(read, expected);
        }

        #[test]
        fn names_can_be_read_alone_if_no_pair_has_a_value(
            pairs in prop::collection::vec(("[a-z]{0,9}", "[a-z]{0,1}"), 0..9),
        ) {
            let borrowed: Vec<_> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let wire = encode(&borrowed);
            let mut read = Pairs::read(&wire).unwrap();
            for (name, value) in pairs {
                let expected = value.is_empty().then_some(name.as_bytes());
                prop_assert_eq!(read.next_name(), expected);
                if expected.is_none() {
                    return Ok(());
                }
            }
            prop_assert_eq!(read.next_name(), None);
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..99)) {
            let _ = Pairs::read(&bytes).map(Iterator::count);
            let _ = Pairs::read(&bytes).map(|mut pairs| while pairs.next_name().is_some() {});
        }
    }

    #[test]
    fn pairs_have_the_encoding_of_the_abi() {
        assert_eq!(super::encode(&[]), [0; 4]);
        assert_eq!(
            super::encode(&[(":path", "/"), ("a", "")]),
            b"\x02\0\0\0\x05\0\0\0\x01\0\0\0\x01\0\0\0\0\0\0\0:path\0/\0a\0\0"
        );
    }
}
