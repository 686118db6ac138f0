//! Formats bytes as hexadecimal digits.

/// Formats a byte as two digits in lower case.
pub fn of(byte: u8) -> [u8; 2] {
    [byte >> 4, byte & 0xf].map(|nibble| if nibble < 10 { b'0' + nibble } else { b'a' - 10 + nibble })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_has_two_digits_in_lower_case() {
        for byte in 0..=255 {
            let [high, low] = of(byte);
            assert_eq!(String::from_utf8(vec![high, low]).unwrap(), format!("{byte:02x}"));
        }
    }
}
