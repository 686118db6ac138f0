//! The log messages in which the service writes unexported data at shutdown. `tributary replay` reads them.
//!
//! A message contains the length and the checksum of its record, so that a reader detects a message that was
//! truncated, changed or mixed with another message. Length and checksum do not prove who wrote the message.
//! For this, a reader must check the start of the line, which shows whether Envoy wrote it.

use core::fmt::Write as _;

use crc::{CRC_32_ISO_HDLC, Crc};

/// The start of a message.
pub const MARK: &str = "unexported, ";

/// The text between the length and the checksum.
const CHECKSUM: &str = " bytes, CRC-32 ";

static CRC_32: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// Writes a message: `unexported, LENGTH bytes, CRC-32 CHECKSUM: RECORD`.
pub fn encode(record: &str) -> String {
    let mut message = head(record);
    message.push_str(record);
    message
}

/// Splits a text that starts with a message. Returns the record of the message and the text after the
/// message, or `None` if the message is incomplete or was changed.
pub fn decode(text: &str) -> Option<(&str, &str)> {
    let (length, rest) = text.strip_prefix(MARK)?.split_once(CHECKSUM)?;
    let (_, rest) = rest.split_once(": ")?;
    let (record, rest) = rest.split_at_checked(length.parse().ok()?)?;
    text.starts_with(&head(record)).then_some((record, rest))
}

fn head(record: &str) -> String {
    let mut head = String::from(MARK);
    // Writing into a string cannot fail.
    let _ = write!(head, "{}{CHECKSUM}{:08x}: ", record.len(), CRC_32.checksum(record.as_bytes()));
    head
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_message_has_the_length_and_the_checksum_of_its_record() {
        assert_eq!(encode("123456789"), "unexported, 9 bytes, CRC-32 cbf43926: 123456789");
        assert_eq!(
            decode("unexported, 9 bytes, CRC-32 cbf43926: 123456789\tthread=7"),
            Some(("123456789", "\tthread=7"))
        );
        for text in [
            "",
            "unexported, ",
            "unexported, 9 bytes, CRC-32 cbf43926: 12345678",
            "unexported, 8 bytes, CRC-32 cbf43926: 123456789",
            "unexported, 9 bytes, CRC-32 CBF43926: 123456789",
            "unexported, +9 bytes, CRC-32 cbf43926: 123456789",
            "unexported, 9 bytes, CRC-32 cbf43926: 023456789",
            "unexported, 99999999999999999999 bytes, CRC-32 cbf43926: 123456789",
            " unexported, 9 bytes, CRC-32 cbf43926: 123456789",
        ] {
            assert_eq!(decode(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_message_is_read_back_with_what_follows(record in ".{0,80}", rest in ".{0,20}") {
            let text = encode(&record) + &rest;
            prop_assert_eq!(decode(&text), Some((&*record, &*rest)));
        }

        #[test]
        fn a_truncated_or_changed_message_is_invalid(record in "[a-z\"{}]{1,80}", at: prop::sample::Index, to in "[A-Z0-9é]") {
            let message = encode(&record);
            let (start, end) = message.split_at(at.index(message.len()));
            prop_assert_eq!(decode(start), None);
            prop_assume!(!end.starts_with(&to));
            let changed: String = start.chars().chain(to.chars()).chain(end.chars().skip(1)).collect();
            prop_assert_eq!(decode(&changed), None, "{}", changed);
        }

        #[test]
        fn no_text_panics(text in "(unexported, )?[0-9]{0,3}( bytes, CRC-32 )?[0-9a-f]{0,8}(: )?.{0,20}") {
            let _ = decode(&text);
        }
    }
}
