//! What the log is told when Envoy ends: everything that a destination does not have yet. Nothing can be sent any more then
//! (Envoy 1.40 crashes if it is tried), but a log line can be brought to the collector later: `tributary replay`.

use log::warn;

use crate::compress::{Compression, Compressor};
use crate::encode::{Encoding, SizeHint};
use crate::request::Request;
use crate::resource::Resource;
use crate::table::{Cursor, SliceLimits, Table, Viewer};

/// What a line begins with; then come the destination's name in quotes and an ExportMetricsServiceRequest in OTLP/JSON.
pub const MARK: &str = "unexported for";

/// Bytes of a line, but for its last point: most log pipelines cut lines somewhere above this.
const LINE_BYTES: usize = 48 * 1024;

/// Lines for one destination: 48 MiB. What is past them is counted.
const LINES_MAX: usize = 1_000;

/// Writes all that `viewer`, a destination of this name, does not have into the log, and gives how many points it was. As a warning:
/// Istio and Envoy Gateway have Envoy log nothing less.
pub fn tell(table: &mut Table, viewer: Viewer, name: &str, resource: &Resource, now_unix_nano: u64) -> u64 {
    let (encoding, mut at) = (Encoding::OtlpJson, Some(Cursor::default()));
    let size = SizeHint::new(encoding, resource);
    let (mut lines, mut told, mut left_out) = (0_usize, 0_u64, 0_u64);
    while let Some(from) = at {
        let limits =
            SliceLimits { rows_max: usize::MAX, bytes_max: LINE_BYTES, size: &size, only_news: true };
        let slice = table.collect(viewer, from, &limits, now_unix_nano);
        at = slice.next;
        let mut request = Request::new(encoding, Compressor::new(Compression::None), from);
        request.push(resource, &slice, from);
        let points = request.points();
        if points == 0 {
            continue;
        }
        if lines >= LINES_MAX {
            left_out = left_out.saturating_add(points);
            continue;
        }
        // The writer writes text.
        let json = String::from_utf8_lossy(&request.finish()).into_owned();
        warn!("{MARK} \"{name}\" {json}");
        (lines, told) = (lines.saturating_add(1), told.saturating_add(points));
    }
    if left_out > 0 {
        warn!(
            "{left_out} further points that \"{name}\" does not have are not in the log: there were too many"
        );
    }
    told
}
