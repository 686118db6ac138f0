//! Shared data with the semantics of `shared_data.cc` in proxy-wasm-cpp-host.

use std::collections::HashMap;

use proxy_wasm::types::Status;

/// Values with their versions.
#[derive(Debug, Default)]
pub struct FakeStore {
    values: HashMap<String, (Vec<u8>, u32)>,
    versions: u32,
    /// The number of future writes with a version that fail, as if other workers wrote first.
    pub outrun: u32,
}

impl FakeStore {
    /// Returns a value and its version.
    pub fn get(&self, key: &str) -> Result<(Vec<u8>, u32), Status> {
        self.values.get(key).cloned().ok_or(Status::NotFound)
    }

    /// Writes the value if the key is absent, if `version` is 0, or if `version` is the current version.
    pub fn set(&mut self, key: &str, value: &[u8], version: u32) -> Result<(), Status> {
        let outrun = self.outrun.checked_sub(1).filter(|_| version != 0);
        self.outrun = outrun.unwrap_or(self.outrun);
        let is_other = |(_, current): &(_, u32)| version != 0 && version != *current;
        if outrun.is_some() || self.values.get(key).is_some_and(is_other) {
            return Err(Status::CasMismatch);
        }
        self.versions = self.versions.wrapping_add(1).max(1);
        self.values.insert(key.to_owned(), (value.to_vec(), self.versions));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_version_creates_an_absent_key_and_only_the_current_one_changes_it() {
        let mut store = FakeStore::default();
        assert_eq!(store.get("key"), Err(Status::NotFound));
        assert_eq!(store.set("key", b"a", 77), Ok(()));
        assert_eq!(store.set("key", b"b", 77), Err(Status::CasMismatch));
        let (value, version) = store.get("key").unwrap();
        assert_eq!(value, b"a");
        assert_eq!(store.set("key", b"b", version), Ok(()));
        assert_eq!(store.set("key", b"c", version), Err(Status::CasMismatch));
        assert_eq!(store.set("key", b"", 0), Ok(()));
        assert_eq!(store.get("key").unwrap().0, b"");
    }
}
