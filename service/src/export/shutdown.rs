//! The log of what was not exported when Envoy shuts down. Nothing can be sent at that point, but `tributary
//! replay` sends the log lines to a collector later.

use log::warn;
use tributary_proto::{printable, shutdown_log};

use super::compress::Compression;
use super::encode::{Encoding, SizeHint};
use super::exporter::Exporter;
use super::request::ExportRequest;
use super::resource::Resource;
use super::slice::{SliceLimits, slice};
use crate::aggregate::{Cursor, Table};

/// The maximum number of bytes of a request. The last point of the request may exceed it. Most log
/// pipelines cut lines that are longer.
const LINE_BYTES: usize = 48 * 1024;

/// The maximum number of lines for one destination: 48 MiB. Points beyond this are only counted.
const LINES_MAX: usize = 1_000;

/// The members of every log record of a shutdown: the process, and the destination that it could not reach.
#[derive(Debug)]
struct Origin<'a> {
    destination: &'a str,
    instance: &'a str,
}

impl Origin<'_> {
    /// Logs a JSON record with these further members, at level warning: Istio and Envoy Gateway configure
    /// Envoy to log no lower levels.
    fn log(&self, members: &[&[u8]]) {
        let mut record = Vec::new();
        for (key, value) in [(r#"{"destination":"#, self.destination), (r#","instance":"#, self.instance)] {
            record.extend_from_slice(key.as_bytes());
            // Writing to memory never fails.
            let _ = serde_json::to_writer(&mut record, value);
        }
        for member in members {
            record.extend_from_slice(member);
        }
        record.push(b'}');
        // The encoder writes only valid text. The logger escapes what is not printable; escaped before, the
        // record has the length and the checksum of what is logged.
        let record = printable::escape(&String::from_utf8_lossy(&record));
        warn!("{}", shutdown_log::encode(&record));
    }
}

/// Logs what the destination has not confirmed: numbered records with one ExportMetricsServiceRequest in
/// OTLP/JSON each, then a record with the number of records. Returns the number of logged points.
pub fn log_unexported(
    exporter: &Exporter,
    table: &Table,
    resource: &Resource,
    instance: &str,
    now_unix_nano: u64,
) -> u64 {
    let (destination, name) = (exporter.id, &exporter.destination.name);
    let origin = Origin { destination: name, instance };
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
        (lines, logged) = (lines.saturating_add(1), logged.saturating_add(points));
        let line = format!(r#","line":{lines},"request":"#);
        origin.log(&[line.as_bytes(), &request.finish()]);
    }
    if lines > 0 {
        origin.log(&[format!(r#","lines":{lines},"points":{logged},"left_out":{left_out}"#).as_bytes()]);
    }
    if left_out > 0 {
        warn!(
            "destination \"{name}\": {left_out} unexported points are lost, because a shutdown logs at most \
             {LINES_MAX} lines for a destination"
        );
    }
    logged
}
