//! How the exports to each destination go: the service says it in shared data, whoever looks after Envoy reads it.

use crate::protobuf::{Field, field, write};

/// The key in shared data. The value is one message for each destination, in field 1 of the whole.
pub const KEY: &str = "tributary.exports";

/// Bytes of the text that says what went wrong last.
pub const FAULT_BYTES_MAX: usize = 256;

/// How the exports to one destination go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Export {
    /// The destination's name.
    pub name: String,
    /// When it last took everything that there was; when the service began if it never did.
    pub complete_unix_nano: u64,
    /// How long that may be ago, in nanoseconds, until something is wrong.
    pub patience_ns: u64,
    /// Requests that it took.
    pub succeeded: u64,
    /// Requests that failed, or could not be sent.
    pub failed: u64,
    /// Failures since the last success.
    pub failures: u64,
    /// What went wrong last; empty if nothing did since the last success.
    pub fault: String,
    /// The last flush whose data it has taken, by its number ([`crate::console::FLUSH_KEY`]).
    pub flushed: u64,
    /// Observations that it took.
    pub exported: u64,
    /// Observations that it does not have yet.
    pub waiting: u64,
    /// Observations that it will never get.
    pub dropped: u64,
}

impl Export {
    /// Whether nothing gets through: it has failed, and for longer than one can wait.
    pub fn is_stuck(&self, now_unix_nano: u64) -> bool {
        !self.fault.is_empty() && now_unix_nano.saturating_sub(self.complete_unix_nano) > self.patience_ns
    }
}

/// The wire form of all destinations.
pub fn encode<'a>(exports: impl Iterator<Item = &'a Export>) -> Vec<u8> {
    let mut out = Vec::new();
    for export in exports {
        write::message(&mut out, 1, |out| {
            write::text(out, 1, &export.name);
            write::uint(out, 2, export.complete_unix_nano);
            write::uint(out, 3, export.patience_ns);
            write::uint(out, 4, export.succeeded);
            write::uint(out, 5, export.failed);
            write::uint(out, 6, export.failures);
            write::text(out, 7, &export.fault);
            write::uint(out, 8, export.flushed);
            write::uint(out, 9, export.exported);
            write::uint(out, 10, export.waiting);
            write::uint(out, 11, export.dropped);
        });
    }
    out
}

/// The destinations in a wire form; what is not readable is left out.
pub fn decode(mut bytes: &[u8]) -> Vec<Export> {
    let mut exports = Vec::new();
    while let Some((_, value)) = field(&mut bytes) {
        if let Field::Bytes(mut message) = value {
            let mut export = Export::default();
            while let Some((number, value)) = field(&mut message) {
                export.take(number, value);
            }
            exports.push(export);
        }
    }
    exports
}

impl Export {
    fn take(&mut self, number: u64, value: Field<'_>) {
        match (number, value) {
            (1, Field::Bytes(text)) => self.name = String::from_utf8_lossy(text).into_owned(),
            (2, Field::Varint(number)) => self.complete_unix_nano = number,
            (3, Field::Varint(number)) => self.patience_ns = number,
            (4, Field::Varint(number)) => self.succeeded = number,
            (5, Field::Varint(number)) => self.failed = number,
            (6, Field::Varint(number)) => self.failures = number,
            (7, Field::Bytes(text)) => self.fault = String::from_utf8_lossy(text).into_owned(),
            (8, Field::Varint(number)) => self.flushed = number,
            (9, Field::Varint(number)) => self.exported = number,
            (10, Field::Varint(number)) => self.waiting = number,
            (11, Field::Varint(number)) => self.dropped = number,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(texts in prop::collection::vec(("\\PC{0,9}", "\\PC{0,9}"), 0..4), numbers: [u64; 9]) {
            let [complete_unix_nano, patience_ns, succeeded, failed, failures, flushed, exported, waiting, dropped] = numbers;
            let export = |(name, fault)| Export {
                name, complete_unix_nano, patience_ns, succeeded, failed, failures, fault, flushed, exported, waiting,
                dropped,
            };
            let exports: Vec<Export> = texts.into_iter().map(export).collect();
            prop_assert_eq!(decode(&encode(exports.iter())), exports);
        }

        #[test]
        fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..99)) {
            let _ = decode(&bytes);
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
