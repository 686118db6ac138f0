//! The state of exports to each destination: the service writes it into shared data, for the console and
//! other plugins.

use prost::Message;
use prost::bytes::Bytes;
use prost::encoding::{message, string};

pub use crate::generated::exports::{Export, Exports};

/// The key in shared data. The value is a message `Exports` (`schema/exports.proto`).
pub const KEY: &str = "tributary.exports";

/// The maximum number of bytes of the description of the last failure.
pub const FAULT_BYTES_MAX: usize = 256;

/// The maximum number of bytes of a value. The state of all destinations together needs less.
const BYTES_MAX: usize = 64 * 1024;

impl Export {
    /// Returns whether exports have failed for longer than the patience of the destination.
    pub fn is_stuck(&self, now_unix_nano: u64) -> bool {
        !self.fault.is_empty() && now_unix_nano.saturating_sub(self.complete_unix_nano) > self.patience_ns
    }
}

/// Encodes the state of all destinations, and the fault of the queue.
pub fn encode<'a>(exports: impl Iterator<Item = &'a Export>, queue_fault: &str) -> Vec<u8> {
    let mut out = Vec::new();
    exports.for_each(|export| message::encode(1, export, &mut out));
    if !queue_fault.is_empty() {
        string::encode(2, &queue_fault.to_owned(), &mut out);
    }
    out
}

/// Decodes the state of all destinations. Invalid bytes give an empty one.
pub fn decode(bytes: Vec<u8>) -> Exports {
    if bytes.len() > BYTES_MAX {
        return Exports::default();
    }
    Exports::decode(Bytes::from(bytes)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn encoded_states_can_be_decoded(texts in prop::collection::vec(("\\PC{0,9}", "\\PC{0,9}"), 0..4), numbers: [u64; 9]) {
            let [complete_unix_nano, patience_ns, succeeded, failed, failures, flushed, exported, waiting, dropped] = numbers;
            let export = |(name, fault)| Export {
                name, complete_unix_nano, patience_ns, succeeded, failed, failures, fault, flushed, exported, waiting,
                dropped,
            };
            let exports: Vec<Export> = texts.into_iter().map(export).collect();
            for queue_fault in ["", "fault"] {
                let expected = Exports { exports: exports.clone(), queue_fault: queue_fault.to_owned() };
                prop_assert_eq!(decode(encode(exports.iter(), queue_fault)), expected);
            }
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..99)) {
            let _ = decode(bytes);
        }
    }

    #[test]
    fn a_destination_is_stuck_if_it_fails_for_long() {
        let export = |fault: &str| Export {
            complete_unix_nano: 100,
            patience_ns: 10,
            fault: fault.to_owned(),
            ..Export::default()
        };
        for (fault, now, expected) in [
            ("status 503", 110, false),
            ("status 503", 111, true),
            ("", 999, false),
            ("status 503", 5, false),
        ] {
            assert_eq!(export(fault).is_stuck(now), expected, "{fault:?} {now}");
        }
    }
}
