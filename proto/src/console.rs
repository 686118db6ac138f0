//! What the console and the service say to each other in shared data: what is asked for, and the snapshot.
//!
//! A snapshot is an `ExportMetricsServiceRequest` of OTLP with two fields more, which any other reader leaves out. It is one
//! value, so a reader never sees a part of it.

use crate::protobuf::write;

/// The key of the time at which a snapshot was last asked for: Unix nanoseconds, 8 bytes little-endian.
pub const ASKED_KEY: &str = "tributary.console.asked";

/// The key of the snapshot.
pub const SNAPSHOT_KEY: &str = "tributary.console.snapshot";

/// The key of the time of that snapshot, as in [`ASKED_KEY`]; written after it. It is there so that whoever waits for a
/// snapshot need not read each.
pub const SNAPSHOT_TIME_KEY: &str = "tributary.console.snapshot_time";

/// Bytes of a snapshot. What goes past them is left out, and the snapshot says so.
pub const SNAPSHOT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The shortest time between two snapshots, in nanoseconds; one that is not older serves whoever asks.
pub const SNAPSHOT_INTERVAL_NS: u64 = 1_000_000_000;

/// The key of how often a flush was asked for: a counter, of which each who asks gets a number.
pub const FLUSH_KEY: &str = "tributary.flush.asked";

/// The field of a snapshot that has its time, in Unix nanoseconds.
pub const FIELD_TIME: u32 = 1_000;

/// The field of a snapshot that is 1 if series were left out of it.
pub const FIELD_IS_CUT: u32 = 1_001;

/// The last bytes of a snapshot.
pub fn snapshot_end(time_unix_nano: u64, is_cut: bool) -> Vec<u8> {
    let mut out = Vec::new();
    write::fixed64(&mut out, FIELD_TIME, time_unix_nano.to_le_bytes());
    write::uint(&mut out, FIELD_IS_CUT, is_cut.into());
    out
}
