//! Repeats one step of the service: `cargo xtask bench --figures parts` counts its instructions.

use std::borrow::Cow;
use std::error::Error;
use std::hint::black_box;

use tributary_host::random;
use tributary_proto::attributes;
use tributary_proto::batch::{Batch, BatchWriter, Point};
use tributary_proto::histogram::Histogram;
use tributary_proto::metric::{Kind, Metric};
use tributary_service::aggregate::{DataPoint, Table, TableLimits};
use tributary_service::export::{Compression, Compressor, Encoding, MetricPoints, Resource, Temporality};

/// The bounds of the semantic conventions, in milliseconds.
const BOUNDS_MS: [u64; 14] = [5, 10, 25, 50, 75, 100, 250, 500, 750, 1_000, 2_500, 5_000, 7_500, 10_000];
/// The values of a series, in nanoseconds.
const VALUES: [u64; 4] = [1_000_000, 7_000_000, 80_000_000, 900_000_000];
/// The number of series in a batch.
const BATCH: usize = 100;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [part, count, times] = &*arguments else {
        return Err("usage: service_parts STEP POINTS TIMES".into());
    };
    let (count, times): (usize, usize) = (count.parse()?, times.parse()?);
    let encoding = match part.as_str() {
        "merge" => return merge(times),
        "decode" => return decode(count, times),
        "otlp_protobuf" | "gzip" => Encoding::OtlpProtobuf,
        "otlp_json" => Encoding::OtlpJson,
        "remote_write" => Encoding::RemoteWrite,
        other => return Err(format!("unknown step {other}").into()),
    };
    let (metric, histogram) = (metric(), point());
    let resource = Resource::new(vec![attributes::text("service.name", "edge")]);
    let attributes: Vec<_> = (0..count).map(series).collect();
    let points = attributes.iter().map(|attributes| DataPoint {
        attributes,
        start_unix_nano: 1,
        time_unix_nano: 2,
        value: Some(Cow::Borrowed(&histogram)),
        exemplar: None,
    });
    let points = points.collect();
    let metrics = [MetricPoints { metric: &metric, temporality: Temporality::Cumulative, points }];
    if part == "gzip" {
        let body = encoding.part(&resource, &metrics, Some(0)).bytes;
        for _ in 0..times {
            let mut compressor = Compressor::new(Compression::Gzip);
            compressor.push(black_box(&body));
            black_box(compressor.finish());
        }
        return Ok(());
    }
    for _ in 0..times {
        black_box(encoding.part(&resource, black_box(&metrics), Some(0)));
    }
    Ok(())
}

/// Returns batches with this many series.
fn batches(series_count: usize) -> Vec<Vec<u8>> {
    let mut writer = BatchWriter::new(1, Vec::new(), &[metric()]);
    let point = [point()];
    let full = (0..series_count).filter_map(|number| writer.push(&series(number), 4, &point, &[]));
    let mut batches: Vec<_> = full.collect();
    batches.extend(writer.finish());
    batches
}

fn metric() -> Metric {
    let (name, unit) = ("http.server.request.duration".to_owned(), "s".to_owned());
    let description = "Duration of HTTP server requests.".to_owned();
    Metric {
        name,
        unit,
        description,
        divisor: 1_000_000_000,
        kind: Kind::Histogram { bounds: bounds().into() },
    }
}

/// Returns the histogram of [`VALUES`].
fn point() -> Point {
    let (bounds, mut histogram) = (bounds(), Histogram::new(BOUNDS_MS.len()));
    VALUES.iter().for_each(|value| histogram.record(*value, &bounds));
    Point::Histogram(histogram)
}

fn bounds() -> [u64; 14] {
    BOUNDS_MS.map(|ms| ms * 1_000_000)
}

/// Decodes batches.
fn decode(series_count: usize, times: usize) -> Result<(), Box<dyn Error>> {
    let batches = batches(series_count);
    for _ in 0..times {
        for bytes in &batches {
            black_box(Batch::decode(black_box(bytes.clone())).map_err(|error| format!("{error:?}"))?);
        }
    }
    Ok(())
}

/// Merges a batch whose series are all known.
fn merge(times: usize) -> Result<(), Box<dyn Error>> {
    let bytes = batches(BATCH).pop().ok_or("no batch was written")?;
    let limits = TableLimits { series_max: 10_000, idle_ns: None, destinations: 1, deltas: 0, step_ns: 1 };
    let mut table = Table::new(limits, 1, random::hasher());
    table.merge(Batch::decode(bytes.clone()).map_err(|error| format!("{error:?}"))?, 2);
    for _ in 0..times {
        black_box(
            table.merge(Batch::decode(black_box(bytes.clone())).map_err(|error| format!("{error:?}"))?, 2),
        );
    }
    Ok(())
}

/// Returns the four attributes of a series.
fn series(number: usize) -> Vec<u8> {
    attributes::encode(vec![
        attributes::text("http.request.method", "GET"),
        attributes::integer("http.response.status_code", 200),
        attributes::text("http.route", &format!("/route/{number}")),
        attributes::text("url.scheme", "https"),
    ])
}
