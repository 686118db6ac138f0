//! The identity of the process, which all its services share.

use std::time::Duration;

use tributary_host::random;
use tributary_proto::duration::as_ns;

use super::{load, save};

/// The key of the instance. Its value is the start time (8 bytes, little-endian), then the id.
const KEY: &str = "tributary.instance";

/// How far in the future a stored time may be. Clocks are set back by less than this. So a later time comes
/// from a clock that was wrong, or from another plugin, and is ignored.
const AHEAD_MAX: Duration = Duration::from_secs(86_400);

/// The identity of the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// The id, which is unique among all processes.
    pub id: String,
    /// When the first service of the process started, in Unix nanoseconds.
    pub started_unix_nano: u64,
}

/// Returns whether a service may continue from a stored time.
pub fn is_plausible(unix_nano: u64, now_unix_nano: u64) -> bool {
    unix_nano <= now_unix_nano.saturating_add(as_ns(AHEAD_MAX))
}

impl Instance {
    /// Returns the stored instance of this process. If there is none, creates and stores an instance that
    /// starts now. Envoy tries a configuration in a canary VM first, so usually the canary VM creates the
    /// instance.
    ///
    /// If a stored time is not plausible, the process gets a new id: under the old id, no point may be
    /// older than the latest exported time.
    pub fn of_process(now_unix_nano: u64, export_unix_nano: u64) -> Self {
        if let Some(instance) = load(KEY).and_then(|bytes| Self::decode(&bytes))
            && is_plausible(instance.started_unix_nano.max(export_unix_nano), now_unix_nano)
        {
            return instance;
        }
        let id = random::uuid().unwrap_or_else(|_| now_unix_nano.to_string());
        let instance = Self { id, started_unix_nano: now_unix_nano };
        // If Envoy rejects the write, the id is still unique.
        save(KEY, &[now_unix_nano.to_le_bytes().as_slice(), instance.id.as_bytes()].concat());
        instance
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (started, id) = bytes.split_first_chunk()?;
        let id = std::str::from_utf8(id).ok().filter(|id| !id.is_empty())?;
        Some(Self { id: id.to_owned(), started_unix_nano: u64::from_le_bytes(*started) })
    }
}

#[cfg(test)]
mod tests {
    use tributary_host::fake;

    use super::*;

    #[test]
    fn a_process_has_one_id_and_another_process_has_another() {
        fake::reset();
        let of_process = Instance::of_process;
        let first = of_process(5, 0);
        assert_eq!(first.started_unix_nano, 5);
        assert_eq!(of_process(9, 0), first);
        assert_eq!(of_process(9, 9 + as_ns(AHEAD_MAX)), first);
        fake::with(|host| host.store.set("tributary.instance", b"short", 0)).unwrap();
        let other = of_process(9, 0);
        assert_ne!(other.id, first.id);
        assert_eq!((other.started_unix_nano, of_process(10, 0)), (9, other.clone()));
        let third = of_process(11, 12 + as_ns(AHEAD_MAX));
        assert_ne!(third.id, other.id);
        assert_eq!((third.started_unix_nano, of_process(12, 11)), (11, third.clone()));
    }
}
