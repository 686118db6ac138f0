//! What destinations were told, in shared data: a service that is made anew after a failure goes on from there.
//!
//! That is the latest time that any of them was told, since times must not fall, and how much of each counter in shared data the
//! destinations of deltas have, since those counters live on. The time is written before a request goes, how much they have when
//! they have confirmed it. Should the service fail in between, a destination of deltas gets what was on its way once more, as
//! after any answer that never comes: OTLP has nothing by which a collector could tell.

use tributary_host::shared_data::{SharedData, Version};
use tributary_proto::limits::COUNTERS_MAX;

use crate::table::Base;

/// The key in shared data of the latest time: 8 bytes little-endian.
const TIME_KEY: &str = "tributary.told";

/// Writes down the latest time that a destination is told.
pub fn remember_time(data: &mut impl SharedData, unix_nano: u64) {
    // One that is refused is written with the next request.
    let _ = data.set(TIME_KEY, &unix_nano.to_le_bytes(), Version::ANY);
}

/// The latest time that any service of this process told; 0 if none did.
pub fn recall_time(data: &mut impl SharedData) -> u64 {
    let bytes = data.get(TIME_KEY).ok().flatten().and_then(|(bytes, _)| bytes.try_into().ok());
    bytes.map_or(0, u64::from_le_bytes)
}

/// How much of the counters in shared data one destination of deltas has.
#[derive(Debug)]
pub struct Told {
    key: String,
    written: Vec<u8>,
}

impl Told {
    /// Of the destination of this name.
    pub fn of(destination: &str) -> Self {
        Self { key: format!("{TIME_KEY}.{destination}"), written: Vec::new() }
    }

    /// Writes down where the deltas of each series go on, by its attributes; one write of a few bytes for each counter, and none if
    /// nothing changed. One that is refused is in the next.
    pub fn remember<'a>(
        &mut self,
        data: &mut impl SharedData,
        bases: impl Iterator<Item = (&'a [u8], Base)>,
    ) {
        let mut bytes = Vec::new();
        for (attributes, Base { value, end_unix_nano }) in bases.take(COUNTERS_MAX) {
            let Ok(length) = u16::try_from(attributes.len()) else { continue };
            bytes.extend_from_slice(&end_unix_nano.to_le_bytes());
            bytes.extend_from_slice(&value.to_le_bytes());
            bytes.extend_from_slice(&length.to_le_bytes());
            bytes.extend_from_slice(attributes);
        }
        if bytes != self.written && data.set(&self.key, &bytes, Version::ANY).is_ok() {
            self.written = bytes;
        }
    }

    /// What a service before this one has written down.
    pub fn recall(&self, data: &mut impl SharedData) -> Recalled {
        Recalled(data.get(&self.key).ok().flatten().map(|(bytes, _)| bytes).unwrap_or_default())
    }
}

/// What a service has written down; as far as it can be read.
#[derive(Debug)]
pub struct Recalled(Vec<u8>);

impl Recalled {
    /// From where the deltas of the series with these attributes go on.
    pub fn base(&self, attributes: &[u8]) -> Option<Base> {
        let mut rest = self.0.as_slice();
        loop {
            let (end, bytes) = rest.split_first_chunk()?;
            let (value, bytes) = bytes.split_first_chunk()?;
            let (length, bytes) = bytes.split_first_chunk()?;
            let (of, after) = bytes.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
            if of == attributes {
                let (value, end_unix_nano) = (u64::from_le_bytes(*value), u64::from_le_bytes(*end));
                return Some(Base { value, end_unix_nano });
            }
            rest = after;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tributary_host::fake;
    use tributary_host::shared_data::HostSharedData;

    use super::*;

    fn recalled(destination: &str, attributes: &[u8]) -> Option<Base> {
        Told::of(destination).recall(&mut HostSharedData).base(attributes)
    }

    fn versions() -> u32 {
        fake::with(|host| host.store.get("tributary.told.d")).map_or(0, |(_, version)| version)
    }

    #[test]
    fn nothing_is_known_of_a_process_that_told_nothing_or_of_a_value_that_somebody_else_wrote() {
        fake::reset();
        assert_eq!(recall_time(&mut HostSharedData), 0);
        assert_eq!(recalled("d", b"a"), None);
        for key in ["tributary.told", "tributary.told.d"] {
            fake::with(|host| host.store.set(key, b"garbage", 0)).unwrap();
        }
        assert_eq!(recall_time(&mut HostSharedData), 0);
        assert_eq!(recalled("d", b"a"), None);
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_and_what_did_not_change_is_not_written(
            bases in prop::collection::btree_map(
                prop::collection::vec(any::<u8>(), 0..300),
                (any::<u64>(), any::<u64>()),
                0..9,
            ),
            cut in any::<prop::sample::Index>(),
        ) {
            fake::reset();
            let bases: Vec<(Vec<u8>, Base)> = bases
                .into_iter()
                .map(|(attributes, (value, end_unix_nano))| (attributes, Base { value, end_unix_nano }))
                .collect();
            let borrowed = || bases.iter().map(|(attributes, base)| (attributes.as_slice(), *base));
            let mut told = Told::of("d");
            told.remember(&mut HostSharedData, borrowed());
            let version = versions();
            told.remember(&mut HostSharedData, borrowed());
            prop_assert_eq!(versions(), version);
            for (attributes, base) in borrowed() {
                prop_assert_eq!(recalled("d", attributes), Some(base));
                prop_assert_eq!(recalled("e", attributes), None);
            }
            // One that is cut off has its beginning.
            let mut bytes = fake::with(|host| host.store.get("tributary.told.d")).unwrap_or_default().0;
            bytes.truncate(cut.index(bytes.len() + 1));
            fake::with(|host| host.store.set("tributary.told.d", &bytes, 0)).unwrap();
            let left = borrowed().skip_while(|(attributes, base)| recalled("d", attributes) == Some(*base));
            prop_assert!(left.map(|(attributes, _)| recalled("d", attributes)).all(|base| base.is_none()));
        }

        #[test]
        fn times_are_read_as_written(unix_nano in any::<u64>()) {
            fake::reset();
            remember_time(&mut HostSharedData, unix_nano);
            prop_assert_eq!(recall_time(&mut HostSharedData), unix_nano);
        }
    }
}
