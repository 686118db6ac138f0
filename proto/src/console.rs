//! The requests of the console in shared data, and the snapshot that the service writes.
//!
//! A snapshot is a sequence of parts ([`SnapshotPart`]) in one value, so that a reader never sees an
//! incomplete snapshot.

pub use crate::generated::console::SnapshotPart;
use crate::limits::{BATCH_BYTES, BATCH_BYTES_MAX};

/// The key of the time of the last request for a snapshot: Unix nanoseconds, 8 bytes little-endian.
pub const ASKED_KEY: &str = "tributary.console.asked";

/// The key of the snapshot.
pub const SNAPSHOT_KEY: &str = "tributary.console.snapshot";

/// The key of the time of the snapshot, in the same format as [`ASKED_KEY`]. The time is written after the
/// snapshot, so that a reader can wait for a new snapshot without reading every snapshot.
pub const SNAPSHOT_TIME_KEY: &str = "tributary.console.snapshot_time";

/// The maximum number of bytes of a snapshot. Further series are left out, and the snapshot is marked as
/// cut.
pub const SNAPSHOT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The size at which the service starts another part, in bytes.
pub const PART_BYTES: usize = BATCH_BYTES;

/// The maximum number of bytes of a part. A part of [`PART_BYTES`] and one more series always fits.
pub const PART_BYTES_MAX: usize = BATCH_BYTES_MAX;

/// The shortest time between two snapshots, in nanoseconds. A request within this time is served by the last
/// snapshot.
pub const SNAPSHOT_INTERVAL_NS: u64 = 1_000_000_000;

/// The key of the counter of flush requests. After a request, its value is the number of that request.
pub const FLUSH_KEY: &str = "tributary.flush.asked";
