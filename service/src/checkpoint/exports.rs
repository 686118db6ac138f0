//! What was exported: the latest exported time, and the confirmed values of counters in shared data.

use tributary_host::counter;
use tributary_host::shared_data::HostSharedData;
use tributary_proto::limits::COUNTERS_MAX;

use super::{load, save};
use crate::aggregate::DeltaBaseline;

/// The key of the latest exported time: Unix nanoseconds, 8 bytes little-endian.
const EXPORT_TIME: &str = "tributary.export_time";

/// The values of counters in shared data that one destination with delta temporality has confirmed.
#[derive(Debug)]
pub struct ExportCheckpoint {
    key: String,
    saved: Vec<u8>,
}

/// The confirmed baseline of each counter, by the attributes of its series, in wire format.
///
/// The format of each counter: the end of the window (8 bytes), the value (8 bytes), the length of the
/// attributes (2 bytes), all little-endian, then the attributes.
#[derive(Debug)]
pub struct CounterBaselines(Vec<u8>);

/// Returns the latest time that was exported to any destination; 0 if none is stored.
pub fn export_time() -> u64 {
    counter::read(&mut HostSharedData, EXPORT_TIME).ok().flatten().unwrap_or(0)
}

/// Writes the latest exported time, in Unix nanoseconds. A failed write is retried with the next request.
pub fn save_export_time(unix_nano: u64) {
    save(EXPORT_TIME, &unix_nano.to_le_bytes());
}

impl ExportCheckpoint {
    /// Creates the checkpoint of the destination with this name.
    pub fn new(destination: &str) -> Self {
        Self { key: format!("tributary.exported.{destination}"), saved: Vec::new() }
    }

    /// Writes what the destination has confirmed, unless nothing has changed. If the write fails, the next
    /// call retries it.
    pub fn save<'a>(&mut self, baselines: impl Iterator<Item = (&'a [u8], DeltaBaseline)>) {
        let mut bytes = Vec::new();
        for (attributes, DeltaBaseline { value, end_unix_nano }) in baselines.take(COUNTERS_MAX) {
            let Ok(length) = u16::try_from(attributes.len()) else { continue };
            bytes.extend_from_slice([end_unix_nano, value].map(u64::to_le_bytes).as_flattened());
            bytes.extend_from_slice(&length.to_le_bytes());
            bytes.extend_from_slice(attributes);
        }
        if bytes != self.saved && save(&self.key, &bytes) {
            self.saved = bytes;
        }
    }

    /// Reads what the destination had confirmed when the previous service trapped.
    pub fn load(&self) -> CounterBaselines {
        CounterBaselines(load(&self.key).unwrap_or_default())
    }
}

impl CounterBaselines {
    /// Returns what the destination has confirmed of the series with these attributes; `None` if it has
    /// confirmed nothing. Ignores an incomplete counter at the end of the bytes.
    pub fn get(&self, attributes: &[u8]) -> Option<DeltaBaseline> {
        let mut rest = self.0.as_slice();
        loop {
            let (end, bytes) = rest.split_first_chunk()?;
            let (value, bytes) = bytes.split_first_chunk()?;
            let (length, bytes) = bytes.split_first_chunk()?;
            let (of, bytes) = bytes.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
            if of == attributes {
                let (value, end_unix_nano) = (u64::from_le_bytes(*value), u64::from_le_bytes(*end));
                return Some(DeltaBaseline { value, end_unix_nano });
            }
            rest = bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tributary_host::fake;

    use super::*;

    const KEY: &str = "tributary.exported.d";

    fn loaded(destination: &str, attributes: &[u8]) -> Option<DeltaBaseline> {
        ExportCheckpoint::new(destination).load().get(attributes)
    }

    fn version() -> u32 {
        fake::with(|host| host.store.get(KEY)).map_or(0, |(_, version)| version)
    }

    #[test]
    fn absent_and_foreign_values_are_ignored() {
        fake::reset();
        assert_eq!((export_time(), loaded("d", b"a")), (0, None));
        for key in ["tributary.export_time", KEY] {
            fake::with(|host| host.store.set(key, b"garbage", 0)).unwrap();
        }
        assert_eq!((export_time(), loaded("d", b"a")), (0, None));
    }

    proptest! {
        #[test]
        fn saved_baselines_are_loaded_and_unchanged_ones_are_not_saved_again(
            baselines in prop::collection::btree_map(
                prop::collection::vec(any::<u8>(), 0..300),
                (any::<u64>(), any::<u64>()),
                0..9,
            ),
            cut in any::<prop::sample::Index>(),
        ) {
            fake::reset();
            let baselines: Vec<(Vec<u8>, DeltaBaseline)> = baselines
                .into_iter()
                .map(|(attributes, (value, end_unix_nano))| (attributes, DeltaBaseline { value, end_unix_nano }))
                .collect();
            let borrowed = || baselines.iter().map(|(attributes, baseline)| (attributes.as_slice(), *baseline));
            let mut checkpoint = ExportCheckpoint::new("d");
            checkpoint.save(borrowed());
            let first = version();
            checkpoint.save(borrowed());
            prop_assert_eq!(version(), first);
            for (attributes, baseline) in borrowed() {
                prop_assert_eq!(loaded("d", attributes), Some(baseline));
                prop_assert_eq!(loaded("e", attributes), None);
            }
            // If the value is cut off, the complete counters are still read.
            let mut bytes = fake::with(|host| host.store.get(KEY)).unwrap_or_default().0;
            bytes.truncate(cut.index(bytes.len() + 1));
            fake::with(|host| host.store.set(KEY, &bytes, 0)).unwrap();
            let left = borrowed().skip_while(|(attributes, baseline)| loaded("d", attributes) == Some(*baseline));
            prop_assert!(left.map(|(attributes, _)| loaded("d", attributes)).all(|baseline| baseline.is_none()));
        }

        #[test]
        fn a_saved_time_is_loaded(unix_nano in any::<u64>()) {
            fake::reset();
            save_export_time(unix_nano);
            prop_assert_eq!(export_time(), unix_nano);
        }
    }
}
