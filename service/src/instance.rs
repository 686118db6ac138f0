//! Which process this is: one name and one beginning for all services that it has, should one fail and be made anew.

use tributary_host::random;
use tributary_host::shared_data::{SharedData, Version};

/// The key in shared data: when the process began to count, 8 bytes little-endian, then its name.
const KEY: &str = "tributary.instance";

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
    pub fn of_process(data: &mut impl SharedData, now_unix_nano: u64) -> Self {
        let present = |data: &mut _| {
            SharedData::get(data, KEY).ok().flatten().and_then(|(bytes, _)| Self::decode(&bytes))
        };
        if let Some(instance) = present(data) {
            return instance;
        }
        let id = random::uuid().unwrap_or_else(|_| now_unix_nano.to_string());
        let instance = Self { id, began_unix_nano: now_unix_nano };
        // If the host refuses, or somebody was faster, this is still a name that nobody else has.
        let _ = data.set(KEY, &instance.encode(), Version::ABSENT);
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
        let first = Instance::of_process(&mut HostSharedData, 5);
        assert_eq!(first.began_unix_nano, 5);
        assert_eq!(Instance::of_process(&mut HostSharedData, 9), first);
        fake::with(|host| host.store.set(KEY, b"short", 0)).unwrap();
        let other = Instance::of_process(&mut HostSharedData, 9);
        assert_ne!(other.id, first.id);
        assert_eq!(other.began_unix_nano, 9);
    }
}
