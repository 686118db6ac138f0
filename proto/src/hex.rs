//! Hexadecimal digits.

/// A byte as two digits, in lower case.
pub fn of(byte: u8) -> [u8; 2] {
    [byte >> 4, byte & 0xf].map(|nibble| if nibble < 10 { b'0' + nibble } else { b'a' - 10 + nibble })
}

/// What a digit stands for.
pub fn value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_read_as_they_are_written() {
        for byte in 0..=255 {
            let [high, low] = of(byte);
            assert_eq!(String::from_utf8(vec![high, low]).unwrap(), format!("{byte:02x}"));
            assert_eq!(value(high).unwrap() << 4 | value(low.to_ascii_uppercase()).unwrap(), byte);
        }
        assert_eq!([b'g', b' ', b'/', b':', b'`'].map(value), [None; 5]);
    }
}
