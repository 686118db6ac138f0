//! The messages of Envoy's `fluentd` access logger, taken apart as they come, in pieces of any size.
//!
//! A message is a list of a tag and a list of entries, an entry a list of a time and a map: the forward mode of the
//! [Fluentd forward protocol](https://github.com/fluent/fluentd/wiki/Forward-Protocol-Specification-v1) without options
//! (`source/extensions/common/fluentd/fluentd_base.cc`, Envoy 1.40).

use super::message_pack::{Reader, Stop};

/// Bytes of an entry, and of all before its first. Envoy's headers have 60 KiB unless it is told otherwise.
pub const ENTRY_BYTES_MAX: usize = 1 << 20;

/// One connection's messages.
#[derive(Debug, Default)]
pub struct Messages {
    /// The beginning of what has not come whole.
    kept: Vec<u8>,
    /// Entries of the message under way that are still to come.
    left: usize,
    broken: bool,
}

/// Who is told what the messages have in them.
pub trait Listener {
    /// A message with this tag begins.
    fn message(&mut self, tag: &[u8]);

    /// An entry's record, of which these pairs of keys and values are next. What stops it is handed back; it gets the
    /// record again, from the first pair, when more of it has come.
    fn record(&mut self, pairs: usize, reader: &mut Reader<'_>) -> Result<(), Stop>;
}

/// The bytes are none of these messages: where one ends and the next begins is not known any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

impl Messages {
    /// Tells the listener of what has come whole with these bytes. Once broken, it stays so, and no byte is kept.
    ///
    /// # Errors
    /// The bytes that make it broken.
    pub fn take(&mut self, bytes: &[u8], listener: &mut impl Listener) -> Result<(), Broken> {
        if self.broken {
            return Ok(());
        }
        let mut kept = std::mem::take(&mut self.kept);
        if kept.is_empty() {
            return self.take_whole(bytes, listener).map(|rest| self.kept = rest.to_vec());
        }
        kept.extend_from_slice(bytes);
        let read = kept.len().saturating_sub(self.take_whole(&kept, listener)?.len());
        kept.drain(..read);
        self.kept = kept;
        Ok(())
    }

    /// Tells of everything in these bytes that is whole, and gives back the rest.
    fn take_whole<'a>(&mut self, bytes: &'a [u8], listener: &mut impl Listener) -> Result<&'a [u8], Broken> {
        let mut rest = bytes;
        loop {
            let mut reader = Reader::new(rest);
            match self.next(&mut reader, listener) {
                Ok(()) => rest = reader.rest(),
                Err(Stop::Short) if rest.len() < ENTRY_BYTES_MAX => return Ok(rest),
                Err(_) => {
                    self.broken = true;
                    return Err(Broken);
                }
            }
        }
    }

    /// Reads one thing: a message up to its first entry, or an entry.
    fn next(&mut self, reader: &mut Reader<'_>, listener: &mut impl Listener) -> Result<(), Stop> {
        expect(reader.list()?, 2)?;
        if self.left > 0 {
            reader.value()?;
            let pairs = reader.map()?;
            listener.record(pairs, reader)?;
            self.left = self.left.saturating_sub(1);
            return Ok(());
        }
        let tag = reader.text()?;
        self.left = reader.list()?;
        listener.message(tag);
        Ok(())
    }
}

fn expect(length: usize, expected: usize) -> Result<(), Stop> {
    if length == expected { Ok(()) } else { Err(Stop::Broken) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What Envoy 1.40 sent for two requests.
    const MESSAGE: &[u8] = b"\x92\xa1t\x92\
        \x92\xce\x6b\x01\x6e\x76\x81\xa1a\xb7GET|200|-|-|bench|0|2|0\
        \x92\xce\x6b\x01\x6e\x76\x82\xa1a\xb7GET|200|-|-|bench|0|2|1\xa1b\xc0";

    #[derive(Debug, Default, PartialEq, Eq)]
    struct Told(Vec<String>);

    impl Listener for Told {
        fn message(&mut self, tag: &[u8]) {
            self.0.push(format!("message {}", tag.escape_ascii()));
        }

        fn record(&mut self, pairs: usize, reader: &mut Reader<'_>) -> Result<(), Stop> {
            let mut record = Vec::new();
            for _ in 0..pairs {
                record.push(format!("{} {:?}", reader.text()?.escape_ascii(), reader.value()?));
            }
            self.0.push(record.join(", "));
            Ok(())
        }
    }

    fn told_of(pieces: &[&[u8]]) -> (Told, Result<(), Broken>) {
        let (mut messages, mut told) = (Messages::default(), Told::default());
        let result = pieces.iter().try_for_each(|piece| messages.take(piece, &mut told));
        (told, result)
    }

    #[test]
    fn a_message_is_told_record_by_record() {
        let (told, result) = told_of(&[MESSAGE, b"\x92\xa1u\x90"]);
        assert_eq!(result, Ok(()));
        assert_eq!(told.0.len(), 4, "{told:?}");
        assert_eq!((told.0[0].as_str(), told.0[3].as_str()), ("message t", "message u"));
        assert!(told.0[1].starts_with("a Text(") && told.0[2].ends_with(", b Other"), "{told:?}");
    }

    #[test]
    fn what_is_no_message_is_broken_once_and_takes_no_memory() {
        let (mut messages, mut told) = (Messages::default(), Told::default());
        assert_eq!(messages.take(b"GET / HTTP/1.1\r\n", &mut told), Err(Broken));
        assert_eq!(messages.take(MESSAGE, &mut told), Ok(()), "said once");
        assert_eq!((told, messages.kept.capacity()), (Told::default(), 0));
    }

    #[test]
    fn an_entry_that_never_ends_is_broken() {
        let (mut messages, mut told) = (Messages::default(), Told::default());
        messages.take(b"\x92\xa1t\x91\x92\x00\x81\xa1a\xdb\xff\xff\xff\xff", &mut told).unwrap();
        let piece = [b'x'; 65_536];
        let taken = (0..64).take_while(|_| messages.take(&piece, &mut told).is_ok()).count();
        assert_eq!(taken, 15, "up to a mebibyte");
        assert!(messages.kept.is_empty());
    }

    proptest! {
        #[test]
        fn pieces_of_any_size_tell_the_same(cuts in prop::collection::vec(0..MESSAGE.len(), 0..8)) {
            let mut cuts = cuts;
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in cuts.into_iter().chain([MESSAGE.len()]) {
                pieces.push(&MESSAGE[from..cut]);
                from = cut;
            }
            prop_assert_eq!(told_of(&pieces), told_of(&[MESSAGE]));
        }

        #[test]
        fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut told = Told::default();
            let _ = Messages::default().take(&bytes, &mut told);
        }
    }
}
