//! Which process this is: one name and one beginning for all services that it has, should one fail and be made anew.

use std::time::Duration;

use tributary_host::random;
use tributary_host::shared_data::{SharedData, Version};
use tributary_proto::duration::as_ns;

/// The key in shared data: when the process began to count, 8 bytes little-endian, then its name.
const KEY: &str = "tributary.instance";

/// How far ahead of the clock a time may lie that a service before this one has left: further than clocks are set back. What
/// lies beyond that was left by a clock that was wrong altogether, or by a stranger, and nothing goes on from there.
const AHEAD_MAX: Duration = Duration::from_secs(86_400);

/// Whether a service may go on from this time.
pub fn may_go_on_from(unix_nano: u64, now_unix_nano: u64) -> bool {
    unix_nano <= now_unix_nano.saturating_add(as_ns(AHEAD_MAX))
}

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Unlike that of any other process.
    pub id: String,
    /// When its first service began.
    pub began_unix_nano: u64,
}

impl Instance {
    /// This process, which begins now if it has not yet. Envoy tries a service before it begins: that one says it for the other.
    /// Where what the last one told until `told_unix_nano` cannot be gone on from, it begins again: under another name, since no
    /// point of the old one may be older than that.
    pub fn of_process(data: &mut impl SharedData, now_unix_nano: u64, told_unix_nano: u64) -> Self {
        let (present, version) = match data.get(KEY) {
            Ok(Some((bytes, version))) => (Self::decode(&bytes), version),
            Ok(None) | Err(_) => (None, Version::ABSENT),
        };
        if let Some(instance) = present
            && may_go_on_from(instance.began_unix_nano.max(told_unix_nano), now_unix_nano)
        {
            return instance;
        }
        let id = random::uuid().unwrap_or_else(|_| now_unix_nano.to_string());
        let instance = Self { id, began_unix_nano: now_unix_nano };
        // If the host refuses, or somebody was faster, this is still a name that nobody else has.
        let _ = data.set(KEY, &instance.encode(), version);
        instance
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = self.began_unix_nano.to_le_bytes().to_vec();
        bytes.extend_from_slice(self.id.as_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (began, id) = bytes.split_first_chunk()?;
        let id = std::str::from_utf8(id).ok().filter(|id| !id.is_empty())?;
        Some(Self { id: id.to_owned(), began_unix_nano: u64::from_le_bytes(*began) })
    }
}

#[cfg(test)]
mod tests {
    use tributary_host::fake;
    use tributary_host::shared_data::HostSharedData;

    use super::*;

    #[test]
    fn a_process_has_one_name_and_another_process_another() {
        fake::reset();
        let of_process = |now, told| Instance::of_process(&mut HostSharedData, now, told);
        let first = of_process(5, 0);
        assert_eq!(first.began_unix_nano, 5);
        assert_eq!(of_process(9, 0), first);
        assert_eq!(of_process(9, 9 + as_ns(AHEAD_MAX)), first);
        fake::with(|host| host.store.set(KEY, b"short", 0)).unwrap();
        let other = of_process(9, 0);
        assert_ne!(other.id, first.id);
        assert_eq!((other.began_unix_nano, of_process(10, 0)), (9, other.clone()));
        let third = of_process(11, 12 + as_ns(AHEAD_MAX));
        assert_ne!(third.id, other.id);
        assert_eq!((third.began_unix_nano, of_process(12, 11)), (11, third.clone()));
    }
}
