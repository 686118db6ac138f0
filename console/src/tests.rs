//! A snapshot with every kind of content gives the golden files in `golden/`, which `UPDATE_GOLDEN=1`
//! rewrites.

use proptest::prelude::*;
use prost::Message;
use tributary_host::fake;
use tributary_host::stats::Counter;
use tributary_proto::attributes::{boolean, encode, integer, text};
use tributary_proto::batch::{Group, Point, Series};
use tributary_proto::console::{PART_BYTES_MAX, SnapshotPart};
use tributary_proto::exemplar::Exemplar;
use tributary_proto::exponential::ExponentialHistogram;
use tributary_proto::exports::Export;
use tributary_proto::generated::batch as wire;
use tributary_proto::histogram::Histogram;
use tributary_proto::metric::{Kind, Metric};
use tributary_proto::otlp::KeyValue;

use crate::ledger::LedgerCounters;
use crate::prometheus::ExpositionFormat;
use crate::snapshot::Snapshot;
use crate::{json, prometheus};

fn group([name, description, unit]: [&str; 3], divisor: u64, kind: Kind, series: Vec<Series>) -> Group {
    let (name, description, unit) = (name.to_owned(), description.to_owned(), unit.to_owned());
    Group { metrics: vec![Metric { name, unit, description, divisor, kind }], series }
}

fn series(attributes: Vec<KeyValue>, point: Point) -> Series {
    Series { attributes: encode(attributes).into(), observations: 0, points: vec![point], exemplars: vec![] }
}

/// A histogram of a route, in milliseconds.
fn duration(route: &str, buckets: [u64; 3]) -> Series {
    let (buckets, max) = (buckets.to_vec(), 1);
    let wire = wire::Histogram { sum_low: 2_500, sum_high: 0, buckets, min: 0, max };
    let exemplar = Exemplar::new(750, 1_700_000_000_123_456_789, [0x12; 16], [0xab; 8]).unwrap();
    Series {
        exemplars: vec![(0, exemplar)],
        ..series(vec![text("http.route", route)], Point::Histogram(Histogram::from_wire(wire)))
    }
}

fn durations(bounds: [u64; 2], series: Vec<Series>) -> Group {
    let texts = ["http.duration", "How long.\nIn \"all\" \\ of it.", "s"];
    group(texts, 1_000, Kind::Histogram { bounds: bounds.into() }, series)
}

fn size() -> Group {
    let buckets = vec![2, 0, 3];
    let wire = wire::ExponentialHistogram {
        sum_low: 995,
        scale: 3,
        zero_count: 1,
        offset: -4,
        buckets,
        ..wire::ExponentialHistogram::default()
    };
    let histogram = ExponentialHistogram::from_wire(wire, 8).unwrap();
    let series = series(vec![], Point::Exponential(histogram.into()));
    group(["size", "", "By"], 10, Kind::Exponential { max_size: 8 }, vec![series])
}

fn encoded(parts: impl IntoIterator<Item = SnapshotPart>) -> Vec<u8> {
    parts.into_iter().flat_map(|part| part.encode_length_delimited_to_vec()).collect()
}

fn snapshot() -> Vec<u8> {
    let nasty = "a\\b \"c\"\nd é \u{1}";
    let requests = vec![
        series(vec![text("job", nasty), boolean("ok", true), integer("n", -5)], Point::Counter(7)),
        series(vec![text("a.b", "1"), text("a_b", "2"), text("empty", "")], Point::Counter(9)),
    ];
    let part = |groups: Vec<Group>| SnapshotPart {
        groups: groups.iter().map(Group::to_wire).collect(),
        ..SnapshotPart::default()
    };
    let resource = encode(vec![text("service.name", "shop \"é\""), integer("shard", -3)]);
    encoded([
        SnapshotPart { resource, time_unix_nano: 1_700_000_001_500_000_000, ..SnapshotPart::default() },
        part(vec![
            group(["requests", "Requests.", "{request}"], 1, Kind::Counter, requests),
            group(["open", "", ""], 1, Kind::UpDownCounter, vec![series(vec![], Point::UpDownCounter(-2))]),
            durations([500, 1_000], vec![duration("/a", [1, 2, 3])]),
        ]),
        // The same metric goes on in the next part; with other bounds it is another one.
        part(vec![
            durations([500, 1_000], vec![duration("/b", [4, 0, 0])]),
            durations([250, 2_000], vec![duration("/c", [1, 1, 1])]),
            size(),
        ]),
        SnapshotPart { is_cut: true, ..SnapshotPart::default() },
    ])
}

