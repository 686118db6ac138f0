//! The snapshot: the whole table for the console, written only when somebody asks, a little in each callback.
//!
//! It looks at the table as a destination does that takes no part in it: nothing is kept for it, and no series waits for it.

use prost::Message;
use prost::bytes::Bytes;
use tributary_host::shared_data::{HostSharedData, SharedData, Version};
use tributary_proto::console::{
    ASKED_KEY, PART_BYTES, SNAPSHOT_BYTES_MAX, SNAPSHOT_INTERVAL_NS, SNAPSHOT_KEY, SNAPSHOT_TIME_KEY,
    SnapshotPart,
};
use tributary_proto::generated::batch::{Group, Point, Series, point};

use crate::budget::Budget;
use crate::config::DESTINATIONS_MAX;
use crate::encode::{Encoding, SizeHint};
use crate::exporter::PART_ROWS;
use crate::points::{DataPoint, MetricPoints, Value};
use crate::resource::Resource;
use crate::table::{Cursor, SliceLimits, Table, Viewer};

/// Whoever looks on: no destination has this number, so no row remembers what it was told.
const ONLOOKER: Viewer = Viewer { number: DESTINATIONS_MAX, delta: None };

/// What of [`SNAPSHOT_BYTES_MAX`] is for the last part, which says that series were left out.
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
        if bytes.is_empty() {
            let (resource, time_unix_nano) = (resource.canonical().to_vec(), self.began_unix_nano);
            let first = SnapshotPart { resource, time_unix_nano, ..SnapshotPart::default() };
            bytes = first.encode_length_delimited_to_vec();
        }
        loop {
            let bytes_left = SNAPSHOT_BYTES_MAX.saturating_sub(END_BYTES_MAX).saturating_sub(bytes.len());
            let bytes_max = bytes_left.min(PART_BYTES);
            let limits = SliceLimits { rows_max: PART_ROWS, bytes_max, size: &self.size, only_news: false };
            let slice = table.collect(ONLOOKER, at, &limits, self.began_unix_nano);
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
                self.under_way = Some((at, bytes));
                return true;
            }
        }
    }

    /// Puts it where the console looks. If the host refuses, whoever waits is told that there is none.
    fn publish(&self, mut bytes: Vec<u8>, is_cut: bool) {
        if is_cut {
            let last = SnapshotPart { is_cut, ..SnapshotPart::default() };
            bytes.extend_from_slice(&last.encode_length_delimited_to_vec());
        }
        let time = self.began_unix_nano.to_le_bytes();
        let _ = HostSharedData
            .set(SNAPSHOT_KEY, &bytes, Version::ANY)
            .and_then(|()| HostSharedData.set(SNAPSHOT_TIME_KEY, &time, Version::ANY));
    }
}

/// The part of a snapshot with these points.
fn part(metrics: &[MetricPoints<'_>]) -> SnapshotPart {
    let groups = metrics.iter().map(|points| Group {
        metrics: vec![points.metric.to_wire()],
        series: points.points.iter().filter_map(series).collect(),
    });
    let groups = groups.filter(|group| !group.series.is_empty()).collect();
    SnapshotPart { groups, ..SnapshotPart::default() }
}

/// One series, unless it has ended.
fn series(point: &DataPoint<'_>) -> Option<Series> {
    let value = match &point.value {
        Value::Counter(count) => point::Value::Counter(*count),
        Value::UpDown(sum) => point::Value::UpDownCounter(*sum),
        Value::Histogram(histogram) => point::Value::Histogram(histogram.to_wire()),
        Value::Exponential(histogram) => point::Value::ExponentialHistogram(histogram.to_wire()),
        Value::NoRecordedValue => return None,
    };
    Some(Series {
        attributes: Bytes::copy_from_slice(point.attributes),
        observations: 0,
        points: vec![Point { value: Some(value) }],
        exemplars: point.exemplar.map(|exemplar| exemplar.to_wire(0)).into_iter().collect(),
    })
}
