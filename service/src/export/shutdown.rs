//! The log of what was not exported when Envoy shuts down. Nothing can be sent at that point, but `tributary
//! replay` sends the log lines to a collector later.

use log::warn;

use super::compress::Compression;
use super::encode::{Encoding, SizeHint};
use super::exporter::Exporter;
use super::request::ExportRequest;
use super::resource::Resource;
use super::slice::{SliceLimits, slice};
use crate::aggregate::{Cursor, Table};

/// The start of a line; the name of the destination in quotes and an ExportMetricsServiceRequest in OTLP/JSON
/// follow.
pub const MARK: &str = "unexported for";

/// The maximum number of bytes of a line, which its last point may exceed: most log pipelines cut lines above
/// this.
const LINE_BYTES: usize = 48 * 1024;

/// The maximum number of lines for one destination: 48 MiB. Further points are counted.
const LINES_MAX: usize = 1_000;

/// Logs what the destination of an exporter has not confirmed, and returns the number of points. Logs it as a
/// warning, because Istio and Envoy Gateway make Envoy log nothing below.
pub fn log_unexported(exporter: &Exporter, table: &Table, resource: &Resource, now_unix_nano: u64) -> u64 {
    let (destination, name) = (exporter.id, &exporter.destination.name);
    let (encoding, mut at) = (Encoding::OtlpJson, Some(Cursor::default()));
    let size = SizeHint::new(encoding, resource);
    let limits =
        SliceLimits { rows_max: usize::MAX, bytes_max: LINE_BYTES, size: &size, skips_confirmed: true };
    let time_unix_nano = table.export_time(destination, Cursor::default(), now_unix_nano);
    let (mut lines, mut logged, mut left_out) = (0_usize, 0_u64, 0_u64);
    while let Some(from) = at {
        let slice = slice(table, destination, from, &limits, time_unix_nano);
        at = slice.next;
        let mut request = ExportRequest::new(encoding, Compression::None, from);
        request.push(resource, &slice, from);
        let points = request.points;
        if points == 0 {
            continue;
        }
        if lines >= LINES_MAX {
            left_out = left_out.saturating_add(points);
            continue;
        }
        // The encoder writes only valid text.
        let json = String::from_utf8_lossy(&request.finish()).into_owned();
        warn!("{MARK} \"{name}\" {json}");
        (lines, logged) = (lines.saturating_add(1), logged.saturating_add(points));
    }
    if left_out > 0 {
        warn!(
            "destination \"{name}\": {left_out} further unexported points are lost: they exceed {LINES_MAX} log \
             lines"
        );
    }
    logged
}
