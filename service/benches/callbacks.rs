//! The longest steps of the main thread: merging the largest batch, and writing a part of a request.
//!
//! `cargo bench -p tributary-service --bench callbacks`. In Envoy the same takes about 1.5 times as long;
//! `tests/e2e/many_series.rs` measures it there.

#![allow(missing_docs, reason = "divan's macro generates undocumented items")]
#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use tributary_host::random;
use tributary_proto::attributes::{self, integer, text};
use tributary_proto::batch::Batch;
use tributary_service::aggregate::{Cursor, DestinationId, Table, TableLimits};
use tributary_service::export::{
    Compression, Encoding, ExportRequest, PART_ROWS, Resource, SizeHint, SliceLimits, slice,
};

#[path = "../examples/service_parts/fixture.rs"]
mod fixture;

/// Series in the table before a step.
const SERIES: [usize; 3] = [0, 10_000, 100_000];
const DESTINATION: DestinationId = DestinationId { number: 0, delta: None };

fn main() {
    divan::main();
}

/// Returns batches with `count` series of one histogram with 15 buckets and five attributes.
fn batches(first: usize, count: usize) -> Vec<Vec<u8>> {
    fixture::batches((first..first + count).map(|number| {
        let attributes = attributes::encode(vec![
            text("http.request.method", "GET"),
            integer("http.response.status_code", 200),
            text("http.route", "users"),
            text("url.scheme", "http"),
            text("tenant", &format!("tenant-{number:06}")),
        ]);
        let value = u64::try_from(number).unwrap() * 7_919;
        (attributes, 3, [1, 2, 3].map(|times| value * times % 3_000_000_000))
    }))
}

fn table(series: usize) -> Table {
    let limits =
        TableLimits { series_max: usize::MAX, idle_ns: None, destinations: 1, deltas: 0, step_ns: 1 };
    let mut table = Table::new(limits, 1, random::hasher());
    for batch in batches(0, series) {
        table.merge(Batch::decode(batch.clone()).unwrap(), 2);
    }
    table
}

/// Returns a batch with the maximum number of series, and this number.
fn largest_batch(first: usize) -> (Vec<u8>, usize) {
    let batch = batches(first, 2_000).swap_remove(0);
    let series = Batch::decode(batch.clone()).unwrap().groups.iter().map(|group| group.series.len()).sum();
    (batch, series)
}

#[divan::bench(args = SERIES)]
fn merge_the_largest_batch_of_new_series(bencher: Bencher<'_, '_>, series: usize) {
    let (batch, count) = largest_batch(series);
    let with_inputs = bencher.counter(ItemsCount::new(count)).with_inputs(|| table(series));
    with_inputs.bench_local_values(|mut table| {
        table.merge(Batch::decode(black_box(batch.clone())).unwrap(), 3);
        table
    });
}

#[divan::bench(args = SERIES)]
fn merge_the_largest_batch_of_known_series(bencher: Bencher<'_, '_>, series: usize) {
    let (batch, count) = largest_batch(0);
    let mut table = table(series.max(count));
    bencher
        .counter(ItemsCount::new(count))
        .bench_local(|| table.merge(Batch::decode(black_box(batch.clone())).unwrap(), 3));
}

#[divan::bench(
    args = [
        (Encoding::OtlpProtobuf, Compression::None),
        (Encoding::OtlpProtobuf, Compression::Gzip),
        (Encoding::OtlpJson, Compression::Gzip),
        (Encoding::RemoteWrite, Compression::Snappy),
    ],
    consts = [10_000, 100_000],
)]
fn write_one_part_of_a_request<const SERIES: usize>(
    bencher: Bencher<'_, '_>,
    format: &(Encoding, Compression),
) {
    write(bencher, format, PART_ROWS, SERIES);
}

#[divan::bench(
    args = [
        (Encoding::OtlpProtobuf, Compression::Gzip),
        (Encoding::RemoteWrite, Compression::Snappy),
    ],
    consts = [10_000, 100_000],
)]
fn write_the_whole_table<const SERIES: usize>(bencher: Bencher<'_, '_>, format: &(Encoding, Compression)) {
    write(bencher, format, SERIES, SERIES);
}

fn write(
    bencher: Bencher<'_, '_>,
    (encoding, compression): &(Encoding, Compression),
    rows: usize,
    series: usize,
) {
    let resource = Resource::new(vec![text("service.name", "edge"), text("service.instance.id", "one")]);
    let size = SizeHint::new(*encoding, &resource);
    let limits =
        SliceLimits { rows_max: PART_ROWS, bytes_max: usize::MAX, size: &size, skips_confirmed: false };
    let mut table = table(series);
    let mut run = || {
        let mut request = ExportRequest::new(*encoding, *compression, Cursor::default());
        for _ in 0..rows.div_ceil(PART_ROWS) {
            let from = request.end;
            let slice = slice(&table, DESTINATION, from, &limits, 5);
            let next = slice.next;
            request.push(&resource, &slice, next.unwrap_or(from));
            table.mark_sent(DESTINATION, from, next, 5);
        }
        request
    };
    let bytes = run().bytes();
    let bencher = bencher.counter(ItemsCount::new(rows)).counter(BytesCount::new(bytes));
    bencher.bench_local(|| run().finish());
}
