//! Shared values, cached by the worker. The worker reads them again only when the service has published a
//! new generation.

use tributary_host::shared_data::SharedData;
use tributary_proto::value::{self, GENERATION_KEY};

/// The shared values that a worker needs.
#[derive(Debug, Default)]
pub struct CachedValues {
    generation: Option<Vec<u8>>,
    /// The bytes of each value, by its name.
    values: Vec<(String, Vec<u8>)>,
}

impl CachedValues {
    /// Creates a cache of the values with these names, without reading them.
    pub fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let mut values: Vec<(String, Vec<u8>)> = Vec::new();
        for name in names {
            if values.iter().all(|(known, _)| known != name) {
                values.push((name.to_owned(), Vec::new()));
            }
        }
        Self { generation: None, values }
    }

    /// Reads the generation with one host call, and then all values if the generation has changed.
    pub fn refresh(&mut self, data: &mut impl SharedData) {
        if self.values.is_empty() {
            return;
        }
        // If there is no generation, no value was published.
        let Ok(Some((generation, _))) = data.get(GENERATION_KEY) else { return };
        if self.generation.as_ref() == Some(&generation) {
            return;
        }
        for (name, bytes) in &mut self.values {
            // If a value cannot be read, the old generation stays, so that the next call tries again.
            let Ok(found) = data.get(&value::shared_key(name)) else { return };
            *bytes = found.map(|(bytes, _)| bytes).unwrap_or_default();
        }
        self.generation = Some(generation);
    }

    /// Returns a value, or `None` if it is not published or not valid in a header.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let (_, bytes) = self.values.iter().find(|(known, _)| known == name)?;
        (!bytes.is_empty() && value::is_header_value(bytes)).then_some(&**bytes)
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
    fn a_value_is_read_when_the_generation_changes() {
        fake::reset();
        let mut values = CachedValues::new(["jwt", "other", "jwt"].into_iter());
        values.refresh(&mut HostSharedData);
        assert_eq!(values.get("jwt"), None);
        publish("jwt", b"one", 1);
        values.refresh(&mut HostSharedData);
        assert_eq!((values.get("jwt"), values.get("other")), (Some(&b"one"[..]), None));
        fake::with(|host| host.store.set(&value::shared_key("jwt"), b"two", 0)).unwrap();
        values.refresh(&mut HostSharedData);
        assert_eq!(values.get("jwt"), Some(&b"one"[..]), "the same generation");
        publish("jwt", b"", 2);
        values.refresh(&mut HostSharedData);
        assert_eq!(values.get("jwt"), None, "withdrawn");
    }

    #[test]
    fn a_value_with_a_line_break_is_ignored() {
        fake::reset();
        let mut values = CachedValues::new(["jwt"].into_iter());
        publish("jwt", b"a\r\nx-admin: yes", 1);
        values.refresh(&mut HostSharedData);
        assert_eq!(values.get("jwt"), None);
    }

    /// Counts reads of shared data.
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
    fn a_refresh_without_changes_is_one_host_call_and_without_values_none() {
        fake::reset();
        publish("jwt", b"one", 1);
        let mut data = Counting(0);
        let mut values = CachedValues::new(["jwt"].into_iter());
        (0..5).for_each(|_| values.refresh(&mut data));
        assert_eq!(data.0, 6, "five generations and one value");
        CachedValues::default().refresh(&mut data);
        assert_eq!(data.0, 6);
    }
}