/// Each text with the name of its file.
fn texts() -> [(&'static str, Vec<u8>); 3] {
    fake::reset();
    Counter::define("tributary_observations_total").add(12);
    let (bytes, ledger) = (snapshot(), LedgerCounters::define());
    let snapshot = Snapshot::read(bytes.clone());
    let exports = [Export {
        name: "the \"one\"".into(),
        complete_unix_nano: 1_700_000_000_000_000_000,
        patience_ns: 1_000_000_000,
        succeeded: 5,
        failed: 2,
        failures: 2,
        fault: "status 503\n".into(),
        flushed: 0,
        exported: 7,
        waiting: 4,
        dropped: 1,
    }];
    let prometheus = |format| prometheus::text(format, &snapshot, &ledger, &exports);
    [
        ("metrics.txt", prometheus(ExpositionFormat::Text)),
        ("openmetrics.txt", prometheus(ExpositionFormat::OpenMetrics)),
        ("snapshot.json", json::text(&snapshot, &ledger, &exports, 1_700_000_009_000_000_000)),
    ]
}

#[test]
fn texts_equal_the_golden_files() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/golden");
    for (name, text) in texts() {
        let text = String::from_utf8(text).unwrap();
        let file = folder.join(name);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&file, &text).unwrap();
        }
        assert_eq!(text, std::fs::read_to_string(&file).unwrap(), "{name}");
    }
}

#[test]
fn the_snapshot_is_valid_json() {
    let [_, _, (_, text)] = texts();
    let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let metrics = value.get("metrics").unwrap().as_array().unwrap();
    let names: Vec<_> = metrics.iter().map(|metric| metric.get("name").unwrap().as_str().unwrap()).collect();
    assert_eq!(names, ["requests", "open", "http.duration", "http.duration", "size"]);
    let points = |metric: usize| metrics[metric].get("points").unwrap().as_array().unwrap().len();
    assert_eq!([0, 1, 2, 3, 4].map(points), [2, 1, 2, 1, 1]);
}

#[test]
fn bytes_that_are_not_a_snapshot_cause_no_panic() {
    fake::reset();
    let (bytes, ledger) = (snapshot(), LedgerCounters::define());
    for cut in 0..bytes.len() {
        for bytes in [&bytes[..cut], &bytes[cut..]] {
            let snapshot = Snapshot::read(bytes.to_vec());
            let text = json::text(&snapshot, &ledger, &[], 0);
            assert!(serde_json::from_slice::<serde_json::Value>(&text).is_ok());
            prometheus::text(ExpositionFormat::OpenMetrics, &snapshot, &ledger, &[]);
        }
    }
}

proptest! {
    #[test]
    fn a_corrupted_snapshot_causes_no_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        fake::reset();
        let mut bytes = snapshot();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let (snapshot, ledger) = (Snapshot::read(bytes), LedgerCounters::define());
        prop_assert!(tributary_proto::json::read(&json::text(&snapshot, &ledger, &[], 0)).is_ok());
        prometheus::text(ExpositionFormat::OpenMetrics, &snapshot, &ledger, &[]);
    }
}

#[test]
fn a_part_that_is_too_long_is_not_decoded() {
    let long = vec![0x1a; PART_BYTES_MAX + 1];
    let mut bytes = snapshot();
    prost::encode_length_delimiter(long.len(), &mut bytes).unwrap();
    bytes.extend(long);
    let snapshot = Snapshot::read(bytes.clone());
    assert_eq!((snapshot.is_cut, snapshot.metrics().count()), (false, 6));
}

#[test]
fn openmetrics_is_served_to_clients_that_accept_it() {
    for (accept, expected) in [
        ("", ExpositionFormat::Text),
        ("*/*", ExpositionFormat::Text),
        ("text/plain;version=0.0.4", ExpositionFormat::Text),
        ("application/openmetrics-text;version=1.0.0,text/plain;q=0.5", ExpositionFormat::OpenMetrics),
        ("text/plain, application/openmetrics-text", ExpositionFormat::OpenMetrics),
        ("application/openmetrics-text;q=0", ExpositionFormat::Text),
    ] {
        assert_eq!(ExpositionFormat::accepted(accept), expected, "{accept}");
    }
}
