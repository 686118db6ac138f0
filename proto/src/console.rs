//! What the console and the service exchange in shared data: requests, and the snapshot that answers them.
//!
//! A snapshot is one value, of parts one after the other ([`SnapshotPart`]), so a reader never sees half of one.

pub use crate::generated::console::SnapshotPart;
use crate::limits::{BATCH_BYTES, BATCH_BYTES_MAX};

/// The key of the time at which a snapshot was last asked for: Unix nanoseconds, 8 bytes little-endian.
pub const ASKED_KEY: &str = "tributary.console.asked";

/// The key of the snapshot.
pub const SNAPSHOT_KEY: &str = "tributary.console.snapshot";

/// The key of the time of that snapshot, as in [`ASKED_KEY`]; written after it. It is there so that whoever waits for a
/// snapshot need not read each.
pub const SNAPSHOT_TIME_KEY: &str = "tributary.console.snapshot_time";

/// Bytes of a snapshot. Series that would exceed them are left out, and the snapshot says so.
pub const SNAPSHOT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Bytes of a part at which the service begins another.
pub const PART_BYTES: usize = BATCH_BYTES;

/// Bytes of a part that the console still decodes. One series past [`PART_BYTES`] always fits under it.
pub const PART_BYTES_MAX: usize = BATCH_BYTES_MAX;

/// The shortest time between two snapshots, in nanoseconds; one that is not older serves whoever asks.
pub const SNAPSHOT_INTERVAL_NS: u64 = 1_000_000_000;

/// The key of how often a flush was asked for: a counter, of which each who asks gets a number.
pub const FLUSH_KEY: &str = "tributary.flush.asked";
