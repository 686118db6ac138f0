//! Snapshots of the whole table for the console, in shared data. A snapshot is written only when the
//! console requests it, one or more parts in each callback.

use prost::Message;
use prost::bytes::Bytes;
use tributary_host::counter;
use tributary_host::shared_data::{HostSharedData, SharedData, Version};
use tributary_proto::console::{
    ASKED_KEY, PART_BYTES, SNAPSHOT_BYTES_MAX, SNAPSHOT_INTERVAL_NS, SNAPSHOT_KEY, SNAPSHOT_TIME_KEY,
    SnapshotPart,
};
use tributary_proto::generated::batch::{Group, Series};

use super::encode::{Encoding, SizeHint};
use super::exporter::PART_ROWS;
use super::points::MetricPoints;
use super::resource::Resource;
use super::slice::{SliceLimits, slice};
use crate::aggregate::{Cursor, DataPoint, DestinationId, Table};
use crate::budget::Budget;

/// The part of [`SNAPSHOT_BYTES_MAX`], in bytes, that is reserved for a last part, which marks a snapshot
/// as cut.
const END_BYTES_MAX: usize = 32;

/// Writes snapshots, one after the other.
#[derive(Debug)]
pub struct Snapshots {
    size: SizeHint,
    /// When the last snapshot was started, in Unix nanoseconds.
    start_unix_nano: u64,
    /// The position and the bytes of the snapshot that is being written.
    in_progress: Option<(Cursor, Vec<u8>)>,
}

impl Snapshots {
    /// Creates a writer, with no snapshot in progress.
    pub fn new(resource: &Resource) -> Self {
        let size = SizeHint::new(Encoding::OtlpProtobuf, resource);
        Self { size, start_unix_nano: 0, in_progress: None }
    }

    /// Starts a snapshot if the console has requested a snapshot since the last snapshot was started, and
    /// if the minimum interval has passed. Returns whether a snapshot was started.
    pub fn start_if_asked(&mut self, now_unix_nano: u64) -> bool {
        if self.in_progress.is_some() {
            return false;
        }
        let asked = counter::read(&mut HostSharedData, ASKED_KEY).ok().flatten();
        let since = now_unix_nano.checked_sub(self.start_unix_nano);
        // If the clock goes backwards, this must neither block a snapshot nor cause a snapshot that was not
        // requested.
        let is_asked = asked.is_some_and(|asked| {
            asked > self.start_unix_nano && asked <= now_unix_nano.saturating_add(SNAPSHOT_INTERVAL_NS)
                || since.is_none() && asked > 0
        });
        let starts = is_asked && since.is_none_or(|since| since >= SNAPSHOT_INTERVAL_NS);
        if starts {
            self.start_unix_nano = now_unix_nano;
            self.in_progress = Some((Cursor::default(), Vec::new()));
        }
        starts
    }

    /// Writes at least one part of the snapshot in progress, and more as far as `budget` allows. Returns
    /// whether the snapshot is unfinished.
    pub fn write(&mut self, table: &Table, resource: &Resource, budget: Budget) -> bool {
        let Some((mut at, mut bytes)) = self.in_progress.take() else { return false };
        if bytes.is_empty() {
            let (resource, time_unix_nano) = (resource.canonical().to_vec(), self.start_unix_nano);
            let first = SnapshotPart { resource, time_unix_nano, ..SnapshotPart::default() };
            bytes = first.encode_length_delimited_to_vec();
        }
        loop {
            let bytes_left = SNAPSHOT_BYTES_MAX.saturating_sub(END_BYTES_MAX).saturating_sub(bytes.len());
            let bytes_max = bytes_left.min(PART_BYTES);
            let limits =
                SliceLimits { rows_max: PART_ROWS, bytes_max, size: &self.size, skips_confirmed: false };
            let slice = slice(table, DestinationId::READER, at, &limits, self.start_unix_nano);
            let part = part(&slice.metrics).encode_length_delimited_to_vec();
            let fits = part.len() <= bytes_left;
            if fits {
                bytes.extend_from_slice(&part);
            }
            match slice.next {
                Some(next) if fits => at = next,
                next => {
                    self.publish(bytes, !fits || next.is_some());
                    return false;
                }
            }
            if budget.is_spent() {
                self.in_progress = Some((at, bytes));
                return true;
            }
        }
    }

    /// Writes a whole snapshot to shared data. If the host rejects it, the console responds that no
    /// snapshot is available.
    fn publish(&self, mut bytes: Vec<u8>, is_cut: bool) {
        if is_cut {
            let last = SnapshotPart { is_cut, ..SnapshotPart::default() };
            bytes.extend_from_slice(&last.encode_length_delimited_to_vec());
        }
        let time = self.start_unix_nano.to_le_bytes();
        let _ = HostSharedData
            .set(SNAPSHOT_KEY, &bytes, Version::ANY)
            .and_then(|()| HostSharedData.set(SNAPSHOT_TIME_KEY, &time, Version::ANY));
    }
}

/// Returns these points as one part of a snapshot.
fn part(metrics: &[MetricPoints<'_>]) -> SnapshotPart {
    let groups = metrics.iter().map(|points| Group {
        metrics: vec![points.metric.to_wire()],
        series: points.points.iter().filter_map(series).collect(),
    });
    let groups = groups.filter(|group| !group.series.is_empty()).collect();
    SnapshotPart { groups, ..SnapshotPart::default() }
}

/// Returns a point as a series of a snapshot; `None` if the series has ended.
fn series(point: &DataPoint<'_>) -> Option<Series> {
    Some(Series {
        attributes: Bytes::copy_from_slice(point.attributes),
        observations: 0,
        points: vec![point.value.as_deref()?.to_wire()],
        exemplars: point.exemplar.map(|exemplar| exemplar.to_wire(0)).into_iter().collect(),
    })
}
