//! The messages of Envoy's `fluentd` access logger, read from chunks of any size.
//!
//! A message is a list of two items: a tag, and a list of entries. An entry is a list of two items: a time,
//! and a map, which is the record. This is the forward mode of the Fluentd forward protocol without options
//! (<https://github.com/fluent/fluentd/wiki/Forward-Protocol-Specification-v1>;
//! `source/extensions/common/fluentd/fluentd_base.cc`, Envoy 1.40).

use super::message_pack::{ReadError, RecordReader};

/// The maximum size of an entry, and of the start of a message up to its first entry, in bytes. Envoy
/// limits headers to 60 KiB by default.
pub const ENTRY_BYTES_MAX: usize = 1 << 20;

/// The decoder of one connection's messages.
#[derive(Debug, Default)]
pub struct Messages {
    /// The bytes of an incomplete entry, or of an incomplete start of a message.
    kept: Vec<u8>,
    /// The number of entries of the current message that are not read yet.
    left: usize,
    is_invalid: bool,
}

/// Receives the contents of messages.
pub trait MessageHandler {
    /// Handles the start of a message with this tag.
    fn message(&mut self, tag: &[u8]);

    /// Reads the record of an entry, which has `pairs` pairs of a key and a value. If the record is
    /// incomplete, this function is called again from the first pair when more bytes have arrived.
    ///
    /// # Errors
    /// The reader's errors: the record is incomplete or invalid.
    fn record(&mut self, pairs: usize, reader: &mut RecordReader<'_>) -> Result<(), ReadError>;
}

impl Messages {
    /// Reads the entries that are complete now that these bytes have arrived, and keeps the rest of the
    /// bytes.
    ///
    /// # Errors
    /// The bytes are not messages of the access logger. All later bytes are ignored, because the start of the
    /// next message is unknown.
    pub fn read(&mut self, bytes: &[u8], handler: &mut impl MessageHandler) -> Result<(), ReadError> {
        if self.is_invalid {
            return Ok(());
        }
        let mut kept = std::mem::take(&mut self.kept);
        if kept.is_empty() {
            return self.read_complete(bytes, handler).map(|rest| self.kept = rest.to_vec());
        }
        kept.extend_from_slice(bytes);
        let read = kept.len().saturating_sub(self.read_complete(&kept, handler)?.len());
        kept.drain(..read);
        self.kept = kept;
        Ok(())
    }

    /// Reads the complete entries in these bytes and returns the rest.
    fn read_complete<'a>(
        &mut self,
        bytes: &'a [u8],
        handler: &mut impl MessageHandler,
    ) -> Result<&'a [u8], ReadError> {
        let mut rest = bytes;
        loop {
            let mut reader = RecordReader::new(rest);
            match self.next(&mut reader, handler) {
                Ok(()) => rest = reader.rest(),
                Err(ReadError::Incomplete) if rest.len() < ENTRY_BYTES_MAX => return Ok(rest),
                Err(_) => {
                    self.is_invalid = true;
                    return Err(ReadError::Invalid);
                }
            }
        }
    }

    /// Reads the start of a message, or an entry.
    fn next(
        &mut self,
        reader: &mut RecordReader<'_>,
        handler: &mut impl MessageHandler,
    ) -> Result<(), ReadError> {
        if reader.list()? != 2 {
            return Err(ReadError::Invalid);
        }
        if self.left > 0 {
            reader.value()?;
            let pairs = reader.map()?;
            handler.record(pairs, reader)?;
            self.left = self.left.saturating_sub(1);
            return Ok(());
        }
        let tag = reader.text()?;
        self.left = reader.list()?;
        handler.message(tag);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The bytes that Envoy 1.40 sent for two requests.
    const MESSAGE: &[u8] = b"\x92\xa1t\x92\
        \x92\xce\x6b\x01\x6e\x76\x81\xa1a\xb7GET|200|-|-|bench|0|2|0\
        \x92\xce\x6b\x01\x6e\x76\x82\xa1a\xb7GET|200|-|-|bench|0|2|1\xa1b\xc0";

    #[derive(Debug, Default, PartialEq, Eq)]
    struct Events(Vec<String>);

    impl MessageHandler for Events {
        fn message(&mut self, tag: &[u8]) {
            self.0.push(format!("message {}", tag.escape_ascii()));
        }

        fn record(&mut self, pairs: usize, reader: &mut RecordReader<'_>) -> Result<(), ReadError> {
            let mut record = Vec::new();
            for _ in 0..pairs {
                record.push(format!("{} {:?}", reader.text()?.escape_ascii(), reader.value()?));
            }
            self.0.push(record.join(", "));
            Ok(())
        }
    }

    fn read(chunks: &[&[u8]]) -> (Events, Result<(), ReadError>) {
        let (mut messages, mut events) = (Messages::default(), Events::default());
        let result = chunks.iter().try_for_each(|chunk| messages.read(chunk, &mut events));
        (events, result)
    }

    #[test]
    fn a_message_is_read_record_by_record() {
        let (events, result) = read(&[MESSAGE, b"\x92\xa1u\x90"]);
        assert_eq!(result, Ok(()));
        assert_eq!(events.0.len(), 4, "{events:?}");
        assert_eq!((events.0[0].as_str(), events.0[3].as_str()), ("message t", "message u"));
        assert!(events.0[1].starts_with("a Text(") && events.0[2].ends_with(", b Other"), "{events:?}");
    }

    #[test]
    fn invalid_bytes_are_an_error_once_and_are_not_kept() {
        let (mut messages, mut events) = (Messages::default(), Events::default());
        assert_eq!(messages.read(b"GET / HTTP/1.1\r\n", &mut events), Err(ReadError::Invalid));
        assert_eq!(messages.read(MESSAGE, &mut events), Ok(()), "only the first time");
        assert_eq!((events, messages.kept.capacity()), (Events::default(), 0));
    }

    #[test]
    fn an_entry_that_never_ends_is_invalid() {
        let (mut messages, mut events) = (Messages::default(), Events::default());
        messages.read(b"\x92\xa1t\x91\x92\x00\x81\xa1a\xdb\xff\xff\xff\xff", &mut events).unwrap();
        let chunk = [b'x'; 65_536];
        let chunks = (0..64).take_while(|_| messages.read(&chunk, &mut events).is_ok()).count();
        assert_eq!(chunks, 15, "up to a mebibyte");
        assert!(messages.kept.is_empty());
    }

    proptest! {
        #[test]
        fn chunks_of_any_size_give_the_same(cuts in prop::collection::vec(0..MESSAGE.len(), 0..8)) {
            let mut cuts = cuts;
            cuts.sort_unstable();
            let mut chunks = Vec::new();
            let mut from = 0;
            for cut in cuts.into_iter().chain([MESSAGE.len()]) {
                chunks.push(&MESSAGE[from..cut]);
                from = cut;
            }
            prop_assert_eq!(read(&chunks), read(&[MESSAGE]));
        }

        #[test]
        fn any_bytes_are_safe(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Messages::default().read(&bytes, &mut Events::default());
        }
    }
}
