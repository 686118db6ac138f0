//! The snapshot: the whole table for the console, written only when somebody asks, a little in each callback.
//!
//! It looks at the table as a destination does that takes no part in it: nothing is kept for it, and no series waits for it.

use tributary_host::shared_data::{HostSharedData, SharedData, Version};
use tributary_proto::console::{
    ASKED_KEY, SNAPSHOT_BYTES_MAX, SNAPSHOT_INTERVAL_NS, SNAPSHOT_KEY, SNAPSHOT_TIME_KEY, snapshot_end,
};

use crate::budget::Budget;
use crate::config::DESTINATIONS_MAX;
use crate::encode::{Encoding, SizeHint};
use crate::exporter::PART_ROWS;
use crate::resource::Resource;
use crate::table::{Cursor, SliceLimits, Table, Viewer};

/// Whoever looks on: no destination has this number, so no row remembers what it was told.
const ONLOOKER: Viewer = Viewer { number: DESTINATIONS_MAX, delta: None };

/// What of [`SNAPSHOT_BYTES_MAX`] is for the end of a snapshot.
const END_BYTES_MAX: usize = 32;

/// The snapshots that one service writes, one after the other.
#[derive(Debug)]
pub struct Snapshots {
    size: SizeHint,
    /// When the last one began.
    began_unix_nano: u64,
    /// What is being written: how far it is, and what there is of it.
    under_way: Option<(Cursor, Vec<u8>)>,
}

impl Snapshots {
    /// None yet.
    pub fn new(resource: &Resource) -> Self {
        let size = SizeHint::new(Encoding::OtlpProtobuf, resource);
        Self { size, began_unix_nano: 0, under_way: None }
    }

    /// Whether a new one begins now: since the last one somebody has asked, and some time has passed.
    pub fn begins(&mut self, now_unix_nano: u64) -> bool {
        if self.under_way.is_some() {
            return false;
        }
        let asked = HostSharedData.get(ASKED_KEY).ok().flatten();
        let asked = asked.and_then(|(bytes, _)| Some(u64::from_le_bytes(bytes.try_into().ok()?)));
        let since = now_unix_nano.checked_sub(self.began_unix_nano);
        // A clock that went backwards must not keep anybody waiting, nor the service busy for nobody.
        let is_asked = asked.is_some_and(|asked| {
            asked > self.began_unix_nano && asked <= now_unix_nano.saturating_add(SNAPSHOT_INTERVAL_NS)
                || since.is_none() && asked > 0
        });
        let begins = is_asked && since.is_none_or(|since| since >= SNAPSHOT_INTERVAL_NS);
        if begins {
            self.began_unix_nano = now_unix_nano;
            self.under_way = Some((Cursor::default(), Vec::new()));
        }
        begins
    }

    /// Writes on, as far as `budget` allows but one part at least. True if there is more to do.
    pub fn write(&mut self, table: &mut Table, resource: &Resource, budget: Budget) -> bool {
        let Some((mut at, mut bytes)) = self.under_way.take() else { return false };
        loop {
            let bytes_max = SNAPSHOT_BYTES_MAX.saturating_sub(END_BYTES_MAX).saturating_sub(bytes.len());
            let limits = SliceLimits { rows_max: PART_ROWS, bytes_max, size: &self.size, only_news: false };
            let slice = table.collect(ONLOOKER, at, &limits, self.began_unix_nano);
            let part = Encoding::OtlpProtobuf.part(resource, &slice.metrics, None);
            if part.bytes.len() <= bytes_max {
                bytes.extend_from_slice(&part.bytes);
            }
            match slice.next {
                Some(next) if !slice.is_cut => at = next,
                next => {
                    self.publish(bytes, next.is_some() || part.bytes.len() > bytes_max);
                    return false;
                }
            }
            if budget.is_spent() {
                self.under_way = Some((at, bytes));
                return true;
            }
        }
    }

    /// Puts it where the console looks. If the host refuses, whoever waits is told that there is none.
    fn publish(&self, mut bytes: Vec<u8>, is_cut: bool) {
        bytes.extend_from_slice(&snapshot_end(self.began_unix_nano, is_cut));
        let time = self.began_unix_nano.to_le_bytes();
        let _ = HostSharedData
            .set(SNAPSHOT_KEY, &bytes, Version::ANY)
            .and_then(|()| HostSharedData.set(SNAPSHOT_TIME_KEY, &time, Version::ANY));
    }
}
