//! Shared values as this worker knows them: looked at again only when the service says that one has changed.

use tributary_host::shared_data::SharedData;
use tributary_proto::value::{self, GENERATION_KEY};

/// The values that this worker needs.
#[derive(Debug, Default)]
pub struct Values {
    generation: Option<Vec<u8>>,
    values: Vec<Known>,
}

#[derive(Debug)]
struct Known {
    name: String,
    shared_key: String,
    bytes: Vec<u8>,
}

impl Values {
    /// The values of these names, none of them known yet.
    pub fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let mut values: Vec<Known> = Vec::new();
        for name in names {
            if values.iter().all(|known| known.name != name) {
                let shared_key = value::shared_key(name);
                values.push(Known { name: name.to_owned(), shared_key, bytes: Vec::new() });
            }
        }
        Self { generation: None, values }
    }

    /// Looks whether anything has changed, which is one host call, and at each value if so.
    pub fn refresh(&mut self, data: &mut impl SharedData) {
        if self.values.is_empty() {
            return;
        }
        // Without a generation nothing was ever there.
        let Ok(Some((generation, _))) = data.get(GENERATION_KEY) else { return };
        if self.generation.as_ref() == Some(&generation) {
            return;
        }
        for known in &mut self.values {
            // A value that cannot be read stays as it was, and with it the generation: it is tried again.
            match data.get(&known.shared_key) {
                Ok(found) => known.bytes = found.map_or_else(Vec::new, |(bytes, _)| bytes),
                Err(_) => return,
            }
        }
        self.generation = Some(generation);
    }

    /// A value; none while there is none, or if it is nothing that a header could hold.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let known = self.values.iter().find(|known| known.name == name)?;
        let is_there = !known.bytes.is_empty() && value::is_header_value(&known.bytes);
        is_there.then_some(&*known.bytes)
    }
}

#[cfg(test)]
mod tests {
    use tributary_host::Status;
    use tributary_host::fake;
    use tributary_host::shared_data::{HostSharedData, Version};

    use super::*;

    fn publish(name: &str, bytes: &[u8], generation: u64) {
        fake::with(|host| {
            host.store.set(&value::shared_key(name), bytes, 0).unwrap();
            host.store.set(GENERATION_KEY, &generation.to_le_bytes(), 0).unwrap();
        });
    }

    #[test]
    fn a_value_is_read_when_the_generation_says_that_it_changed() {
        fake::reset();
        let mut values = Values::new(["jwt", "other", "jwt"].into_iter());
        values.refresh(&mut HostSharedData);
        assert_eq!(values.get("jwt"), None);
        publish("jwt", b"one", 1);
        values.refresh(&mut HostSharedData);
        assert_eq!((values.get("jwt"), values.get("other")), (Some(&b"one"[..]), None));
        fake::with(|host| host.store.set(&value::shared_key("jwt"), b"two", 0)).unwrap();
        values.refresh(&mut HostSharedData);
        assert_eq!(values.get("jwt"), Some(&b"one"[..]), "nobody said that it changed");
        publish("jwt", b"", 2);
        values.refresh(&mut HostSharedData);
        assert_eq!(values.get("jwt"), None, "taken back");
    }

    #[test]
    fn a_value_that_would_end_the_header_is_none() {
        fake::reset();
        let mut values = Values::new(["jwt"].into_iter());
        publish("jwt", b"a\r\nx-admin: yes", 1);
        values.refresh(&mut HostSharedData);
        assert_eq!(values.get("jwt"), None);
    }

    /// Counts the host calls.
    struct Counting(u32);

    impl SharedData for Counting {
        fn get(&mut self, key: &str) -> Result<Option<(Vec<u8>, Version)>, Status> {
            self.0 += 1;
            HostSharedData.get(key)
        }

        fn set(&mut self, key: &str, value: &[u8], version: Version) -> Result<(), Status> {
            HostSharedData.set(key, value, version)
        }
    }

    #[test]
    fn while_nothing_changes_a_tick_is_one_host_call_and_without_values_none() {
        fake::reset();
        publish("jwt", b"one", 1);
        let mut data = Counting(0);
        let mut values = Values::new(["jwt"].into_iter());
        (0..5).for_each(|_| values.refresh(&mut data));
        assert_eq!(data.0, 6, "five generations and one value");
        Values::default().refresh(&mut data);
        assert_eq!(data.0, 6);
    }
}
